# SPDX-License-Identifier: Apache-2.0
"""The charts of an explanation as inline SVG, which takes its colours from the page."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.comparison import Comparison
from octavo.comparison.gains import twin_constant
from octavo.comparison.statistics import BINS, TensorStatistics
from octavo.errors import missing_extra
from octavo.ir import Node
from octavo.reference import real_value

__all__ = ["histograms", "signal_chart", "time_chart"]

Array = NDArray[Any]
#: Stand-ins that become the page's colours, light or dark: see the style of the template.
_COLORS = {
    "ink": "#010101",
    "faint": "#020202",
    "int8": "#030303",
    "float": "#040404",
    "copy": "#050505",
    "bad": "#060606",
    "band": "#070707",
    "own": "#080808",
}
_BARS = 24
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _COLORS["ink"],
    "axes.labelcolor": _COLORS["ink"],
    "axes.edgecolor": _COLORS["faint"],
    "xtick.color": _COLORS["faint"],
    "ytick.color": _COLORS["faint"],
    "xtick.labelcolor": _COLORS["ink"],
    "ytick.labelcolor": _COLORS["ink"],
    "grid.color": _COLORS["faint"],
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def _figure(
    width: float, height: float, boxes: Sequence[tuple[float, float, float, float]]
) -> Iterator[tuple[Any, list[Any]]]:
    """A figure in inches with axes at `boxes` (left, bottom, width, height, as shares). Places are
    given, since measuring texts for a layout takes most of the time of a small chart.

    Raises MissingExtraError without matplotlib.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("report", "the page of octavo explain") from error
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        figure.patch.set_alpha(0.0)
        axes = [figure.add_axes(box) for box in boxes]
        for axis in axes:
            axis.patch.set_alpha(0.0)
        yield figure, axes


def _svg(figure: Any, salt: str, label: str) -> str:
    """The figure as an <svg> element: no header, no metadata, the page's colours and fonts."""
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' id="(?:[a-z.A-Z]+\.?_\d+|axes_\d+)"', "", text)
    text = re.sub(r"font: (?:\w+ )*([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    for name, color in _COLORS.items():
        body = body.replace(color, f"var(--{name})")
    # the namespace of xlink is known to HTML parsers
    return f'<svg {box[0]} role="img" aria-label="{label}">{body}'.replace("xlink:href", "href")


def signal_chart(comparison: Comparison, marks: Mapping[str, str]) -> str:
    """SQNR of every layer in order, and each layer's own; `marks` maps nodes to short texts."""
    layers = [layer for layer in comparison.layers if math.isfinite(layer.sqnr_db)]
    with _figure(9.4, 3.1, [(0.055, 0.16, 0.94, 0.8)]) as (figure, (axis,)):
        where = np.arange(len(layers))
        heights = [layer.sqnr_db for layer in layers]
        axis.plot(where, heights, color=_COLORS["int8"], linewidth=1.8, label="SQNR up to here")
        own = [(x, e.own_db) for x, e in zip(where, layers, strict=True)]
        shown = [(x, db) for x, db in own if db is not None and db < 70.0]
        axis.plot(
            [x for x, _ in shown],
            [db for _, db in shown],
            "o",
            color=_COLORS["own"],
            markersize=3.5,
            label="of the layer alone",
        )
        for x, layer in zip(where, layers, strict=True):
            if layer.node in marks:
                y = layer.sqnr_db if layer.own_db is None else min(layer.own_db, 70.0)
                axis.annotate(
                    marks[layer.node],
                    (x, y),
                    xytext=(0, -13),
                    textcoords="offset points",
                    ha="center",
                    color=_COLORS["bad"],
                )
        axis.axhline(10.0, color=_COLORS["bad"], linewidth=0.8, linestyle="--")
        axis.set_ylabel("dB")
        axis.set_xlabel("layers in order of execution")
        axis.margins(x=0.01, y=0.12)
        axis.grid(axis="y")
        axis.legend(frameon=False, loc="upper right", ncols=2)
        return _svg(figure, "signal", "SQNR through the network")


def time_chart(rows: Sequence[Mapping[str, Any]]) -> str:
    """The slowest steps as bars, the rest as one."""
    ranked = sorted(rows, key=lambda row: -row["us"])
    bars = [(_short(row["layer"]), row["us"], _tone(row["precision"])) for row in ranked[:_BARS]]
    rest = sum(row["us"] for row in ranked[_BARS:])
    total = sum(row["us"] for row in rows) or 1.0
    height = 0.55 + 0.19 * len(bars)
    box = (0.25, 0.48 / height, 0.74, 1.0 - 0.5 / height)
    with _figure(9.4, height, [box]) as (figure, (axis,)):
        places = np.arange(len(bars))[::-1]
        axis.barh(places, [us for _, us, _ in bars], color=[_COLORS[t] for _, _, t in bars])
        axis.set_yticks(places, [name for name, _, _ in bars])
        axis.tick_params(axis="y", length=0)
        for place, (_, us, _) in zip(places, bars, strict=True):
            axis.annotate(
                f"{_time(us)} · {100 * us / total:.1f} %",
                (us, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        others = f"; {len(ranked) - _BARS} other steps take {_time(rest)}" if rest else ""
        axis.set_xlabel(f"µs, each step's fastest run{others}")
        axis.margins(y=0.01, x=0.18)
        axis.spines["left"].set_visible(False)
        return _svg(figure, "time", "time by layer")


def _time(us: float) -> str:
    return f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.3g} µs"


def _tone(precision: str) -> str:
    return {"int8": "int8", "int16": "int8", "copy": "copy"}.get(precision, "float")


def _short(name: str, width: int = 34) -> str:
    return name if len(name) <= width else f"…{name[-width + 1 :]}"


def histograms(sums: TensorStatistics, comparison: Comparison) -> str:
    """A layer's activations, and its weights in steps of their scales, against their ranges."""
    weights = _weights(sums.node, comparison, sums.tensor)
    if not len(sums.bins) and weights is None:
        return ""
    boxes = [(0.02, 0.16, 0.46, 0.7), (0.52, 0.16, 0.46, 0.7)]
    boxes = boxes[: int(bool(len(sums.bins))) + int(weights is not None)]
    with _figure(9.4, 1.7, boxes) as (figure, axes):
        if len(sums.bins):
            low, high = sums.range
            edges = low - (high - low) / 2 + np.arange(BINS + 1) * (2 * (high - low) / BINS)
            _histogram(axes[0], sums.bins, edges, (low, high), "activations")
        if weights is not None:
            counts, edges = np.histogram(np.clip(weights, -191.5, 191.5), 96, (-192, 192))
            _histogram(axes[-1], counts, edges, (-128, 127), "weights, in steps of their scale")
        return _svg(figure, f"histogram {sums.node.name}", f"histograms of {sums.node.name}")


def _weights(node: Node, comparison: Comparison, tensor: str) -> Array | None:
    """The reference's weights (the model's own without one) over the scale of their channel."""
    graph, reference = comparison.graph, comparison.reference
    if graph is None or node.op not in ("Conv", "Linear") or len(node.inputs) < 2:
        return None
    value = graph.values.get(node.inputs[1])
    if value is None or value.data is None or not value.is_8bit:
        return None
    real = real_value(value, value.data)
    twin = reference.producers.get(tensor) if reference is not None else None
    if twin is not None and reference is not None and twin.op == node.op:
        theirs = twin_constant(reference, twin, 1, comparison.gains)
        real = theirs if theirs is not None and theirs.shape == value.shape else real
    scale = value.affine.scale.reshape(-1, *([1] * (real.ndim - 1)))
    return np.asarray(real / scale).reshape(-1)


def _histogram(
    axis: Any, counts: Array, edges: Array, limits: tuple[float, float], title: str
) -> None:
    """Counts on a logarithmic axis; what lies outside the range in another colour."""
    centre = (edges[:-1] + edges[1:]) / 2
    inside = (centre >= limits[0]) & (centre <= limits[1])
    heights = np.log10(1.0 + counts)
    axis.axvspan(*limits, color=_COLORS["band"], alpha=0.6, linewidth=0)
    axis.stairs(np.where(inside, heights, 0), edges, fill=True, color=_COLORS["int8"])
    if counts[~inside].any():
        axis.stairs(np.where(inside, 0, heights), edges, fill=True, color=_COLORS["bad"])
    filled = np.flatnonzero(counts)
    first = min(edges[filled[0]] if filled.size else limits[0], limits[0])
    last = max(edges[filled[-1] + 1] if filled.size else limits[1], limits[1])
    room = 0.03 * (last - first)
    axis.set_xlim(first - room, last + room)
    axis.set_ylim(0, 1.05 * max(1.0, float(heights.max())))
    axis.set_yticks([])
    places = sorted({limits[0], 0.0 if limits[0] < 0.0 < limits[1] else limits[0], limits[1]})
    axis.set_xticks(places, [f"{place:.4g}" for place in places])
    axis.spines["left"].set_visible(False)
    axis.set_title(title, fontsize=9, loc="left")

# SPDX-License-Identifier: Apache-2.0
"""The roofline of a `Report`: every layer of Octavo against what the machine allows. Needs
matplotlib. Model: Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octavo.benchmark.chart import machine_line, new_figure, save_figure
from octavo.benchmark.results import Report

__all__ = ["Point", "roofline_points", "write_roofline"]

_PALETTE = ("#d9480f", "#1971c2", "#2f9e44", "#9c36b5", "#f08c00", "#0c8599", "#c2255c", "#5c940d")
_LABELLED = 6


@dataclass(frozen=True)
class Point:
    """One layer: `intensity` in MAC per byte of what it must move, `rate` in GMAC/s, `family`: its
    operation and kernel without tile and ISA, `share` of its model's time."""

    model: str
    layer: str
    family: str
    intensity: float
    rate: float
    share: float


def _family(kernel: str, op: str, precision: str) -> str:
    """conv_s8 by gemm_s8_4x16c4_avx2 -> conv_s8: gemm_s8; conv_f32 by conv_f32_avx2 -> conv_f32."""
    parts = kernel.split("_")
    for suffix in ("s8", "f32"):
        if suffix in parts:
            family = "_".join(parts[: parts.index(suffix) + 1])
            return family if family == op else f"{op}: {family}"
    return f"{op} ({precision})"


def roofline_points(report: Report, threads: int) -> list[Point]:
    """The layers with multiply-accumulates of the models measured with that many threads."""
    points = []
    for model in (m for m in report.models if m.threads == threads):
        total = sum(layer["us"] for layer in model.layers) or 1.0
        for layer in model.layers:
            if layer["macs"] and layer["bytes"] and layer["us"]:
                points.append(
                    Point(
                        model.model,
                        layer["layer"],
                        _family(layer["kernel"], layer["op"], layer["precision"]),
                        layer["macs"] / layer["bytes"],
                        layer["macs"] / layer["us"] / 1e3,
                        layer["us"] / total,
                    )
                )
    return points


def _roofs(axes: Any, report: Report, threads: int, span: tuple[float, float]) -> None:
    """The compute peak, and the slopes of the bandwidths up to it."""
    models = [m for m in report.models if m.threads == threads]
    found = [m.peak_gmacs_per_s for m in models if m.peak_gmacs_per_s]
    if not found:
        return
    peak = statistics.median(found) * threads
    axes.plot(span, (peak, peak), color="black", linewidth=1.2)
    axes.annotate(
        f"int8 peak {peak:.0f} GMAC/s",
        (span[1], peak),
        xytext=(0, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    for key, name, dash in (("l2", "L2", "--"), ("memory", "memory", ":")):
        rate = report.limits.get(f"{key}_gb_per_s")
        if not rate:
            continue
        rate *= threads if key == "l2" else 1  # each core has its own L2
        knee = peak / rate
        line = {"color": "black", "linewidth": 1, "linestyle": dash}
        label = f"{name} {rate:.0f} GB/s"
        axes.plot((span[0], knee), (span[0] * rate, peak), label=label, **line)


def write_roofline(report: Report, path: Path, threads: int | None = None) -> int:
    """PNG: MAC per byte against GMAC/s of every layer, coloured by kernel, sized by its share of
    its model's time; each model's costliest is named. Returns the number of layers. `threads`
    defaults to the least measured.

    Raises MissingExtraError without matplotlib.
    """
    count = threads or report.threads[0]
    points = roofline_points(report, count)
    if not points:
        return 0
    figure = new_figure(10.0, 6.2)
    from matplotlib.patheffects import withStroke

    axes = figure.add_subplot()
    span = (min(p.intensity for p in points) / 1.6, max(p.intensity for p in points) * 1.6)
    _roofs(axes, report, count, span)
    families = sorted({p.family for p in points}, key=lambda f: -sum(p.family == f for p in points))
    for index, family in enumerate(families):
        own = [p for p in points if p.family == family]
        axes.scatter(
            [p.intensity for p in own],
            [p.rate for p in own],
            s=[14 + 900 * p.share for p in own],
            color=_PALETTE[index % len(_PALETTE)],
            alpha=0.6,
            linewidths=0.4,
            edgecolors="white",
            label=f"{family} ({len(own)})",
            zorder=3,
        )
    costliest = {p.model: p for p in sorted(points, key=lambda p: p.share)}
    for point in sorted(costliest.values(), key=lambda p: -p.share)[:_LABELLED]:
        axes.annotate(
            f"{point.model} {point.layer[:22]}",
            (point.intensity, point.rate),
            xytext=(9, -9),
            textcoords="offset points",
            fontsize=6.5,
            color="#495057",
            path_effects=[withStroke(linewidth=2, foreground="white")],
            zorder=4,
        )
    axes.set(xscale="log", yscale="log", xlim=span)
    axes.set_ylim(min(p.rate for p in points) / 1.6, None)
    axes.set_xlabel("MAC per byte of input, output and constants (area: share of its model's time)")
    axes.set_ylabel("GMAC/s")
    axes.grid(which="major", color="#e9ecef", zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    plural = "s" if count > 1 else ""
    title = f"Every layer of {len({p.model for p in points})} models, {count} thread{plural}"
    axes.set_title(f"{title}\n{machine_line(report)}", fontsize=10)
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    for handle in legend.legend_handles:
        if hasattr(handle, "set_sizes"):
            handle.set_sizes([36])
    save_figure(figure, path)
    return len(points)

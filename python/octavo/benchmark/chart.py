# SPDX-License-Identifier: Apache-2.0
"""The bar chart of a `Report`: one panel per model with an axis of its own from zero, so that bars
can be compared by eye although models differ a thousandfold. Needs matplotlib."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from octavo.benchmark.results import OCTAVO, ModelResult, Report
from octavo.errors import missing_extra
from octavo.files import write_atomic

__all__ = ["new_figure", "save_figure", "write_chart"]

_OWN, _PEER, _BEST = "#d9480f", "#ced4da", "#868e96"
_TEXT, _MUTED = "#212529", "#6c757d"
_PANEL_INCHES = 3.4
_COLUMNS = 4
_LONG_NAME = 18  # characters, beyond which a title has no room for the size
_NAMES = {
    OCTAVO: "Octavo",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
}


def new_figure(width: float, height: float) -> Any:
    """A figure in inches that no window shows. Raises MissingExtraError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("bench", "a chart") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Writes a PNG, atomically. Raises InvalidArgumentError when that is not possible."""
    target = io.BytesIO()
    figure.savefig(target, dpi=150, format="png")
    write_atomic(path, target.getvalue())


def machine_line(report: Report) -> str:
    """What was measured, in one line."""
    return f"{report.machine['cpu']} · {report.machine['isa']} · batch 1"


def _milliseconds(value: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:.{min(digits, 4)}f} ms"


def _bars(group: list[ModelResult]) -> list[tuple[str, str, float, str, str]]:
    """(label, color, ms, text beside the bar, weight), from the top."""
    rows = []
    for model in group:
        for name, timing in model.timings.items():
            own = name == OCTAVO
            color = _OWN if own else _BEST if name == model.best_peer else _PEER
            text = _milliseconds(timing.min_ms)
            if own and model.ratio_min is not None:
                text += f"  {model.ratio_min:.2f}×"
            label = _NAMES.get(name, name) + (" *" if model.runtimes[name].note else "")
            label += f"  {model.threads}T" if len(group) > 1 else ""
            rows.append((label, color, timing.min_ms, text, "bold" if own else "normal"))
    return rows


def _panel(axes: Any, group: list[ModelResult]) -> None:
    rows = _bars(group)
    longest = max(row[2] for row in rows)
    gap = 0.0
    places: list[float] = []
    for index, model in enumerate(group):
        count = len(model.timings)
        places += [len(places) + i + gap for i in range(count)]
        gap += 0.6 if index < len(group) - 1 else 0.0
    for place, (_, color, ms, text, weight) in zip(places, rows, strict=True):
        axes.barh(place, ms, height=0.78, color=color)
        axes.text(
            ms + longest * 0.02, place, text, va="center", fontsize=8, color=_TEXT, weight=weight
        )
    axes.set_yticks(places, [row[0] for row in rows], fontsize=8)
    axes.set_xlim(0, longest * 1.6)  # room for the text beside the longest bar
    axes.set_xticks([])
    axes.set_ylim(max(places) + 0.6, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(_MUTED)
    title = group[0].model
    if group[0].macs and len(title) <= _LONG_NAME:
        millions = group[0].macs / 1e6
        title += f" · {millions:,.0f} MMAC" if millions >= 100 else f" · {millions:.3g} MMAC"
    axes.set_title(title, fontsize=8.5, loc="left", color=_TEXT, weight="bold")


def _headline(report: Report) -> str:
    means = {threads: report.geomean(threads) for threads in report.threads}
    parts = [
        f"{mean:.2f}× ({threads} thread{'s' if threads > 1 else ''})"
        for threads, mean in means.items()
        if mean is not None
    ]
    if not parts:
        return "Latency"
    several = len({model.model for model in report.models}) > 1
    return (
        "Octavo against the best peer: "
        + ", ".join(parts)
        + (", geometric mean" if several else "")
    )


def _precisions(report: Report) -> str:
    """In which number formats the bars were computed."""
    found = [r for model in report.models for r in model.runtimes.values() if r.timing]
    return " and ".join(sorted({name for result in found for name in result.precision}))


def write_chart(report: Report, path: Path) -> None:
    """PNG: milliseconds of the fastest call, shorter is better; the ratio beside Octavo's bar is
    best peer / Octavo.

    Raises MissingExtraError (no matplotlib) or InvalidArgumentError (nothing was timed).
    """
    groups: dict[str, list[ModelResult]] = {}
    for model in sorted(report.models, key=lambda m: m.threads):
        if model.timings:
            groups.setdefault(model.model, []).append(model)
    if not groups:
        return
    columns = min(_COLUMNS, len(groups))
    lines = math.ceil(len(groups) / columns)
    bars = max(sum(len(m.timings) for m in group) for group in groups.values())
    height = 0.19 * bars + 0.45
    figure = new_figure(max(7.5, _PANEL_INCHES * columns), height * lines + 1.0)
    figure.get_layout_engine().set(hspace=0.06, h_pad=0.08)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, group in zip(grid, groups.values(), strict=False):
        _panel(axes, group)
    for axes in grid[len(groups) :]:
        axes.set_visible(False)
    figure.suptitle(_headline(report), fontsize=12, weight="bold", color=_TEXT)
    versions = " · ".join(
        f"{_NAMES[name]} {version}" for name, version in report.versions.items() if name in _NAMES
    )
    remarks = [
        f"{machine_line(report)} · {_precisions(report)} · {versions}",
        "fastest call, shorter is better; dark grey: best peer, ×: its time / Octavo's",
    ]
    notes = {
        (n, r.note) for m in report.models for n, r in m.runtimes.items() if r.note and r.timing
    }
    remarks += [f"* {_NAMES.get(name, name)}: {note}" for name, note in sorted(notes)]
    figure.supxlabel("\n".join(remarks), fontsize=8, color=_MUTED)
    save_figure(figure, path)

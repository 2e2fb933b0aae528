# SPDX-License-Identifier: Apache-2.0
"""Shows a `Report`: table in the terminal, JSON, bar chart."""

from __future__ import annotations

import dataclasses
import json
import statistics
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.results import ModelResult, Report, RuntimeResult
from bench.runtimes import OctavoRuntime

_COLORS = {"octavo": "#d9480f", "onnxruntime": "#868e96", "openvino": "#4263eb"}


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _share(value: float) -> str:
    """Percentage that shows 100 % only for all of it."""
    return "100 %" if value == 1.0 else f"{min(value * 100, 99.999):.3f} %"


def _agreement_cells(result: RuntimeResult) -> list[str]:
    found = result.agreement
    if found is None:
        return ["", ""]
    if found.max_abs is None:
        return [_share(found.equal), "not finite"]
    if found.max_steps is None:
        return [_share(found.equal), f"{found.max_abs:.2g} abs"]
    return [_share(found.equal), f"{found.max_steps:.0f}"]


def _timing_cells(result: RuntimeResult) -> list[str]:
    if result.timing is None:
        return [""] * 4
    share = None if result.peak_share is None else result.peak_share * 100
    return [
        f"{result.timing.min_ms:.3f}",
        f"{result.timing.median_ms:.3f}",
        _number(result.gmacs_per_s, ".1f"),
        _number(share, ".0f"),
    ]


def _relative_cell(name: str, result: RuntimeResult, model: ModelResult) -> str:
    """Median relative to octavo's; in octavo's own row that of the best peer."""
    if name == OctavoRuntime.name:
        return _number(model.ratio_median, ".2f")
    own = model.runtimes.get(OctavoRuntime.name, RuntimeResult())
    if own.timing is None or result.timing is None:
        return ""
    return f"[dim]{result.timing.median_ms / own.timing.median_ms:.2f}[/dim]"


def _add_rows(table: Table, model: ModelResult) -> None:
    """One row per runtime; the model's name stands in the first, its size in the second."""
    if model.failure is not None:
        table.add_row(model.model, "[red]FAILED[/red]", end_section=True)
        return
    size = "" if model.macs is None else f"[dim]{model.macs / 1e6:.4g} M MAC[/dim]"
    labels = [model.model, size, *[""] * len(model.runtimes)]
    for index, (name, result) in enumerate(model.runtimes.items()):
        last = index == len(model.runtimes) - 1
        if result.failure is not None:
            table.add_row(labels[index], name, "[red]FAILED[/red]", end_section=last)
            continue
        table.add_row(
            labels[index],
            name,
            *_timing_cells(result),
            _relative_cell(name, result, model),
            *_agreement_cells(result),
            style="bold" if name == OctavoRuntime.name else None,
            end_section=last,
        )


def _title(report: Report) -> str:
    threads = report.settings["threads"]
    return f"{report.machine['cpu']}, {threads} thread{'s' if threads > 1 else ''}, batch 1"


def _table(report: Report) -> Table:
    table = Table(
        title=_title(report),
        caption=", ".join(f"{name} {version}" for name, version in report.versions.items()),
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold")
    table.add_column("runtime", no_wrap=True)
    reference = next((m.reference for m in report.models if m.reference), "octavo")
    for column in (
        "min\nms",
        "median\nms",
        "GMAC/s",
        "% of\npeak",
        "peer /\noctavo",
        f"equal to\n{reference}",
        "max diff\n(steps)",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    for model in report.models:
        _add_rows(table, model)
    return table


def print_report(report: Report, console: Console) -> None:
    """Print the table, the geometric mean of the ratios, and what failed or was not run."""
    if report.models:
        console.print(_table(report))
    ratios = [m.ratio_median for m in report.models if m.ratio_median is not None]
    if ratios:
        mean = statistics.geometric_mean(ratios)
        console.print(f"best peer / octavo, geometric mean of medians: [bold]{mean:.2f}[/bold]")
    for model in report.models:
        failures = {"": model.failure, **{k: r.failure for k, r in model.runtimes.items()}}
        for name, failure in failures.items():
            if failure is not None:
                where = escape(" ".join(filter(None, (model.model, name))))
                console.print(f"[red]FAILED[/red] {where}: {escape(failure)}", highlight=False)
    for name, reason in report.not_run.items():
        console.print(f"[yellow]NOT RUN[/yellow] {name}: {escape(reason)}", highlight=False)


def write_json(report: Report, path: Path) -> None:
    """Write every figure, with machine, versions and settings."""
    path.write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n")


def write_png(report: Report, path: Path) -> None:
    """Bar chart of GMAC/s (from the median) per model and runtime, with the measured peak.

    Raises:
        SystemExit: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SystemExit(f"{error}: pip install 'octavo[bench]'") from error
    models = [m for m in report.models if any(r.gmacs_per_s for r in m.runtimes.values())]
    timed = [name for m in models for name, r in m.runtimes.items() if r.timing is not None]
    names = list(dict.fromkeys(timed))
    figure = Figure(figsize=(max(6.0, 1.3 * len(models) + 2), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 0.8 / max(len(names), 1)
    for index, name in enumerate(names):
        heights = [m.runtimes.get(name, RuntimeResult()).gmacs_per_s or 0.0 for m in models]
        places = [i + (index - (len(names) - 1) / 2) * width for i in range(len(models))]
        version = report.versions.get(name, "")
        axes.bar(places, heights, width * 0.92, label=f"{name} {version}", color=_COLORS.get(name))
    peaks = [m.peak_gmacs_per_s for m in models if m.peak_gmacs_per_s is not None]
    if peaks:
        peak = statistics.median(peaks) * int(report.settings["threads"])
        axes.axhline(peak, color="black", linewidth=0.8, linestyle="--", label="measured peak")
    axes.set_xticks(range(len(models)), [m.model for m in models], rotation=20, ha="right")
    axes.set_ylabel("GMAC/s, batch 1 (higher is better)")
    axes.set_title(_title(report))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)

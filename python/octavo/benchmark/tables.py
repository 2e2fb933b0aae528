# SPDX-License-Identifier: Apache-2.0
"""A `Report` as text for the terminal."""

from __future__ import annotations

from octavo.benchmark.results import OCTAVO, ModelResult, Report, RuntimeResult
from octavo.benchmark.runtimes import describe_precision
from octavo.report.table import Column, heading, render, style

__all__ = ["render_report"]

_TIMES = (
    Column("model", width=26),
    Column("runtime"),
    Column("min ms", right=True),
    Column("median", right=True),
    Column("× octavo", right=True),
    Column("GMAC/s", right=True),
    Column("of peak", right=True),
    Column("computes in", width=24),
    Column("equal", right=True),
    Column("max diff", right=True),
)
_LOADS = (
    Column("model", width=26),
    Column("runtime, file"),
    Column("import ms", right=True),
    Column("load ms", right=True),
    Column("memory MB", right=True),
    Column("at most MB", right=True),
)


def _ms(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def _share(value: float) -> str:
    """Percentage that shows 100 % only for all of it."""
    return "100 %" if value == 1.0 else f"{min(value * 100, 99.99):.2f} %"


def _agreement(result: RuntimeResult) -> tuple[str, str]:
    found = result.agreement
    if found is None:
        return "", ""
    if found.max_abs is None:
        return _share(found.equal), "not finite"
    if found.max_steps is None:
        return _share(found.equal), f"{found.max_abs:.2g} abs"
    return _share(found.equal), f"{found.max_steps:.0f} steps"


def _row(name: str, result: RuntimeResult, model: ModelResult) -> list[str]:
    """One runtime: `× octavo` is its fastest call relative to octavo's."""
    own, timing = model.timings.get(OCTAVO), result.timing
    precision = describe_precision(result.precision) if result.precision else ""
    marked = name + (" *" if result.note and timing else "")
    if timing is None:
        status = "FAILED" if result.failure else "not timed"
        return ["", marked, status, "", "", "", "", precision, *_agreement(result)]
    ratio = timing.min_ms / own.min_ms if own is not None and name != OCTAVO else None
    return [
        "",
        marked + ("" if timing.settled else " (!)"),
        _ms(timing.min_ms),
        _ms(timing.median_ms),
        "" if ratio is None else f"{ratio:.2f}",
        "" if result.gmacs_per_s is None else f"{result.gmacs_per_s:.1f}",
        "" if result.peak_share is None else f"{100 * result.peak_share:.0f} %",
        precision,
        *_agreement(result),
    ]


def _times(report: Report, threads: int) -> str:
    rows = []
    for model in (m for m in report.models if m.threads == threads):
        if model.failure is not None:
            rows.append([model.model, "", "FAILED", *[""] * 7])
            continue
        size = f"  {model.macs / 1e6:.4g} MMAC" if model.macs else ""
        labels = [model.model, size]
        shown = [item for item in model.runtimes.items() if not item[1].unread]
        for index, (name, result) in enumerate(shown):
            row = _row(name, result, model)
            row[0] = labels[index] if index < len(labels) else ""
            rows.append(row)
    return render(_TIMES, rows)


def _means(report: Report, threads: int) -> str | None:
    fastest, median = (report.geomean(threads, key) for key in ("ratio_min", "ratio_median"))
    if fastest is None or median is None:
        return None
    models = [m for m in report.models if m.threads == threads and m.ratio_min is not None]
    worst = min(models, key=lambda m: m.ratio_min or 0.0)
    return (
        f"best peer / octavo, geometric mean of {len(models)}: "
        + style(f"{fastest:.2f}", "bold")
        + f" by the fastest call, {median:.2f} by the median; "
        f"lowest {worst.ratio_min:.2f} ({worst.model} against {worst.best_peer})"
    )


def _megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.1f}"


def _loads(report: Report) -> str | None:
    rows = []
    for model in report.models:
        for index, (name, load) in enumerate(model.loads.items()):
            rows.append(
                [
                    model.model if index == 0 else "",
                    name,
                    f"{load.import_ms:.0f}",
                    f"{load.load_ms:.1f}",
                    _megabytes(load.resident_bytes),
                    _megabytes(load.peak_bytes),
                ]
            )
    return render(_LOADS, rows) if rows else None


def _remarks(report: Report) -> list[str]:
    lines = []
    failures: dict[str, str] = {}
    notes: dict[tuple[str, str], list[str]] = {}
    unread: dict[tuple[str, str], list[str]] = {}
    for model in report.models:
        if model.failure is not None:
            failures[model.model] = model.failure
        for name, result in model.runtimes.items():
            if result.failure is not None:
                failures[f"{model.model} {name}"] = result.failure
            elif result.unread:
                unread.setdefault((name, result.note or ""), []).append(model.model)
            elif result.note is not None:
                notes.setdefault((name, result.note), []).append(model.model)
    for (name, note), models in notes.items():
        lines.append(f"* {name}: {note} ({', '.join(dict.fromkeys(models))})")
    most = max(report.threads, default=1)
    if most > report.machine["usable_cpus"]:
        lines.append(f"(!) {most} threads shared {report.machine['usable_cpus']} CPUs")
    if any(not t.settled for m in report.models for t in m.timings.values()):
        lines.append("(!) some turns began while threads of another runtime were still spinning")
    lines += [style("FAILED", "red") + f" {where}: {why}" for where, why in failures.items()]
    for (name, note), models in unread.items():
        listed = ", ".join(dict.fromkeys(models))
        lines.append(style("NOT RUN", "yellow") + f" {name}: {note} ({listed})")
    lines += [style("NOT RUN", "yellow") + f" {k}: {why}" for k, why in report.not_run.items()]
    return lines


def render_report(report: Report) -> str:
    """Tables per thread count, load and memory, Octavo's bytes, what failed or was not run."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    settings = report.settings
    kind = "bound arrays" if settings["bound"] else "plain calls"
    parts = [
        f"{report.machine['cpu']}, {report.machine['isa']} · {versions}",
        f"{settings['rounds']} rounds in random order (seed {settings['seed']}), {kind}",
    ]
    for threads in report.threads:
        title = f"{threads} thread{'s' if threads > 1 else ''}, batch 1"
        parts += ["", heading(title), _times(report, threads)]
        means = _means(report, threads)
        parts += [means] if means else []
    loads = _loads(report)
    if loads:
        parts += ["", heading("load and memory") + "  fresh process, file to first result", loads]
        parts += ["", *_own_bytes(report)]
    return "\n".join([*parts, *_remarks(report)])


def _own_bytes(report: Report) -> list[str]:
    columns = [Column("octavo, KB", width=26)]
    columns += [Column(name, right=True) for name in ("arena", "scratch", "packed weights")]
    rows = [
        [m.model, *(f"{m.bytes.get(key, 0) / 1e3:,.1f}" for key in ("arena", "scratch", "packed"))]
        for m in report.models
        if m.bytes and m.loads
    ]
    return [render(columns, rows)] if rows else []

# SPDX-License-Identifier: Apache-2.0
"""The tables of README.md and docs/performance.md from a report, so that nobody types figures."""

from __future__ import annotations

from octavo.benchmark.results import ModelResult, Report

TITLES = {
    "octavo": "Octavo",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
}


def _milliseconds(value: float) -> str:
    """Three to four significant digits."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def _cell(model: ModelResult, runtime: str) -> str:
    timing = model.timings.get(runtime)
    if timing is None:
        return "–"
    mark = "\\*" if model.runtimes[runtime].note else ""
    return f"{_milliseconds(timing.min_ms)} · {_milliseconds(timing.median_ms)}{mark}"


def table(report: Report, threads: int) -> str:
    """Milliseconds, min · median, and the ratios by both; the geometric means below."""
    models = [m for m in report.models if m.threads == threads and m.timings]
    runtimes = [name for name in TITLES if any(name in m.timings for m in models)]
    heads = [f"{TITLES[name]} {report.versions[name]}" for name in runtimes]
    plural = "s" if threads > 1 else ""
    lines = [
        " | ".join([f"| {threads} thread{plural}", "MMAC", *heads, "best peer / Octavo |"]),
        "|" + "---|" * (len(heads) + 3),
    ]
    for model in models:
        ratios = f"{model.ratio_min:.2f} · {model.ratio_median:.2f}" if model.best_peer else ""
        size = f"{(model.macs or 0) / 1e6:,.1f}"
        cells = [model.model, size, *(_cell(model, name) for name in runtimes), ratios]
        lines.append("| " + " | ".join(cells) + " |")
    means = [report.geomean(threads, key) for key in ("ratio_min", "ratio_median")]
    if None not in means:
        cells = ["geometric mean", "", *[""] * len(runtimes), f"{means[0]:.2f} · {means[1]:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables(report: Report) -> str:
    """One table per thread count."""
    return "\n\n".join(table(report, threads) for threads in report.threads)

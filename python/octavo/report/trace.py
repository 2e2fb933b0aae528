# SPDX-License-Identifier: Apache-2.0
"""One run as a timeline in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and
chrome://tracing open. Format: "Trace Event Format", Google, revision of 2016, sections "Complete
Events" and "Metadata Events"."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from octavo.files import write_atomic
from octavo.session import KernelInfo, cpu_info, measure_peak

__all__ = ["trace_document", "write_trace"]

_PROCESS, _RUN, _RATE = 1, 1, "GMAC/s"
# The viewer's own names for colours; one per precision.
_COLORS = {
    "int8": "good",
    "int16": "good",
    "dynamic int8": "good",
    "weights int8": "bad",
    "float32": "bad",
    "copy": "grey",
}


def _named(what: str, name: str) -> dict[str, Any]:
    """A metadata event: the name of the process or of the thread."""
    return {"ph": "M", "name": what, "pid": _PROCESS, "tid": _RUN, "args": {"name": name}}


def _arguments(kernel: KernelInfo, duration: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "op": kernel.op,
        "kernel": kernel.kernel,
        "isa": kernel.isa,
        "precision": kernel.precision,
        "threads": kernel.threads,
        "inputs": ", ".join(kernel.inputs),
        "outputs": ", ".join(kernel.outputs),
        "bytes": kernel.bytes,
        "macs": kernel.macs,
    }
    if kernel.macs and duration > 0:
        rate = kernel.macs / duration / 1e3
        found[_RATE] = round(rate, 3)
        if kernel.precision in ("int8", "dynamic int8"):
            peak = measure_peak(kernel.isa) * max(1, kernel.threads)
            found["share of peak"] = round(rate / peak, 4)
    if kernel.reason:
        found["why float32"] = kernel.reason
    return found


def trace_document(
    name: str, timeline: Sequence[tuple[KernelInfo, float, float]]
) -> dict[str, Any]:
    """The trace of one run as `Session.timeline` timed it: an event of the whole run that encloses
    one event per step, and the rate in GMAC/s as a counter. Times in microseconds."""
    total = sum(duration for _, _, duration in timeline)
    threads = max((kernel.threads for kernel, _, _ in timeline), default=1)
    whole = {"macs": sum(kernel.macs for kernel, _, _ in timeline), "threads": threads}
    events = [
        _named("process_name", f"octavo {name}"),
        _named("thread_name", f"run, {threads} thread{'s' if threads > 1 else ''}"),
        _complete(f"run {name}", "run", 0.0, total, whole),
    ]
    for kernel, start, duration in timeline:
        found = _arguments(kernel, duration)
        event = _complete(kernel.node, kernel.op, start, duration, found)
        events.append({**event, "cname": _COLORS.get(kernel.precision, "grey")})
        events.append(_counter(start, found.get(_RATE, 0.0)))
    events.append(_counter(total, 0.0))
    information = {"cpu": cpu_info()["brand"], "model": name}
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": information}


def _complete(
    name: str, category: str, start: float, duration: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": _PROCESS,
        "tid": _RUN,
        "ts": round(start, 3),
        "dur": round(duration, 3),
        "args": arguments,
    }


def _counter(time: float, rate: float) -> dict[str, Any]:
    return {"ph": "C", "name": _RATE, "pid": _PROCESS, "ts": round(time, 3), "args": {_RATE: rate}}


def write_trace(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Writes the JSON, atomically. Raises InvalidArgumentError when that is not possible."""
    write_atomic(path, json.dumps(document).encode())

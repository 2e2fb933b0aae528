# SPDX-License-Identifier: Apache-2.0
"""Structure: additions of unequal partners, dead channels, float steps, unexplained errors."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

import numpy as np

from octavo.analysis.diagnosis_rule import Finding, Layer, View, finer, severity_of

__all__ = ["findings", "unexplained"]

#: A layer that brings less than this is worth a look, less than that a warning; so many of them.
_QUIET_DB, _LOUD_DB, _MOST = 22.0, 13.0, 5


def findings(view: View) -> Iterator[Finding]:
    """About the graph as a whole."""
    for layer in view.layers:
        if layer.node.op == "Add" and layer.value.is_8bit:
            yield from _addition(view, layer)
        if layer.node.op in ("Conv", "Linear"):
            yield from _silent(layer)
    yield from _float_steps(view)


def _addition(view: View, layer: Layer) -> Iterator[Finding]:
    """An operand that is smaller than the steps of the sum."""
    parts = [view.by_tensor[name] for name in layer.node.inputs if name in view.by_tensor]
    if len(parts) != 2:
        return
    rms = [math.sqrt(part.signal / max(1, part.sums.count)) for part in parts]
    small, large = (0, 1) if rms[0] < rms[1] else (1, 0)
    steps, ratio = rms[small] / layer.value.scale, rms[large] / max(rms[small], 1e-30)
    if steps > 2.0 or ratio < 10.0 or rms[small] == 0.0:
        return
    noise = 1.0 / (12.0 * max(steps, 1e-3) ** 2)
    yield Finding(
        "add_scales",
        severity_of(min(noise, 1.0) / 4, at_most="warning"),
        layer.name,
        layer.value.name,
        f"'{parts[large].name}' is {ratio:.0f} times as large as '{parts[small].name}', which is "
        f"{steps:.1f} steps of the sum",
        finer(view, layer),
        min(noise, 1.0) / 4,
        {"steps": steps, "ratio": ratio, "small": parts[small].name},
    )


def _silent(layer: Layer) -> Iterator[Finding]:
    """Channels that never change in the float network."""
    sums = layer.sums
    constant = int(np.count_nonzero(sums.most == sums.least))
    if sums.rows < 100 or constant < max(1, 0.05 * sums.channels):
        return
    yield Finding(
        "silent_channels",
        "info",
        layer.name,
        layer.value.name,
        f"{constant} of {sums.channels} channels are constant over these data",
        "they cost time and no accuracy: prune them",
        0.0,
        {"constant_channels": constant, "channels": sums.channels},
    )


def _float_steps(view: View) -> Iterator[Finding]:
    """Steps of a quantized model in float32, with their share of the time where it is known."""
    times: dict[str, float] = {}
    for step in view.profile:
        times[step.kernel.node] = times.get(step.kernel.node, 0.0) + step.us
    total = sum(times.values())
    for name, reason in view.graph.notes.items():
        share = times.get(name, 0.0) / total if total else None
        took = "" if share is None else f", {100 * share:.1f} % of the time"
        yield Finding(
            "float_step",
            "warning" if share is not None and share > 0.1 else "info",
            name,
            None,
            f"runs in float32{took}: {reason}",
            _remedy(reason),
            0.0,
            {"share_of_time": share, "reason": reason},
        )


def _remedy(reason: str) -> str:
    """What a reason says behind its semicolon, if it says anything there."""
    before, _, way_out = reason.partition("; ")
    return way_out or f"no way around it: {before}"


def unexplained(view: View, named: Collection[str | None]) -> Iterator[Finding]:
    """The layers that add most noise of their own, where no other rule has a cause."""
    known = [(layer.sums.own_db, layer) for layer in view.layers if layer.signal > 0.0]
    loud = [(own, layer) for own, layer in known if own is not None and own < _QUIET_DB]
    for own, layer in sorted(loud, key=lambda pair: pair[0])[:_MOST]:
        if layer.name in named:
            continue
        noise = 10.0 ** (-own / 10.0)
        yield Finding(
            "own_noise",
            "warning" if own < _LOUD_DB else "info",
            layer.name,
            layer.value.name,
            f"this {layer.node.op} alone takes its signal down to {own:.1f} dB",
            finer(view, layer),
            noise,
            {"own_db": own},
        )

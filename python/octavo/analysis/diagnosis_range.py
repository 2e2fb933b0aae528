# SPDX-License-Identifier: Apache-2.0
"""Activations against the range of their 8 bits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from octavo.analysis.diagnosis_rule import F64, Finding, Layer, View, finer, rule_text, severity_of
from octavo.comparison.statistics import BINS, TensorStatistics
from octavo.ops.attrs import clamp

__all__ = ["Range", "findings"]

#: Share of the values that may lie outside a robust range, on each side.
_TAIL = 0.0005
#: Ranges fixed by the format whatever the data are.
_FIXED = frozenset(("Sigmoid", "Softmax", "Tanh"))
_MOVERS = frozenset(
    ("Flatten", "Gather", "MaxPool", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
)


@dataclass(frozen=True)
class Range:
    """Where a tensor's real values lie and what it can hold. `low` and `high` leave out a
    two-thousandth of the values on each side."""

    least: float
    most: float
    low: float
    high: float
    holds_low: float
    holds_high: float
    clip_noise: float
    step_noise: float

    @staticmethod
    def of(sums: TensorStatistics) -> Range:
        """From the histogram of the reference's values."""
        holds_low, holds_high = sums.range
        span = holds_high - holds_low
        least, most = float(sums.least.min()), float(sums.most.max())
        edges = holds_low - span / 2 + np.arange(BINS + 1) * (2 * span / BINS)
        total = np.cumsum(sums.bins) / max(1, sums.count)
        first = int(np.searchsorted(total, _TAIL, side="right"))
        last = int(np.searchsorted(total, 1.0 - _TAIL))
        low = least if first <= 0 else max(least, float(edges[min(first, BINS)]))
        high = most if last >= BINS - 1 else min(most, float(edges[last + 1]))
        centre = (edges[:-1] + edges[1:]) / 2
        # the end bins hold what lies beyond them: half way to the extreme
        centre[0] = min(centre[0], (edges[1] + least) / 2)
        centre[-1] = max(centre[-1], (edges[-2] + most) / 2)
        outside: F64 = np.maximum(np.maximum(holds_low - centre, centre - holds_high), 0.0)
        signal = max(float(sums.signal.sum()), 1e-30)
        clip = float((sums.bins * outside**2).sum()) / signal
        step = sums.count * sums.value.scale**2 / 12.0 / signal
        return Range(least, most, low, high, holds_low, holds_high, clip, step)

    @property
    def levels(self) -> float:
        """How many of the 256 levels the values reach, rounded up."""
        span = (self.holds_high - self.holds_low) / 255.0
        low, high = max(self.least, self.holds_low), min(self.most, self.holds_high)
        return min(256.0, max(1.0, math.ceil((high - low) / span) + 1.0))


def findings(view: View) -> Iterator[Finding]:
    """About every 8-bit tensor but the model's inputs."""
    for layer in view.layers:
        if not layer.value.is_8bit or layer.node.op in _MOVERS or _is_input(view, layer):
            continue
        found = Range.of(layer.sums)
        clipped = list(_clipping(layer, found))
        yield from clipped or _levels(view, layer, found)
        yield from _outlier(view, layer)
        yield from _clamped(layer, found)
        if layer.node.op == "Concat":
            yield from _concat(view, layer)
        if layer.node.op in ("LayerNorm", "Softmax"):
            yield from _normalization(view, layer)


def _is_input(view: View, layer: Layer) -> bool:
    return layer.node.op == "QuantizeLinear" and layer.node.inputs[0] in view.graph.inputs


def _clipping(layer: Layer, found: Range) -> Iterator[Finding]:
    """Too small a range, or one in the wrong place."""
    share = layer.sums.saturated or 0.0
    if found.clip_noise < 0.005 or share < 1e-4:
        return
    span, value = found.holds_high - found.holds_low, layer.value
    over_high = (found.high - found.holds_high) / span
    over_low = (found.holds_low - found.low) / span
    unused_low = (found.low - found.holds_low) / span
    unused_high = (found.holds_high - found.high) / span
    fits = found.high - found.low <= 1.15 * span
    shifted = fits and (
        (over_high > 0.01 and unused_low > 0.05) or (over_low > 0.01 and unused_high > 0.05)
    )
    evidence = {
        "saturated": share,
        "values_low": found.low,
        "values_high": found.high,
        "range_low": found.holds_low,
        "range_high": found.holds_high,
        "scale": value.scale,
        "zero_point": value.zero_point,
    }
    severity = severity_of(found.clip_noise)
    if shifted:
        right = _zero_point(value.dtype, found, span)
        yield Finding(
            "zero_point",
            severity,
            layer.name,
            value.name,
            f"the zero point {value.zero_point} puts the range "
            f"[{found.holds_low:.4g}, {found.holds_high:.4g}] beside the values "
            f"[{found.low:.4g}, {found.high:.4g}]: {_percent(share)} are clipped, while "
            f"{_percent(max(unused_low, unused_high))} of the range is empty",
            f"a zero point near {right} fits; quantize again, or correct it in the model",
            found.clip_noise,
            {**evidence, "zero_point_that_fits": right},
        )
        return
    factor = max(found.high - found.holds_low, found.holds_high - found.low, 1e-30)
    wanted = max(found.most - min(found.least, 0.0), factor) / 255.0
    yield Finding(
        "range_too_small",
        severity,
        layer.name,
        value.name,
        f"{_percent(share)} of the values lie outside "
        f"[{found.holds_low:.4g}, {found.holds_high:.4g}]; they reach "
        f"[{found.least:.4g}, {found.most:.4g}]: the scale {value.scale:.4g} is too small",
        f"a scale near {wanted:.3g} holds them; calibrate with data like these, or "
        f"{rule_text(layer.name, activation_ranges='minmax')}",
        found.clip_noise,
        {**evidence, "scale_that_fits": wanted},
    )


def _zero_point(dtype: str, found: Range, span: float) -> int:
    """Where the range would hold the values in its middle, as the type's number."""
    least = 0 if dtype == "u8" else -128
    middle = (found.low + found.high) / 2
    return int(np.clip(round(least + 127.5 - middle * 255.0 / span), least, least + 255))


def _levels(view: View, layer: Layer, found: Range) -> Iterator[Finding]:
    """Too large a range: the values reach few of the 256 levels."""
    if layer.node.op in _FIXED or found.levels > 64 or layer.signal == 0.0:
        return
    if _shares_concat(view, layer):
        return  # the Concat says so
    wanted = (found.most - found.least) / 255.0
    yield Finding(
        "range_too_large",
        severity_of(found.step_noise),
        layer.name,
        layer.value.name,
        f"the values [{found.least:.4g}, {found.most:.4g}] use {found.levels:.0f} of the 256 "
        f"levels of [{found.holds_low:.4g}, {found.holds_high:.4g}]: the scale "
        f"{layer.value.scale:.4g} is too large",
        f"{rule_text(layer.name, activation_ranges='percentile', percentile=99.9)} if calibration "
        f"saw outliers; these data need a scale near {wanted:.3g}",
        found.step_noise,
        {
            "levels": found.levels,
            "scale": layer.value.scale,
            "scale_that_fits": wanted,
            "values_low": found.least,
            "values_high": found.most,
        },
    )


def _shares_concat(view: View, layer: Layer) -> bool:
    readers = view.graph.consumers.get(layer.value.name, ())
    joined = [view.graph.values[node.outputs[0]] for node in readers if node.op == "Concat"]
    return any(value.is_8bit and value.scale == layer.value.scale for value in joined)


def _widest(layer: Layer) -> tuple[int, float, float]:
    """(the channel of the widest range, how many times the median's that is, the median's)."""
    reach = layer.sums.most - layer.sums.least
    alive = reach[reach > 0]
    if alive.size < 4:
        return 0, 1.0, math.inf
    middle = float(np.median(alive))
    return int(np.argmax(reach)), float(reach.max()) / middle, middle


def _outlier(view: View, layer: Layer) -> Iterator[Finding]:
    """One channel so wide that the others have few levels between them."""
    sums = layer.sums
    widest, ratio, middle = _widest(layer)
    levels = middle / layer.value.scale
    if ratio < 12.0 or levels > 24.0 or layer.node.op in _FIXED:
        return
    before = [view.by_tensor[name] for name in layer.node.inputs if name in view.by_tensor]
    same = [part for part in before if part.sums.channels == sums.channels]
    if any(_widest(part)[0] == widest and _widest(part)[1] >= 12.0 for part in same):
        return  # inherited
    alive = np.count_nonzero(sums.most > sums.least)
    noise = np.sort(sums.count / sums.channels * layer.value.scale**2 / 12.0 / _floor(sums.signal))
    typical = float(np.median(noise[:alive]))
    yield Finding(
        "activation_outlier",
        severity_of(typical, at_most="error" if levels < 3 else "warning"),
        layer.name,
        layer.value.name,
        f"channel {widest} reaches {ratio:.0f} times as far as the median channel, which is left "
        f"with {levels:.0f} of 256 levels",
        "equalize: true (convolutions) or smooth: 0.5 (behind LayerNorm) in the recipe, or "
        f"{finer(view, layer)}",
        min(typical, 1.0),
        {"channel": widest, "ratio": ratio, "median_levels": levels},
    )


def _floor(array: F64) -> F64:
    return np.asarray(np.maximum(array, 1e-30))


def _clamped(layer: Layer, found: Range) -> Iterator[Finding]:
    """A range that reaches beyond the fused activation."""
    bounds = clamp(layer.node)
    if bounds is None:
        return
    span = found.holds_high - found.holds_low
    beyond = max(0.0, found.holds_high - bounds[1]) + max(0.0, bounds[0] - found.holds_low)
    if beyond < 0.25 * span or found.levels <= 64:
        return
    yield Finding(
        "range_beyond_clamp",
        severity_of(found.step_noise, at_most="warning"),
        layer.name,
        layer.value.name,
        f"{_percent(beyond / span)} of the range [{found.holds_low:.4g}, {found.holds_high:.4g}] "
        f"lies beyond the fused activation [{bounds[0]:.4g}, {bounds[1]:.4g}]",
        "quantize again: ranges are taken behind the activation",
        found.step_noise,
        {"beyond": beyond / span, "clamp_low": bounds[0], "clamp_high": bounds[1]},
    )


def _concat(view: View, layer: Layer) -> Iterator[Finding]:
    """Operands of very different ranges on one scale."""
    scale = layer.value.scale
    parts = [view.by_tensor[name] for name in layer.node.inputs if name in view.by_tensor]
    if len(parts) < 2:
        return
    levels = [float(part.sums.most.max() - part.sums.least.min()) / scale for part in parts]
    small = int(np.argmin(levels))
    if levels[small] > 16.0 or max(levels) < 8.0 * levels[small]:
        return
    part = parts[small]
    noise = part.sums.count * scale**2 / 12.0 / max(part.signal, 1e-30)
    yield Finding(
        "concat_ranges",
        severity_of(noise, at_most="warning" if levels[small] > 3 else "error"),
        layer.name,
        layer.value.name,
        f"operand '{part.name}' uses {levels[small]:.0f} of the 256 levels that "
        f"'{parts[int(np.argmax(levels))].name}' needs: one scale for both",
        f"{finer(view, layer)}, or scale the operands alike before training",
        min(noise, 1.0),
        {"operand": part.name, "levels": levels[small], "widest_levels": max(levels)},
    )


def _normalization(view: View, layer: Layer) -> Iterator[Finding]:
    own = layer.sums.own_db
    if own is None or own > 22.0:
        return
    noise = 10.0 ** (-own / 10.0)
    yield Finding(
        "normalization_noise",
        severity_of(noise, at_most="warning"),
        layer.name,
        layer.value.name,
        f"{layer.node.op} in 8 bits keeps {own:.1f} dB",
        finer(view, layer),
        noise,
        {"own_db": own},
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

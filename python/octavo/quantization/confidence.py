# SPDX-License-Identifier: Apache-2.0
"""Would more calibration samples change the scales, and which tensors saw odd data?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from octavo.quantization.observers import Statistics
from octavo.quantization.ranges import activation_range, squared_errors
from octavo.quantization.recipe import Settings

__all__ = ["Confidence", "Doubt", "confidence_of"]

#: A scale that changes by less than this is settled, and this share of tensors has to be.
SETTLED, ENOUGH = 0.01, 0.99
_FEW = 8  # samples that say nothing yet
_DOMINATED = 0.3  # of the range is due to a single sample
_GROWING = 0.05  # of the range came with the last quarter of the samples


@dataclass(frozen=True)
class Doubt:
    """A tensor whose data look unrepresentative: `kind` is "all zero", "constant", "one sample",
    "growing" or "dead channels"; `detail` says it in numbers; `sample` is the one to look at, and
    `source` where it came from, if that is known."""

    tensor: str
    kind: str
    detail: str
    sample: int | None = None
    source: str | None = None


@dataclass(frozen=True)
class Confidence:
    """How settled the scales are after `samples` samples.

    `changes` has each tensor's expected relative change with other data of the same kind: half the
    difference of the ranges that every other sample gives alone (a jackknife of two groups), in
    units of the range; `stable` is the share of tensors below 1 %. `costs` is what that is worth:
    the SQNR in dB that a tensor loses with such a range, on all of the data.
    """

    samples: int
    stable: float
    changes: Mapping[str, float]
    costs: Mapping[str, float]
    doubts: tuple[Doubt, ...]

    @property
    def settled(self) -> bool:
        """More samples would not change the scales."""
        return self.samples >= _FEW and self.stable >= ENOUGH

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.samples < _FEW:
            return f"{self.samples} samples are too few to judge the scales; 32 and more are usual"
        share = f"{100 * self.stable:.0f} % of tensors within {100 * SETTLED:g} %"
        if self.settled:
            return f"more samples no longer change the scales: {share}"
        worst = max(self.changes, key=lambda name: self.changes[name])
        return (
            f"more samples would still change the scales: {share}, "
            f"'{worst}' ± {100 * self.changes[worst]:.1f} %; worth {self._cost(0.5):.2f} dB of a "
            f"tensor's SQNR in the median, {self._cost(1.0):.2f} dB at most"
        )

    def _cost(self, quantile: float) -> float:
        return float(np.quantile(list(self.costs.values()), quantile))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "samples": self.samples,
            "settled": self.settled,
            "verdict": self.verdict,
            "stable": self.stable,
            "changes": dict(self.changes),
            "costs_db": dict(self.costs),
            "doubts": [asdict(doubt) for doubt in self.doubts],
        }


def _change(statistics: Statistics, settings: Settings) -> tuple[float, float]:
    """(expected relative change of the range, its cost in dB); 0 where there is no range."""
    ends = [activation_range([statistics.half(index)], settings) for index in (0, 1)]
    (low_a, high_a), (low_b, high_b) = ends
    width = (high_a - low_a + high_b - low_b) / 2.0
    if width <= 0.0:
        return 0.0, 0.0
    difference = max(abs(low_a - low_b), abs(high_a - high_b))
    low, high = activation_range([statistics], settings)
    lows, highs = np.array([(low, high), *ends]).T
    whole, *halves = squared_errors(statistics.histogram, lows, highs)
    cost = 10.0 * np.log10(max(1.0, np.mean(halves) / whole)) if whole > 0.0 else 0.0
    return difference / 2.0 / width, float(cost)


def _zero(s: Statistics) -> str | None:
    return "nothing but zeros" if s.low == s.high == 0.0 else None


def _constant(s: Statistics) -> str | None:
    return f"always {s.low:.6g}" if s.low == s.high != 0.0 else None


def _one_sample(s: Statistics) -> tuple[str, int] | None:
    """Does one sample reach far beyond all others, and which?"""
    width = max(s.high, 0.0) - min(s.low, 0.0)
    if s.samples < _FEW or width <= 0.0:
        return None
    begin = s.samples - len(s.lows)
    for trace, sign in ((s.highs, 1.0), (-s.lows, -1.0)):
        first, second = np.partition(trace, -2)[-1:-3:-1].astype(np.float64)
        if first > 0.0 and first - max(second, 0.0) > _DOMINATED * width:
            at = begin + int(np.argmax(trace))
            detail = f"sample {at} reaches {sign * first:.4g}, all others {sign * second:.4g}"
            return detail, at
    return None


def _growing(s: Statistics) -> str | None:
    """Did the last quarter of the samples still widen the range?"""
    width = max(s.high, 0.0) - min(s.low, 0.0)
    if s.samples < 4 * _FEW or width <= 0.0 or _one_sample(s):
        return None
    count = 3 * len(s.lows) // 4
    before = max(float(s.highs[:count].max()), 0.0) - min(float(s.lows[:count].min()), 0.0)
    grown = (width - before) / width
    return f"{100 * grown:.0f} % of it in the last quarter" if grown > _GROWING else None


def _dead_channels(s: Statistics) -> str | None:
    if s.channels is None or s.samples < _FEW or s.low == s.high or s.channels.low.size < 2:
        return None
    dead = np.flatnonzero(s.channels.low == s.channels.high)
    if dead.size == 0:
        return None
    listed = ", ".join(map(str, dead[:5])) + (", …" if dead.size > 5 else "")
    return f"{dead.size} of {s.channels.low.size} never change ({listed})"


_CHECKS: Mapping[str, Callable[[Statistics], str | tuple[str, int] | None]] = {
    "all zero": _zero,
    "constant": _constant,
    "one sample": _one_sample,
    "growing": _growing,
    "dead channels": _dead_channels,
}


def confidence_of(
    statistics: Mapping[str, Statistics],
    settings: Mapping[str, Settings] | Settings,
    samples: int,
    sources: Sequence[str] = (),
) -> Confidence:
    """The confidence in the ranges that `settings` (by tensor, or one for all) choose; `sources`
    are the samples' names, where they have any."""
    changes: dict[str, float] = {}
    costs: dict[str, float] = {}
    doubts = []
    for name, found in statistics.items():
        if found.samples == 0:
            continue  # a constant
        told = settings if isinstance(settings, Settings) else settings.get(name, Settings())
        changes[name], costs[name] = _change(found, told)
        for kind, check in _CHECKS.items():
            answer = check(found)
            if isinstance(answer, str):
                doubts.append(Doubt(name, kind, answer))
            elif answer is not None:
                detail, at = answer
                source = sources[at] if at < len(sources) else None
                doubts.append(Doubt(name, kind, detail, at, source))
    stable = np.mean([change <= SETTLED for change in changes.values()]) if changes else 1.0
    return Confidence(samples, float(stable), changes, costs, tuple(doubts))

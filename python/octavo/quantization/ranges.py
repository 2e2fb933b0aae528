# SPDX-License-Identifier: Apache-2.0
"""From statistics to scale and zero point, by the methods that a recipe names.

A range always contains 0, so that padding and ReLU are exact. Candidates of the searching methods
are judged from running sums over the histogram at the 256 steps' edges: 256 numbers per candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError
from octavo.ir import Affine
from octavo.quantization.observers import ZERO_BIN, Histogram, Statistics, joined
from octavo.quantization.recipe import CHOICES, Settings

__all__ = [
    "METHODS",
    "activation_range",
    "affine_from_range",
    "squared_errors",
    "weight_scales",
]

Array = NDArray[Any]
F64 = NDArray[np.float64]
METHODS = CHOICES["activation_ranges"]
#: Least and largest stored number of the types activations can have.
LIMITS = {"u8": (0, 255), "s8": (-128, 127), "s16": (-32768, 32767)}
_TINY = float(np.finfo(np.float32).tiny)
_FACTORS = np.linspace(0.02, 1.0, 197)
_WEIGHT_FACTORS = np.linspace(0.6, 1.0, 41)
#: Fewer bins than steps would fit any narrow range perfectly (entropy).
_LEAST_BINS = 256


def affine_from_range(
    low: float, high: float, dtype: str = "u8", *, symmetric: bool = False
) -> Affine:
    """Parameters covering [low, high] extended to contain 0, so that 0 is exact (padding, ReLU).

    scale = (high - low) / 255, zero point = least + rne(-low / scale). `symmetric`: zero point 128
    (u8) or 0 (s8), scale = max(|low|, |high|) / 127. s16 is always symmetric.
    """
    least, most = LIMITS[dtype]
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric or dtype == "s16":
        middle = (least + most + 1) // 2
        if high == low:
            return Affine.per_tensor(1.0, middle)
        scale = max(high, -low) / (most - middle)
        return Affine.per_tensor(float(np.float32(max(scale, _TINY))), middle)
    if high == low:
        return Affine.per_tensor(1.0, least)
    scale = float(np.float32(max((high - low) / 255.0, _TINY)))
    return Affine.per_tensor(scale, int(np.clip(np.rint(-low / scale), 0, 255)) + least)


class _Sums:
    """Running sums over the bins of a histogram, for judging many ranges at once."""

    def __init__(self, histogram: Histogram) -> None:
        self.centres, counts = histogram.bins()
        self.low, self.high = min(histogram.low, 0.0), max(histogram.high, 0.0)
        self.width = histogram.range / 4096.0
        self.counts = n = counts.astype(np.float64)
        self._before = np.concatenate([[0], np.cumsum(histogram.counts > 0)])
        zero = np.zeros(1)
        self.n = np.concatenate([zero, np.cumsum(n)])
        self.nx = np.concatenate([zero, np.cumsum(n * self.centres)])
        self.nxx = np.concatenate([zero, np.cumsum(n * self.centres * self.centres)])

    def below(self, limits: F64, *, equal: bool = False) -> NDArray[np.int64]:
        """How many of the bins that hold anything have their centre below limits, or `equal`: found
        by arithmetic, exact since the width is a power of two."""
        place = limits / self.width - 0.5
        dense = np.floor(place) + 1.0 if equal else np.ceil(place)
        half = (len(self._before) - 1) // 2
        return np.asarray(self._before[np.clip(dense + half, 0, 2 * half).astype(np.int64)])

    def levels(self, lows: F64, highs: F64) -> tuple[F64, NDArray[np.int64]]:
        """For each candidate: the 256 real numbers it can store, and where in the bins the share of
        each begins, and the last one ends: [candidates, 256] and [candidates, 257]."""
        scale = np.maximum((highs - lows) / 255.0, _TINY)
        zero_point = np.rint(-lows / scale)
        values = (np.arange(256.0) - zero_point[:, None]) * scale[:, None]
        edges = (values[:, 1:] + values[:, :-1]) / 2.0
        inner = self.below(edges)
        ends = np.full((len(lows), 1), len(self.centres))
        return values, np.concatenate([np.zeros_like(ends), inner, ends], axis=1)

    def squared_error(self, lows: F64, highs: F64) -> F64:
        """Sum of squared differences between the histogram and its 8-bit image, by candidate."""
        values, at = self.levels(lows, highs)
        n, nx, nxx = (np.diff(running[at], axis=1) for running in (self.n, self.nx, self.nxx))
        return np.asarray((nxx - 2.0 * values * nx + values * values * n).sum(axis=1))

    def divergence(self, lows: F64, highs: F64) -> F64:
        """Kullback-Leibler divergence D(P | Q) by candidate, in nats.

        P is the histogram with what lies outside counted in the outermost bins inside; Q spreads
        what each step stores from inside evenly over the bins of the step that hold anything
        (Migacz, 8-bit inference with TensorRT, 2017).
        """
        _, at = self.levels(lows, highs)
        first = np.minimum(self.below(lows), len(self.centres) - 1)
        last = np.maximum(self.below(highs, equal=True), first + 1)
        inside = np.clip(at, first[:, None], last[:, None])
        mass, bins = np.diff(self.n[inside], axis=1), np.diff(inside, axis=1)
        rows = np.arange(len(lows))
        below, above = self.n[first], self.n[-1] - self.n[last]
        p = mass.copy()
        np.add.at(p, (rows, (bins > 0).argmax(axis=1)), below)
        np.add.at(p, (rows, 255 - (bins[:, ::-1] > 0).argmax(axis=1)), above)
        total, kept = self.n[-1], mass.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            q = mass / bins / kept[:, None]
            cross = np.where(p > 0, p / total * np.log(q), 0.0).sum(axis=1)
        return np.asarray(self._entropy(first, last, below, above) - cross)

    def _entropy(
        self, first: NDArray[np.int64], last: NDArray[np.int64], below: F64, above: F64
    ) -> F64:
        """Sum of p log p over the bins inside, the outermost with the clipped mass."""
        total = self.n[-1]

        def plogp(mass: F64) -> F64:
            share = mass / total
            return np.asarray(share * np.log(np.maximum(share, 1e-300)))

        running = np.concatenate([np.zeros(1), np.cumsum(plogp(self.counts))])
        left, right = self.counts[first], self.counts[last - 1]
        single = last - first == 1
        ends = plogp(left + below) - plogp(left) + plogp(right + above) - plogp(right)
        alone = plogp(left + below + above) - plogp(left)
        return np.asarray(running[last] - running[first] + np.where(single, alone, ends))


def _least(error: Callable[[F64], F64], factors: F64) -> float:
    """The factor of least error: of every fourth, then of all around the best. Ties go to the
    first."""
    coarse = 4 * int(np.argmin(error(factors[::4])))
    near = factors[max(0, coarse - 3) : coarse + 4]
    return float(near[np.argmin(error(near))])


def _search(
    sums: _Sums, error: Callable[[F64, F64], F64], factors: F64, symmetric: bool
) -> tuple[float, float]:
    """The range of least error: both ends shrunk together, then each alone, twice, since they
    hardly interact. Ties go to the wider range."""
    factors = factors[::-1]
    if symmetric:
        most = max(sums.high, -sums.low)
        best = most * _least(lambda f: error(-f * most * (128 / 127), f * most), factors)
        return -best, best
    low, high = sums.low, sums.high
    if low < 0.0 < high:
        found = _least(lambda f: error(f * sums.low, f * sums.high), factors)
        low, high = found * sums.low, found * sums.high

    def upper(f: F64) -> F64:
        return error(np.full_like(f, low), f * sums.high)

    def lower(f: F64) -> F64:
        return error(f * sums.low, np.full_like(f, high))

    for _ in range(2):
        high = sums.high * _least(upper, factors) if high > 0.0 else high
        low = sums.low * _least(lower, factors) if low < 0.0 else low
    return low, high


def _percentile(sums: _Sums, percentile: float) -> tuple[float, float]:
    """The narrowest ends that keep `percentile` percent of the values inside: half of the rest is
    cut off at each side of zero where there are two, all of it where there is one."""
    outside = (1.0 - percentile / 100.0) * sums.n[-1]
    if sums.low < 0.0 < sums.high:
        outside /= 2.0
    half = sums.width / 2.0
    low, high = sums.low, sums.high
    if high > 0.0:  # the upper edge of the bin in which the last kept value lies
        at = int(np.searchsorted(sums.n[1:], sums.n[-1] - outside))
        high = float(np.clip(sums.centres[min(at, len(sums.centres) - 1)] + half, 0.0, high))
    if low < 0.0:
        at = int(np.searchsorted(sums.n[1:], outside, side="right"))
        low = float(np.clip(sums.centres[min(at, len(sums.centres) - 1)] - half, low, 0.0))
    return low, high


def _without_zeros(histogram: Histogram) -> Histogram:
    """The histogram with the bin of zero as high as the higher of its neighbours. Zeros are stored
    exactly in any range; the many of a ReLU would only make their step look badly spread."""
    around = histogram.counts[ZERO_BIN - 1 : ZERO_BIN + 2]
    most = max(int(around[0]), int(around[2]))
    if not 0 < most < around[1]:
        return histogram
    found = joined([histogram, Histogram(histogram.name)])
    found.counts[ZERO_BIN] = most
    return found


def squared_errors(histogram: Histogram, lows: F64, highs: F64) -> F64:
    """The sums of squared differences between a histogram and its 8-bit image in some ranges."""
    return _Sums(histogram).squared_error(lows, highs)


def activation_range(
    statistics: Sequence[Statistics], settings: Settings | None = None
) -> tuple[float, float]:
    """(low, high), containing 0, that serves all the given tensors (one, or a group that shares
    parameters), by `settings.activation_ranges`.

    "minmax" covers everything seen; "moving_average" the average sample's extremes; "percentile"
    that share of all values; "mse" and "entropy" search both ends for the least squared error or
    the least Kullback-Leibler divergence over the joint histogram.
    """
    settings = settings or Settings()
    method = settings.activation_ranges
    if method not in METHODS:
        raise InvalidArgumentError(f"ranges='{method}': choose one of {', '.join(METHODS)}")
    histogram = joined([s.histogram for s in statistics])
    low, high = min(0.0, histogram.low), max(0.0, histogram.high)
    if method == "moving_average":
        ends = [s.moving_average(settings.momentum) for s in statistics]
        return min(0.0, *(e[0] for e in ends)), max(0.0, *(e[1] for e in ends))
    if method == "minmax" or low == high:
        return low, high
    sums = _Sums(_without_zeros(histogram) if method == "entropy" else histogram)
    if method == "percentile":
        return _percentile(sums, settings.percentile)
    if method == "mse":
        return _search(sums, sums.squared_error, _FACTORS, settings.symmetric)
    least = min(1.0, _LEAST_BINS * sums.width / (high - low))
    factors = np.extract(np.greater_equal(_FACTORS, least), _FACTORS)
    return _search(sums, sums.divergence, factors, settings.symmetric)


def weight_scales(weights: Array, method: str, *, per_channel: bool = True) -> NDArray[np.float32]:
    """Symmetric scales [channels] for weights [channels, ...] in [-127, 127]; all the same unless
    `per_channel`.

    "minmax": max|w| / 127; "mse": the clipping of that range with the least squared error. A
    channel of zeros gets the scale 2^-7, which any bias can be expressed in.
    """
    flat = np.asarray(weights, np.float32).reshape(weights.shape[0], -1)
    if not per_channel:
        return np.repeat(weight_scales(flat.reshape(1, -1), method), flat.shape[0])
    largest = np.abs(flat).max(axis=1)
    best = largest / np.float32(127.0)
    if method == "mse":
        error = np.full(flat.shape[0], np.inf)
        scale = best.copy()
        for factor in _WEIGHT_FACTORS[::-1]:
            candidate = np.maximum(largest * np.float32(factor / 127.0), np.float32(_TINY))
            q = np.clip(np.rint(flat / candidate[:, None]), -127, 127)
            now = np.square(q * candidate[:, None] - flat).sum(axis=1)
            better = now < error
            error[better], scale[better] = now[better], candidate[better]
        best = scale
    dead = largest < 127.0 * _TINY
    return np.asarray(np.where(dead, np.float32(2.0**-7), best), np.float32)

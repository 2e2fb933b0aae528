# SPDX-License-Identifier: Apache-2.0
"""Streaming statistics of activations: one pass, any number of samples, for all range methods.

Nothing depends on how the samples were cut into batches: sums are made per sample first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import _core
from octavo.errors import QuantizationError

__all__ = ["TRACE", "ZERO_BIN", "ChannelStatistics", "Histogram", "Statistics", "joined"]

Array = NDArray[Any]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
_HALF = 4096  # bins on each side of zero
_MIN_RANGE = 2.0**-113  # a bin's inverse width, 4096 / R, is still a float32 number
#: The bin of [0, width), in which exact zeros are.
ZERO_BIN = _HALF
#: Samples whose extremes are remembered one by one: 8 bytes each and tensor, 0.5 MB at most.
TRACE = 65536


class Histogram:
    """Counts over [-R, R) in 8192 equal bins, and the exact minimum and maximum.

    R is a power of two. A value beyond it doubles R, and neighbouring bins are added up, which is
    exact: the result does not depend on how the data was cut into batches.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.low = np.inf
        self.high = -np.inf
        self.count = 0
        self.range = 0.0
        self.counts = np.zeros(2 * _HALF, np.int64)

    def add(self, data: Array) -> None:
        """Takes in a batch (float32, any shape). Raises QuantizationError on NaN or infinity."""
        self.add_samples(np.asarray(data, np.float32).reshape(1, -1))

    def add_samples(self, data: F32) -> tuple[F32, F32]:
        """Takes in [samples, n] and returns the least and largest value of each sample."""
        data = np.ascontiguousarray(data)
        samples, n = data.shape
        lows, highs = np.empty(samples, np.float32), np.empty(samples, np.float32)
        if data.size == 0:
            return lows[:0], highs[:0]
        if not _core.statistics_extremes(data, samples, n, lows, highs):
            raise QuantizationError(
                f"tensor '{self.name}': calibration produced NaN or infinity; "
                "check the inputs' scaling and the float model"
            )
        low, high = float(lows.min()), float(highs.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._grow(max(abs(low), abs(high)))
        self.count += data.size
        if self.range > 0.0:
            _core.statistics_histogram(data, data.size, _HALF / self.range, self.counts)
        return lows, highs

    def _grow(self, magnitude: float) -> None:
        if magnitude == 0.0 or magnitude < self.range:
            return
        if self.range == 0.0:
            self.range = max(2.0 ** math.frexp(magnitude)[1], _MIN_RANGE)
            self.counts[_HALF] += self.count  # zeros: there were no bins for them yet
            return
        while magnitude >= self.range:
            _double(self.counts)
            self.range *= 2.0

    def bins(self) -> tuple[F64, NDArray[np.int64]]:
        """(centres, counts) of the bins that hold anything."""
        width = self.range / _HALF
        filled = np.flatnonzero(self.counts)
        centres = np.asarray((filled - _HALF + 0.5) * width, np.float64)
        return centres, self.counts[filled]


def _double(counts: NDArray[np.int64]) -> None:
    """The counts for twice the range, in place."""
    merged = counts.reshape(-1, 2).sum(axis=1)
    counts[:] = 0
    counts[_HALF // 2 : _HALF // 2 + _HALF] = merged


def joined(histograms: Sequence[Histogram]) -> Histogram:
    """One histogram of everything that several have seen, on the widest range: exact."""
    total = Histogram(histograms[0].name)
    total.low = min(h.low for h in histograms)
    total.high = max(h.high for h in histograms)
    total.range = max(h.range for h in histograms)
    for h in histograms:
        total.count += h.count
        counts, width = h.counts.copy(), h.range
        if width == 0.0:  # zeros only
            counts[_HALF] += h.count if total.range > 0.0 else 0
        while 0.0 < width < total.range:
            _double(counts)
            width *= 2.0
        total.counts += counts
    return total


class ChannelStatistics:
    """Per slice of the last axis (a channel, in NHWC): extremes and sums, [channels] each.

    `low`, `high` float32; `sum`, `square` (of x and x²) float64 over `positions` elements each.
    """

    def __init__(self, channels: int) -> None:
        self.low = np.full(channels, np.inf, np.float32)
        self.high = np.full(channels, -np.inf, np.float32)
        self.sum = np.zeros(channels, np.float64)
        self.square = np.zeros(channels, np.float64)
        self.positions = 0

    def add_samples(self, data: F32, samples: int) -> None:
        """Takes in [.., channels], whose first axis cuts into `samples` equal parts."""
        channels = self.low.size
        rows = data.size // (samples * channels)
        _core.statistics_channels(
            data, samples, rows, channels, self.low, self.high, self.sum, self.square
        )
        self.positions += samples * rows

    @property
    def mean(self) -> F64:
        """E[x] per channel."""
        return self.sum / max(1, self.positions)

    @property
    def mean_square(self) -> F64:
        """E[x²] per channel."""
        return self.square / max(1, self.positions)


class Statistics:
    """Everything calibration knows about one tensor.

    `halves` are histograms of every other sample each, for judging how much they agree;
    `histogram` is both together; `lows` and `highs` of the last 65,536 samples, in order;
    `channels` for computed tensors of rank 2 and more, else None.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.halves = (Histogram(name), Histogram(name))
        self.channels: ChannelStatistics | None = None
        self.samples = 0
        self._lows: list[F32] = []
        self._highs: list[F32] = []

    @property
    def histogram(self) -> Histogram:
        """Of everything seen."""
        return joined(self.halves)

    @property
    def low(self) -> float:
        """The least value seen; infinity before any."""
        return min(half.low for half in self.halves)

    @property
    def high(self) -> float:
        """The largest value seen; -infinity before any."""
        return max(half.high for half in self.halves)

    def add(self, data: Array, samples: int = 1) -> None:
        """Takes in `samples` samples, equal parts of `data` (float32) along its first axis.

        Raises QuantizationError on NaN or infinity.
        """
        data = np.ascontiguousarray(data, np.float32)
        if data.size == 0:
            return
        rows = data.reshape(samples, -1)
        lows, highs = np.empty(samples, np.float32), np.empty(samples, np.float32)
        try:
            for first in range(min(2, samples)):
                half = self.halves[(self.samples + first) % 2]
                lows[first::2], highs[first::2] = half.add_samples(rows[first::2])
        except QuantizationError as error:
            last = self.samples + samples - 1
            raise QuantizationError(f"samples {self.samples} to {last}: {error}") from error
        self._lows.append(lows)
        self._highs.append(highs)
        if len(self._lows) > 256:
            self._compact()
        if data.ndim >= 2:
            if self.channels is None:
                self.channels = ChannelStatistics(data.shape[-1])
            if self.channels.low.size == data.shape[-1]:  # another size: of a dynamic dimension
                self.channels.add_samples(data, samples)
        self.samples += samples

    def half(self, index: int) -> Statistics:
        """Statistics of every other sample alone (no channels)."""
        made = Statistics(self.name)
        made.halves = (self.halves[index], Histogram(self.name))
        begin = (index - self.samples + len(self.lows)) % 2  # of the samples still in the traces
        made._lows, made._highs = [self.lows[begin::2]], [self.highs[begin::2]]
        made.samples = len(made._lows[0])
        return made

    def add_constant(self, data: Array) -> None:
        """Takes in a constant, which is no sample."""
        self.halves[0].add(data)

    def _compact(self) -> None:
        for trace in (self._lows, self._highs):
            trace[:] = [np.concatenate(trace)[-TRACE:]] if trace else []

    @property
    def lows(self) -> F32:
        """The least value of each sample, the last 65,536 in order."""
        self._compact()
        return self._lows[0] if self._lows else np.empty(0, np.float32)

    @property
    def highs(self) -> F32:
        """The largest value of each sample, the last 65,536 in order."""
        self._compact()
        return self._highs[0] if self._highs else np.empty(0, np.float32)

    def moving_average(self, momentum: float) -> tuple[float, float]:
        """Exponential moving average of the samples' extremes, beginning with the first:
        a = momentum * a + (1 - momentum) * sample. The extremes where there are no samples."""
        if self.samples == 0:
            return self.low, self.high
        ends = []
        for trace in (self.lows, self.highs):
            average = float(trace[0])
            for value in trace[1:].tolist():
                average += (1.0 - momentum) * (value - average)
            ends.append(average)
        return ends[0], ends[1]

    def state(self) -> dict[str, Array]:
        """Arrays that `restore` makes the same statistics of."""
        found: dict[str, Array] = {
            "numbers": np.array([(h.low, h.high, h.range) for h in self.halves], np.float64),
            "totals": np.array([*(h.count for h in self.halves), self.samples], np.int64),
            "counts": np.stack([h.counts for h in self.halves]),
            "lows": self.lows,
            "highs": self.highs,
        }
        if self.channels is not None:
            c = self.channels
            found["positions"] = np.array(c.positions, np.int64)
            found |= {"low": c.low, "high": c.high, "sum": c.sum, "square": c.square}
        return found

    @staticmethod
    def restore(name: str, state: Mapping[str, Array]) -> Statistics:
        """The statistics that `state` came from."""
        made = Statistics(name)
        for h, numbers, counts in zip(made.halves, state["numbers"], state["counts"], strict=True):
            h.low, h.high, h.range = (float(number) for number in numbers)
            h.counts = np.array(counts, np.int64)
        made.halves[0].count, made.halves[1].count, made.samples = (
            int(number) for number in state["totals"]
        )
        made._lows = [np.array(state["lows"], np.float32)]
        made._highs = [np.array(state["highs"], np.float32)]
        if "sum" in state:
            c = made.channels = ChannelStatistics(int(state["low"].size))
            c.positions = int(state["positions"])
            c.low, c.high = state["low"].copy(), state["high"].copy()
            c.sum, c.square = state["sum"].copy(), state["square"].copy()
        return made

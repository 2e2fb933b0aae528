# SPDX-License-Identifier: Apache-2.0
"""Sums over batches: whatever the number of samples, a tensor needs a few numbers per channel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.comparison.result import LayerError, OutputError
from octavo.ir import Node, Value
from octavo.quant import QRANGE

__all__ = ["InputStatistics", "OutputStatistics", "TensorStatistics", "decibels"]

Array = NDArray[Any]
F64 = NDArray[np.float64]
#: Elements worked on at a time: the temporaries stay in the second-level cache.
_CHUNK = 1 << 14
#: Bins of the histogram of real values; the quantization range takes the middle half.
BINS = 128


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); inf without noise, -inf without signal."""
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def real_range(value: Value) -> tuple[float, float]:
    """The least and the largest real number that an 8-bit per-tensor value can hold."""
    low, high = QRANGE[value.dtype]
    return (low - value.zero_point) * value.scale, (high - value.zero_point) * value.scale


class TensorStatistics:
    """A tensor of the quantized network beside the reference's, per channel (the last axis).

    All arrays are float64 [channels]: `noise` sum (got - ref)^2, `signal` sum ref^2, `energy` sum
    got^2, `dot` sum got * ref, `shift` sum (got - ref), `least` and `most` of the reference.
    `levels` counts the stored numbers [256], `bins` the reference's values [BINS]; both are empty
    for float tensors. `range` is what the tensor can hold. float32 sums of one chunk are added up.
    """

    def __init__(self, node: Node, value: Value, tensor: str, precision: str) -> None:
        self.node, self.value, self.tensor, self.precision = node, value, tensor, precision
        self.channels = value.shape[-1] if value.shape else 1
        zeros = np.zeros(self.channels)
        self.noise, self.signal, self.energy = zeros.copy(), zeros.copy(), zeros.copy()
        self.dot, self.shift = zeros.copy(), zeros.copy()
        self.least = np.full(self.channels, math.inf)
        self.most = np.full(self.channels, -math.inf)
        self.count, self.abs_sum, self.max_abs = 0, 0.0, 0.0
        self.below, self.above = 0, 0
        self.own_noise, self.own_signal = 0.0, 0.0
        self.own_shift, self.own_channel_noise = zeros.copy(), zeros.copy()
        self.has_own = False
        self.range = real_range(value) if value.is_8bit else (-math.inf, math.inf)
        self.levels = np.zeros(256 if value.is_8bit else 0, np.int64)
        self.bins = np.zeros(BINS if value.is_8bit else 0, np.int64)

    def fits(self, value: Value) -> None:
        """Makes ready for a batch of `value`'s shape. A last axis of another size is a symbolic one
        and has no channels: from then on, and for what was seen, there is one."""
        if self.channels in (1, value.shape[-1] if value.shape else 1):
            return
        self.channels = 1
        for name in ("noise", "signal", "dot", "energy", "shift", "own_shift", "own_channel_noise"):
            setattr(self, name, getattr(self, name).sum(keepdims=True))
        self.least, self.most = self.least.min(keepdims=True), self.most.max(keepdims=True)

    @property
    def rows(self) -> int:
        """Values seen of each channel."""
        return self.count // max(1, self.channels)

    def add(self, got: Array, expected: Array, stored: Array | None, own: Array | None) -> None:
        """One batch: dequantized and reference values, the stored numbers of an 8-bit tensor as the
        plan keeps them (u8), and the layer's float function of its quantized inputs."""
        if expected.size == 0:
            return
        self.count += expected.size
        a, b = (array.reshape(-1, self.channels) for array in (got, expected))
        c = None if own is None else own.reshape(-1, self.channels)
        step = max(1, _CHUNK // self.channels)
        for start in range(0, len(a), step):
            rows = slice(start, start + step)
            self._add_rows(a[rows], b[rows], None if c is None else c[rows])
        if stored is not None:
            self.levels += np.bincount(stored.reshape(-1), minlength=256)

    def _add_rows(self, got: Array, expected: Array, own: Array | None) -> None:
        # float32 within a chunk, float64 across: the arrays are not copied to float64
        a, b = got.astype(np.float32, copy=False), expected.astype(np.float32, copy=False)
        difference = a - b
        noise = np.einsum("rc,rc->c", difference, difference)
        signal, cross = np.einsum("rc,rc->c", b, b), np.einsum("rc,rc->c", b, difference)
        self.shift += difference.sum(axis=0)
        self.noise += noise
        self.signal += signal
        self.dot += signal.astype(np.float64) + cross
        self.energy += signal.astype(np.float64) + 2.0 * cross + noise
        np.minimum(self.least, b.min(axis=0), out=self.least)
        np.maximum(self.most, b.max(axis=0), out=self.most)
        absolute = np.abs(difference)
        self.abs_sum += float(absolute.sum())
        self.max_abs = max(self.max_abs, float(absolute.max()))
        if self.value.is_8bit:
            self._add_range(b)
        if own is not None:
            self.has_own = True
            c = own.astype(np.float32, copy=False)
            np.subtract(a, c, out=difference)
            self.own_shift += difference.sum(axis=0)
            self.own_channel_noise += np.einsum("rc,rc->c", difference, difference)
            self.own_signal += float(np.einsum("rc,rc->", c, c))

    def _add_range(self, real: Array) -> None:
        low, high = self.range
        half, span = 0.5 * self.value.scale, high - low
        if float(self.least.min()) < low - half:
            self.below += int(np.count_nonzero(real < np.float32(low - half)))
        if float(self.most.max()) > high + half:
            self.above += int(np.count_nonzero(real > np.float32(high + half)))
        place = real - np.float32(low - span / 2)
        place *= np.float32(BINS / (2 * span))
        np.clip(place, 0, BINS - 1, out=place)
        self.bins += np.bincount(place.astype(np.intp).reshape(-1), minlength=BINS)

    @property
    def saturated(self) -> float | None:
        """Share of reference values more than half a step outside what the tensor can hold."""
        if not self.value.is_8bit or not self.count:
            return None
        return (self.below + self.above) / self.count

    @property
    def own_db(self) -> float | None:
        """The layer's own ratio; see `LayerError`."""
        if not self.has_own:
            return None
        return decibels(self.own_signal, float(self.own_channel_noise.sum()))

    def error(self) -> LayerError:
        """The figures of the layer."""
        noise, signal = float(self.noise.sum()), float(self.signal.sum())
        norm = math.sqrt(float(self.energy.sum()) * signal)
        return LayerError(
            node=self.node.name,
            op=self.node.op,
            tensor=self.tensor,
            precision=self.precision,
            sqnr_db=decibels(signal, noise),
            max_abs=self.max_abs,
            mean_abs=self.abs_sum / max(1, self.count),
            cosine=float(self.dot.sum()) / norm if norm > 0.0 else float(noise == 0.0),
            saturated=self.saturated,
            own_db=self.own_db,
        )


class OutputStatistics:
    """A model output end to end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = self.agreeing = self.count = 0
        self.noise = self.signal = self.abs_sum = self.max_abs = 0.0
        self.cosine_sum, self.worst = 0.0, math.inf
        self.ranked = True

    def add(self, got: Array, expected: Array, *, ranked: bool) -> None:
        """One batch [n, ...]; `ranked`: the rows are scores, one for each class."""
        rows = len(expected) if expected.ndim > 0 else 1
        a = got.astype(np.float64).reshape(rows, -1)
        b = expected.astype(np.float64).reshape(rows, -1)
        self.samples += rows
        self.count += b.size
        noise, signal = np.square(a - b), np.square(b).sum(axis=1)
        self.noise += float(noise.sum())
        self.signal += float(signal.sum())
        self.abs_sum += float(np.abs(a - b).sum())
        self.max_abs = max(self.max_abs, float(np.abs(a - b).max(initial=0.0)))
        norm = np.sqrt(np.square(a).sum(axis=1) * signal)
        same = noise.sum(axis=1) == 0.0
        cosine = np.where(norm > 0, (a * b).sum(axis=1) / np.where(norm > 0, norm, 1.0), same)
        self.cosine_sum += float(cosine.sum())
        self.worst = min(self.worst, float(cosine.min(initial=math.inf)))
        self.ranked &= ranked
        if self.ranked:
            self.agreeing += int(np.count_nonzero(a.argmax(axis=1) == b.argmax(axis=1)))

    def error(self) -> OutputError:
        """The figures of the output."""
        samples = max(1, self.samples)
        return OutputError(
            output=self.name,
            samples=self.samples,
            sqnr_db=decibels(self.signal, self.noise),
            max_abs=self.max_abs,
            mean_abs=self.abs_sum / max(1, self.count),
            cosine=self.cosine_sum / samples,
            worst_cosine=self.worst,
            top1_agreement=self.agreeing / samples if self.ranked else None,
        )


@dataclass
class InputStatistics:
    """What the data given for a model input looked like, per channel: axis 1 of [n,c,h,w] where c
    is at most 4, else the last. float64 [channels]; `levels` counts values in BINS bins between
    the least and the most of the first batch."""

    name: str
    shape: tuple[int, ...]
    axis: int
    count: int = 0
    total: F64 = field(default_factory=lambda: np.zeros(0))
    squares: F64 = field(default_factory=lambda: np.zeros(0))
    least: F64 = field(default_factory=lambda: np.zeros(0))
    most: F64 = field(default_factory=lambda: np.zeros(0))

    @staticmethod
    def of(name: str, array: Array) -> InputStatistics:
        """Empty statistics for arrays of this rank."""
        images = array.ndim == 4 and array.shape[1] <= 4 < array.shape[3]
        axis = 1 if images else max(0, array.ndim - 1)
        channels = array.shape[axis] if array.ndim else 1
        found = InputStatistics(name, tuple(array.shape[1:]), axis)
        found.total, found.squares = np.zeros(channels), np.zeros(channels)
        found.least, found.most = np.full(channels, math.inf), np.full(channels, -math.inf)
        return found

    def add(self, array: Array) -> None:
        """One batch."""
        if array.size == 0:
            return
        channels = len(self.total)
        if array.ndim and array.shape[self.axis] != channels:
            return  # a symbolic last axis: there are no channels to speak of
        rows = np.moveaxis(np.atleast_1d(array), self.axis, -1).reshape(-1, channels)
        wide = rows.astype(np.float64)
        self.count += len(wide)
        self.total += wide.sum(axis=0)
        self.squares += np.square(wide).sum(axis=0)
        self.least = np.minimum(self.least, wide.min(axis=0))
        self.most = np.maximum(self.most, wide.max(axis=0))

    @property
    def mean(self) -> F64:
        """Per channel."""
        return np.asarray(self.total / max(1, self.count))

    @property
    def std(self) -> F64:
        """Per channel."""
        return np.asarray(
            np.sqrt(np.maximum(self.squares / max(1, self.count) - self.mean**2, 0.0))
        )

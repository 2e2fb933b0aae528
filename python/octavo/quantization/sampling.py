# SPDX-License-Identifier: Apache-2.0
"""Batches into samples, and a fair draw of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import OctavoError
from octavo.quantization.runner import GraphRunner

__all__ = ["KEPT_BYTES", "Cutter", "Reservoir"]

Array = NDArray[Any]
Arrays = dict[str, Array]
#: Kept samples for the optimization of weights take at most this.
KEPT_BYTES = 96 << 20
#: Several small samples run at once, as long as all their tensors together take less.
_CHUNK_BYTES, _CHUNK_SAMPLES = 32 << 20, 64


class Reservoir:
    """An unbiased draw of `capacity` out of a stream of unknown length (Vitter's algorithm R)."""

    def __init__(self, capacity: int, seed: int) -> None:
        self._capacity = capacity
        self._rng = np.random.default_rng(seed)
        self._kept: dict[int, tuple[int, Arrays]] = {}
        self._seen = 0

    def offer(self, arrays: Mapping[str, Array]) -> None:
        """The next of the stream; copied if it is kept."""
        if self._seen == 0:
            size = max(1, sum(array.nbytes for array in arrays.values()))
            self._capacity = min(self._capacity, max(1, KEPT_BYTES // size))
        slot = self._seen
        if slot >= self._capacity:
            slot = int(self._rng.integers(0, self._seen + 1))
        if slot < self._capacity:
            self._kept[slot] = (self._seen, {name: a.copy() for name, a in arrays.items()})
        self._seen += 1

    def kept(self) -> list[Arrays]:
        """What was drawn, in the order of the stream."""
        return [arrays for _, arrays in sorted(self._kept.values(), key=lambda entry: entry[0])]


class Cutter:
    """Cuts batches into samples along the first axis of all inputs.

    A fixed first dimension is the size of a sample. Along a symbolic one a sample is a slice, if
    the network gives the same results for two slices together as one by one; otherwise (the axis is
    time, not the batch) a batch as it came is a sample. Small samples whose tensors also keep them
    apart run several at once, which changes no number.
    """

    def __init__(self, runner: GraphRunner, values: Collection[str]) -> None:
        graph = runner.graph
        self._runner = runner
        self._values = [name for name in values if graph.values[name].data is None]
        self._decided = False
        self._whole = False
        self.chunk = 1
        self._units = {
            name: 1 if (graph.dynamic.get(name) or (None,))[0] else (value.shape or (1,))[0]
            for name, value in ((name, graph.values[name]) for name in graph.inputs)
        }

    def _count(self, arrays: Arrays) -> int:
        """Samples in a batch; 1 where it cannot be cut."""
        counts = set()
        for name, unit in self._units.items():
            if arrays[name].ndim == 0 or arrays[name].shape[0] % unit:
                return 1
            counts.add(arrays[name].shape[0] // unit)
        return counts.pop() if len(counts) == 1 else 1

    def part(self, arrays: Arrays, start: int, stop: int) -> Arrays:
        """Samples start to stop of a batch."""
        return {
            name: arrays[name][start * unit : stop * unit] for name, unit in self._units.items()
        }

    def cut(self, arrays: Arrays) -> int:
        """How many samples a batch holds; the first batch of several decides how it is cut."""
        count = self._count(arrays)
        if count == 1:
            return 1
        if not self._decided:
            self._decide(arrays)
        return 1 if self._whole else count

    def _run(self, arrays: Arrays) -> tuple[Arrays, Arrays]:
        outputs = self._runner.run(arrays)
        return outputs, {name: self._runner.read(name) for name in self._values}

    def _decide(self, arrays: Arrays) -> None:
        self._decided = True
        dynamic = any(symbols[0] for symbols in self._runner.graph.dynamic.values() if symbols)
        first = self._run(self.part(arrays, 0, 1))
        arena = self._runner.arena_bytes
        second = self._run(self.part(arrays, 1, 2))
        try:
            both = self._run(self.part(arrays, 0, 2))
        except OctavoError:
            self._whole = dynamic
            return
        alike = [
            all(_is_pair(a[name], b[name], ab[name]) for name in ab)
            for a, b, ab in zip(first, second, both, strict=True)
        ]
        self._whole = dynamic and not alike[0]
        if all(alike):
            self.chunk = int(np.clip(_CHUNK_BYTES // max(1, arena), 1, _CHUNK_SAMPLES))


def _is_pair(first: Array, second: Array, both: Array) -> bool:
    """Is `both` the two others behind each other, but for rounding?"""
    if first.ndim == 0 or both.shape != (2 * first.shape[0], *first.shape[1:]):
        return False
    expected = np.concatenate([first, second])
    if expected.size == 0 or expected.dtype.kind not in "f":
        return bool(np.array_equal(both, expected))
    return bool(np.allclose(both, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max()))

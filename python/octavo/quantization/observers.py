# SPDX-License-Identifier: Apache-2.0
"""Streaming statistics of activations: constant memory, one pass, any number of samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import QuantizationError

__all__ = ["Histogram"]

Array = NDArray[Any]
_HALF = 4096  # bins on each side of zero
_MIN_RANGE = 2.0**-113  # a bin's inverse width, 4096 / R, is still a float32 number


class Histogram:
    """Counts over [-R, R) in 8192 equal bins, and the exact minimum and maximum.

    R is a power of two. A value beyond it doubles R, and neighbouring bins are added up, which is
    exact: the result does not depend on how the data was cut into batches.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.low = np.inf
        self.high = -np.inf
        self.samples = 0
        self._range = 0.0
        self._counts = np.zeros(2 * _HALF, np.int64)

    def add(self, data: Array) -> None:
        """Takes in a batch (float32, any shape). Raises QuantizationError on NaN or infinity."""
        flat = np.asarray(data, np.float32).reshape(-1)
        if flat.size == 0:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise QuantizationError(
                f"tensor '{self.name}': calibration produced NaN or infinity; "
                "check the inputs' scaling and the float model"
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.samples += flat.size
        self._grow(max(abs(low), abs(high)))
        if self._range > 0.0:
            index = np.floor(flat * np.float32(_HALF / self._range)).astype(np.int64) + _HALF
            np.clip(index, 0, 2 * _HALF - 1, out=index)
            self._counts += np.bincount(index, minlength=2 * _HALF)

    def _grow(self, magnitude: float) -> None:
        if magnitude == 0.0 or magnitude < self._range:
            return
        if self._range == 0.0:
            self._range = max(2.0 ** math.frexp(magnitude)[1], _MIN_RANGE)
            return
        while magnitude >= self._range:
            merged = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts[:] = 0
            self._counts[_HALF // 2 : _HALF // 2 + _HALF] = merged
            self._range *= 2.0

    def bins(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(centres, counts) of the bins that hold anything."""
        width = self._range / _HALF
        filled = np.flatnonzero(self._counts)
        centres = np.asarray((filled - _HALF + 0.5) * width, np.float64)
        return centres, self._counts[filled]

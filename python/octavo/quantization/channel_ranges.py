# SPDX-License-Identifier: Apache-2.0
"""What calibration saw in each channel of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.quantization.observers import Statistics

__all__ = ["ChannelRanges", "channel_ranges"]

F64 = NDArray[np.float64]


@dataclass
class ChannelRanges:
    """Per channel of one tensor: extremes and E[x²]."""

    low: F64
    high: F64
    square: F64
    mean: F64

    @property
    def most(self) -> F64:
        """Largest magnitudes."""
        return np.maximum(np.maximum(self.high, -self.low), 0.0)

    @property
    def span(self) -> F64:
        """What a range that contains zero has to cover."""
        return np.maximum(self.high, 0.0) - np.minimum(self.low, 0.0)


def channel_ranges(statistics: Mapping[str, Statistics]) -> dict[str, ChannelRanges]:
    """Of every tensor whose channels were seen."""
    found = {}
    for name, entry in statistics.items():
        c = entry.channels
        if c is not None and c.positions > 0:
            low, high = c.low.astype(np.float64), c.high.astype(np.float64)
            found[name] = ChannelRanges(low, high, c.mean_square, c.mean)
    return found

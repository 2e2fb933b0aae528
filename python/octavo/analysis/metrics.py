# SPDX-License-Identifier: Apache-2.0
"""What is measured at a network's outputs: pure functions of arrays, which any process can run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["noise_ratio", "ratio_db"]

Array = NDArray[Any]


def noise_ratio(got: Array, expected: Array) -> float:
    """sum (got - expected)^2 / sum expected^2 in float64; inf for NaN and for noise on silence."""
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    difference = a - b
    noise, signal = float(np.dot(difference, difference)), float(np.dot(b, b))
    if noise == 0.0:
        return 0.0
    ratio = noise / signal if signal > 0.0 else math.inf
    return ratio if math.isfinite(ratio) else math.inf


def ratio_db(ratio: float) -> float:
    """A noise ratio as an SQNR in dB: inf for none."""
    if ratio == 0.0:
        return math.inf
    return -math.inf if math.isinf(ratio) else -10.0 * math.log10(ratio)

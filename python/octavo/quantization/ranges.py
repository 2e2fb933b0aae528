# SPDX-License-Identifier: Apache-2.0
"""From statistics to scale and zero point: min-max, and the range of least squared error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError
from octavo.ir import Affine
from octavo.quantization.observers import Histogram

__all__ = ["METHODS", "activation_range", "affine_from_range", "weight_scales"]

Array = NDArray[Any]
METHODS = ("mse", "minmax")
_TINY = float(np.finfo(np.float32).tiny)
_ACTIVATION_FACTORS = np.linspace(0.3, 1.0, 71)
_WEIGHT_FACTORS = np.linspace(0.6, 1.0, 41)


def affine_from_range(low: float, high: float) -> Affine:
    """u8 parameters covering [low, high] extended to contain 0, so that 0 is exact (padding, ReLU).

    scale = (high - low) / 255, zero point = rne(-low / scale).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / 255.0, _TINY))
    if high == low:
        return Affine.per_tensor(1.0, 0)
    zero_point = int(np.clip(np.rint(-low / float(scale)), 0, 255))
    return Affine.per_tensor(float(scale), zero_point)


def _squared_error(
    centres: NDArray[np.float64], counts: NDArray[np.int64], low: float, high: float
) -> float:
    """Sum of squared differences between the histogram and its 8-bit image."""
    affine = affine_from_range(low, high)
    scale, zero_point = float(affine.scale), int(affine.zero_point)
    q = np.clip(np.rint(centres / scale) + zero_point, 0, 255)
    return float(np.dot(((q - zero_point) * scale - centres) ** 2, counts))


def activation_range(histograms: Sequence[Histogram], method: str) -> tuple[float, float]:
    """(low, high) that serves all the given tensors (one, or a group that shares parameters).

    "minmax" covers everything seen; "mse" searches both ends for the least squared error over the
    joint histogram (rounding error against clipping error).
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"ranges='{method}': choose one of {', '.join(METHODS)}")
    low = min(0.0, *(h.low for h in histograms))
    high = max(0.0, *(h.high for h in histograms))
    if method == "minmax" or low == high:
        return low, high
    parts = [h.bins() for h in histograms]
    centres = np.concatenate([part[0] for part in parts])
    counts = np.concatenate([part[1] for part in parts])
    best = (_squared_error(centres, counts, low, high), low, high)
    for _ in range(2):  # coordinate descent: the ends hardly interact
        if high > 0.0:
            top = max(h.high for h in histograms)
            best = min(
                best,
                *(
                    (_squared_error(centres, counts, best[1], f * top), best[1], f * top)
                    for f in _ACTIVATION_FACTORS
                ),
            )
        if low < 0.0:
            bottom = min(h.low for h in histograms)
            best = min(
                best,
                *(
                    (_squared_error(centres, counts, f * bottom, best[2]), f * bottom, best[2])
                    for f in _ACTIVATION_FACTORS
                ),
            )
    return best[1], best[2]


def weight_scales(weights: Array, method: str) -> NDArray[np.float32]:
    """Symmetric per-channel scales for weights [channels, ...] in [-127, 127].

    "minmax": max|w| / 127; "mse": the clipping of that range with the least squared error. A
    channel of zeros gets the scale 2^-7, which any bias can be expressed in.
    """
    flat = np.asarray(weights, np.float32).reshape(weights.shape[0], -1)
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

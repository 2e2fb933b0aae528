# SPDX-License-Identifier: Apache-2.0
"""Rounds weights so that the layer's output changes least, not each weight.

The squared error of an output is (w - q) H (w - q)ᵀ with H the inputs' covariance: the objective
of AdaRound (Nagel et al., Up or Down? Adaptive Rounding, 2020, eq. 13). It is solved column by
column, each column's rounding error spread over the columns that follow as the inverse of H says
(Frantar et al., GPTQ, 2022): one pass of linear algebra, no gradient descent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["adaptive_round", "nearest_round"]

Array = NDArray[Any]
F64 = NDArray[np.float64]
_DAMPING = 0.05  # of the mean variance: directions that the samples do not show
_BLOCK = 64


def nearest_round(weights: Array, scales: Array) -> NDArray[np.int8]:
    """Weights [O, ...] over scales [O], to the nearest integer in [-127, 127]."""
    column = np.asarray(scales).reshape(-1, *(1,) * (weights.ndim - 1))
    return np.asarray(np.clip(np.rint(weights / column), -127, 127), np.int8)


def adaptive_round(weights: F64, scales: F64, rows: Array) -> NDArray[np.int8]:
    """Weights [G, O, K] over scales [G, O] to integers in [-127, 127], for inputs `rows` [G, R, K]
    in real units (or any multiple)."""
    x = rows.astype(np.float32)
    x -= x.mean(axis=1, keepdims=True)
    h = (x.transpose(0, 2, 1) @ x).astype(np.float64) / max(1, x.shape[1])
    diagonal = np.einsum("gkk->gk", h)
    spread = diagonal.mean(axis=1, keepdims=True)
    diagonal += np.where(spread > 0.0, _DAMPING * spread, 1.0)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    h = np.take_along_axis(h, order[:, :, None], 1)
    h = np.take_along_axis(h, order[:, None, :], 2)
    place = np.broadcast_to(order[:, None, :], weights.shape)
    w = np.take_along_axis(weights / scales[:, :, None], place, 2)
    upper = np.linalg.cholesky(np.linalg.inv(h)).transpose(0, 2, 1)
    q = np.empty_like(w)
    k = w.shape[2]
    for start in range(0, k, _BLOCK):
        stop = min(start + _BLOCK, k)
        errors = np.empty((*w.shape[:2], stop - start))
        for at in range(start, stop):
            q[:, :, at] = np.clip(np.rint(w[:, :, at]), -127, 127)
            error = (w[:, :, at] - q[:, :, at]) / upper[:, None, at, at]
            errors[:, :, at - start] = error
            w[:, :, at + 1 : stop] -= error[:, :, None] * upper[:, None, at, at + 1 : stop]
        w[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    found = np.empty_like(q)
    np.put_along_axis(found, place, q, 2)
    return np.asarray(found, np.int8)

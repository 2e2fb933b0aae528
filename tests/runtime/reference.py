# SPDX-License-Identifier: Apache-2.0
"""The norm of docs/numerics.md in plain NumPy, for single steps. Slow, short and independent."""

from __future__ import annotations

import numpy as np


def requantize(acc, multiplier, zero_point, qmin=0, qmax=255):
    scaled = np.rint(acc.astype(np.float32) * np.asarray(multiplier, np.float32))
    low, high = np.float32(qmin - zero_point), np.float32(qmax - zero_point)
    return (np.clip(scaled, low, high) + zero_point).astype(np.uint8)


def taps(x, w, value):
    """(i, j, strided view) of every tap of the padded image; w are the first ten ints."""
    kh, kw, sh, sw, dh, dw, top, left, bottom, right = w[:10]
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)
    height = (padded.shape[1] - dh * (kh - 1) - 1) // sh + 1
    width = (padded.shape[2] - dw * (kw - 1) - 1) // sw + 1
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
            cols = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
            yield i, j, padded[:, rows, cols]


def conv_acc(x, zx, weights, zw, bias, w, groups):
    """int64 accumulators [N, OH, OW, O]; zw per output channel."""
    centred = weights.astype(np.int64) - np.asarray(zw).reshape(-1, 1, 1, 1)
    out = weights.shape[0]
    per_in, per_out = weights.shape[3], out // groups
    acc = 0
    for i, j, view in taps(x.astype(np.int64) - zx, w, 0):
        parts = [
            view[..., g * per_in : (g + 1) * per_in]
            @ centred[g * per_out : (g + 1) * per_out, i, j].T
            for g in range(groups)
        ]
        acc = acc + np.concatenate(parts, axis=-1)
    return acc + bias.astype(np.int64)


def add(a, za, ka, b, zb, kb, zy, qmin, qmax):
    t = (a.astype(np.int64) - za).astype(np.float32) * np.float32(ka)
    u = (b.astype(np.int64) - zb).astype(np.float32) * np.float32(kb)
    return requantize(t + u, 1.0, zy, qmin, qmax)


def mul(a, za, b, zb, m, zy, qmin, qmax):
    product = (a.astype(np.int64) - za) * (b.astype(np.int64) - zb)
    return requantize(product, m, zy, qmin, qmax)

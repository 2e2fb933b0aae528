# SPDX-License-Identifier: Apache-2.0
"""The float32 norm of convolutions, linear layers, matrix products and softmax, in NumPy.

Every output of a product is one chain of fused multiply-adds in order of k, from the bias on, then
a clamp (docs/numerics.md). Exact but slow, some 50 NumPy operations per step of k: what kernels are
tested against. `float_ref` of the operators is the reference for people.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["clamp", "dot", "fma", "softmax"]

F32 = NDArray[np.float32]
Array = NDArray[Any]
#: Any NaN that a chain gives becomes this one, since instruction sets differ in which bits survive.
NAN = np.array(0x7FC00000, np.uint32).view(np.float32)[()]


def fma(a: Array | float, b: Array | float, c: Array | float) -> F32:
    """a · b + c, rounded once to float32; operands float32, broadcast against each other.

    The float64 product of two float32 is exact. Their float64 sum with c is rounded to odd (two-sum
    gives the sign of its error), after which rounding to float32 is as if done once: Boldo and
    Melquiond, "Emulation of a FMA and correctly rounded sums", 2008.
    """
    with np.errstate(all="ignore"):
        a, b, c = (np.asarray(v, np.float32).astype(np.float64) for v in (a, b, c))
        product, addend = np.broadcast_arrays(a * b, c)
        total = np.atleast_1d(product + addend)
        part = total - product
        error = (product - (total - part)) + (addend - part)
        step = (error > 0).astype(np.int64) - (error < 0)  # both False for NaN
        bits = total.view(np.int64)
        odd = np.where(bits & 1, bits, bits + np.where(total < 0, -step, step))
        y: F32 = odd.view(np.float64).astype(np.float32).reshape(product.shape)
    return y


def clamp(y: Array, lo: float, hi: float) -> F32:
    """max(lo, min(hi, y)) in float32: a zero keeps its sign, NaN stays NaN and becomes `NAN`."""
    y = np.where(y < np.float32(lo), np.float32(lo), np.asarray(y, np.float32))
    y = np.where(y > np.float32(hi), np.float32(hi), y)
    return np.where(np.isnan(y), NAN, y).astype(np.float32)


def dot(x: Array, w: Array, bias: Array, lo: float = -np.inf, hi: float = np.inf) -> F32:
    """x [..., K], w [..., K], both float32 and broadcast against each other without their last
    dimension, bias likewise: the chain bias, fma(x[0], w[0], ·), fma(x[1], w[1], ·), …, clamped.
    """
    shape = np.broadcast_shapes(x.shape[:-1], w.shape[:-1], bias.shape)
    y: F32 = np.broadcast_to(np.asarray(bias, np.float32), shape)
    for k in range(x.shape[-1]):
        y = fma(x[..., k], w[..., k], y)
    return clamp(y, lo, hi)


def _exp(d: Array) -> F32:
    """e^d for float32 d in [-87, 0], 0 below and for NaN: see csrc/kernels/softmax_f32."""
    shift = np.float32(12582912)  # 1.5 · 2^23
    t = fma(d, np.float32(1.44269504), shift)
    n = t - shift
    r = fma(n, -np.float32(float.fromhex("0x1.62e4p-1")), d)
    r = fma(n, -np.float32(float.fromhex("0x1.7f7d1cp-20")), r)
    p: F32 = np.full_like(r, np.float32(1) / np.float32(5040))
    for divisor in (720, 120, 24, 6, 2, 1, 1):
        p = fma(p, r, np.float32(1) / np.float32(divisor))
    e = (p.view(np.uint32) + (t.view(np.uint32) << np.uint32(23))).view(np.float32)
    result: F32 = np.where(d >= np.float32(-87), e, np.float32(0)).astype(np.float32)
    return result


def softmax(x: Array) -> F32:
    """exp(x - max) / sum over the last axis of float32 x; a row with a NaN is `NAN`.

    Eight float64 sums, element i in sum i mod 8, in order, joined as
    ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)); everything else in float32.
    """
    with np.errstate(all="ignore"):
        largest = np.max(np.where(np.isnan(x), -np.inf, x), axis=-1, keepdims=True)
        d = x - largest.astype(np.float32)
        e = _exp(d)
        s = np.zeros((*x.shape[:-1], 8))
        for i in range(x.shape[-1]):
            s[..., i % 8] += e[..., i]
        s = s[..., :4] + s[..., 4:]
        total = ((s[..., 0] + s[..., 2]) + (s[..., 1] + s[..., 3])).astype(np.float32)
        y = e / total[..., None]
    result: F32 = np.where(np.isnan(d).any(-1, keepdims=True), NAN, y).astype(np.float32)
    return result

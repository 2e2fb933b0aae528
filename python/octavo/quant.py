# SPDX-License-Identifier: Apache-2.0
"""The normative arithmetic, executable in NumPy. Every kernel equals it with tolerance 0.

Formulas and their sources stand in docs/numerics.md. `rne` is round half to even. Each float32
operation below rounds once, in the order written; nothing is contracted into an FMA.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Array = NDArray[Any]

#: Representable range of the 8-bit types by dtype name.
QRANGE: dict[str, tuple[int, int]] = {"u8": (0, 255), "s8": (-128, 127)}
#: The same with s16, which activations may have, always with zero point 0.
STORED_RANGE: dict[str, tuple[int, int]] = {**QRANGE, "s16": (-32768, 32767)}
_NUMPY_TYPE = {"u8": np.uint8, "s8": np.int8, "s16": np.int16}


def quantize(x: Array, scale: Array | float, zero_point: Array | int, dtype: str) -> Array:
    """q = clamp(rne(x / scale) + zero_point): ONNX QuantizeLinear. NaN becomes the zero point.

    `x` float32 of any shape; `scale` (float32) and `zero_point` scalar or broadcastable; returns
    uint8, int8 or int16 of the same shape.
    """
    low, high = STORED_RANGE[dtype]
    zp = np.asarray(zero_point, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        r: Array = np.rint(np.asarray(x, np.float32) / np.asarray(scale, np.float32))
    r = np.clip(np.where(np.isnan(r), np.float32(0), r), low - zp, high - zp) + zp
    return r.astype(_NUMPY_TYPE[dtype])


def dequantize(q: Array, scale: Array | float, zero_point: Array | int) -> F32:
    """x = float32(q - zero_point) * scale: ONNX DequantizeLinear, float32 of the shape of `q`."""
    diff = np.asarray(q, np.int64) - np.asarray(zero_point, np.int64)
    return diff.astype(np.float32) * np.asarray(scale, np.float32)


def dynamic_parameters(low: Array, high: Array) -> tuple[F32, NDArray[np.int64]]:
    """(scale, zero point) of u8 numbers over [low, high], float32 with low <= 0 <= high: ONNX
    DynamicQuantizeLinear. scale = (high - low) / 255, zero point = clamp(rne(0 - low / scale)).

    Ends beyond 2^100 count as that, a scale below the normal numbers as 1: no product of it is NaN.
    """
    largest = np.float32(2.0**100)
    low = np.maximum(np.asarray(low, np.float32), -largest)
    high = np.minimum(np.asarray(high, np.float32), largest)
    scale = (high - low) / np.float32(255)
    scale = np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)
    zero_point = np.clip(np.rint(np.float32(0) - low / scale), 0, 255).astype(np.int64)
    return np.asarray(scale, np.float32), zero_point


def multiplier(in_scale: float, weight_scale: Array | float, out_scale: float) -> F32:
    """m[c] = float32(float32(s_a * s_w[c]) / s_y), the factor of `requantize`."""
    product = np.float32(in_scale) * np.asarray(weight_scale, np.float32)
    return np.asarray(product / np.float32(out_scale), np.float32)


def requantize(acc: Array, m: Array | float, zero_point: int, qmin: int, qmax: int) -> Array:
    """y = clamp(rne(float32(acc) * m), qmin - z, qmax - z) + z: ONNX QLinearConv's last step.

    `acc` int32-valued, `m` broadcastable to it. Returns int64; the caller casts to its 8-bit type.
    """
    with np.errstate(over="ignore"):
        scaled = np.asarray(acc).astype(np.float32) * np.asarray(m, np.float32)
    clipped = np.clip(np.rint(scaled), np.float32(qmin - zero_point), np.float32(qmax - zero_point))
    return np.asarray(clipped.astype(np.int64) + zero_point)


def wide_multiplier(
    in_scale: float, weight_scale: Array | float, out_scale: float
) -> NDArray[np.float64]:
    """m[c] = s_a * s_w[c] / s_y in float64, where the product of two float32 is exact."""
    product = np.float64(np.float32(in_scale)) * np.asarray(weight_scale, np.float64)
    return np.asarray(product / np.float64(np.float32(out_scale)))


def requantize_wide(acc: Array, m: Array, zero_point: int, qmin: int, qmax: int) -> Array:
    """y = clamp(rne(float64(acc) * m), qmin - z, qmax - z) + z; |acc| < 2^53. Returns int64."""
    scaled = np.asarray(acc, np.float64) * m
    clipped = np.clip(np.rint(scaled), qmin - zero_point, qmax - zero_point)
    return np.asarray(clipped.astype(np.int64) + zero_point)


def add(a: Array, b: Array, ka: float, kb: float, zero_point: int, qmin: int, qmax: int) -> Array:
    """y = clamp(rne(float32(a) * ka + float32(b) * kb)) + z; a, b without their zero points.

    ka = float32(s_a / s_y), kb = float32(s_b / s_y). Returns int64.
    """
    t = np.asarray(a).astype(np.float32) * np.float32(ka)
    u = np.asarray(b).astype(np.float32) * np.float32(kb)
    low, high = np.float32(qmin - zero_point), np.float32(qmax - zero_point)
    return np.asarray(np.clip(np.rint(t + u), low, high).astype(np.int64) + zero_point)


def clamp_bounds(
    clamp: tuple[float, float] | None, scale: float, zero_point: int, dtype: str
) -> tuple[int, int]:
    """(qmin, qmax) of a fused activation clamp(lo, hi): both bounds quantized like any value.

    Rounding is monotone, so clamp after requantize equals requantize after clamp, exactly.
    """
    if clamp is None:
        return STORED_RANGE[dtype]
    q = quantize(np.asarray(clamp, np.float32), scale, zero_point, dtype)
    return int(q[0]), int(q[1])


def unary_table(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    in_scale: float,
    in_zero_point: int,
    in_dtype: str,
    out_scale: float,
    out_zero_point: int,
    out_dtype: str,
) -> Array:
    """256-entry table of a unary function, indexed by `q - qrange.min`, in the output's 8-bit type.

    x = dequantize(q) in float32; f(x) in float64, rounded once to float32; quantize(f(x)).
    """
    low, high = QRANGE[in_dtype]
    x = dequantize(np.arange(low, high + 1), in_scale, in_zero_point)
    with np.errstate(over="ignore"):
        y = np.asarray(function(x.astype(np.float64)), np.float64).astype(np.float32)
    return quantize(y, out_scale, out_zero_point, out_dtype)


def softmax_table(in_scale: float) -> NDArray[np.uint32]:
    """table[d] = rne(2^23 * exp(-s_a * d)), d = max - q in 0..255: the integer exponentials."""
    d = np.arange(256, dtype=np.float64)
    return np.asarray(np.rint(2.0**23 * np.exp(-float(np.float32(in_scale)) * d)), np.uint32)


def softmax(
    q: Array, in_scale: float, out_scale: float, zero_point: int, qmin: int, qmax: int
) -> Array:
    """y = clamp(rne((float32(e) / float32(sum e)) / s_y)) + z over the last axis; integer sums."""
    table = softmax_table(in_scale)
    wide = np.asarray(q, np.int64)
    e = table[wide.max(axis=-1, keepdims=True) - wide].astype(np.int64)
    total = e.sum(axis=-1, keepdims=True).astype(np.float32)
    y = (e.astype(np.float32) / total) / np.float32(out_scale)
    low, high = np.float32(qmin - zero_point), np.float32(qmax - zero_point)
    return np.asarray(np.clip(np.rint(y), low, high).astype(np.int64) + zero_point)


def layer_norm_constants(
    epsilon: float, in_scale: float, out_scale: float, scale: Array, bias: Array
) -> tuple[float, F32, F32]:
    """(epsilon / s_x^2, scale / s_y, bias / s_y): what `layer_norm` takes, in float32 each.

    The first is computed in float64 and rounded once, and never below the smallest normal number.
    """
    wide = float(np.float32(in_scale))
    factor = np.float32(max(epsilon / (wide * wide), float(np.finfo(np.float32).tiny)))
    gain = np.asarray(scale, np.float32) / np.float32(out_scale)
    return float(factor), gain, np.asarray(bias, np.float32) / np.float32(out_scale)


def layer_norm(
    centred: Array, epsilon: float, gain: F32, shift: F32, zero_point: int, qmin: int, qmax: int
) -> Array:
    """Rows of q - z over the last axis (n elements) to 8 bits; `epsilon` in steps of x squared.

    S = sum of a row, Q = sum of its squares, V = n Q - S^2: exact integers.
    r = float32(1 / sqrt(float64(V) + float64(epsilon) * n^2)), y = clamp(rne(((n q - S) r) g + b)).
    """
    wide = np.asarray(centred, np.int64)
    n = wide.shape[-1]
    total = wide.sum(axis=-1, keepdims=True)
    spread = n * np.square(wide).sum(axis=-1, keepdims=True) - total * total
    floor = np.float64(np.float32(epsilon)) * np.float64(n * n)
    r = (1.0 / np.sqrt(spread.astype(np.float64) + floor)).astype(np.float32)
    with np.errstate(over="ignore"):
        y = (n * wide - total).astype(np.float32) * r * gain + shift
    low, high = np.float32(qmin - zero_point), np.float32(qmax - zero_point)
    return np.asarray(np.clip(np.rint(y), low, high).astype(np.int64) + zero_point)

# SPDX-License-Identifier: Apache-2.0
"""What convolution and linear layers share: constant weights [O, ...], bias [O], requantization."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from octavo import quant
from octavo.errors import UnsupportedError
from octavo.ir import DTYPES, Affine, Node, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Lowering
from octavo.ops.reasons import activation_reason

_INT32_MAX = 2**31 - 1


def integer_reason(inputs: Sequence[Value | None], outputs: Sequence[Value]) -> str | None:
    """None when `x, w, b? -> y` has an integer form."""
    x, w = inputs[0], inputs[1]
    reason = activation_reason([x, *outputs])
    if reason is not None or x is None or w is None:
        return reason or "weights are missing"
    if w.data is None:
        return f"weights '{w.name}' are not constant"
    if not w.is_8bit or not isinstance(w.quant, Affine):
        return f"weights '{w.name}' are {w.dtype}, not affine 8-bit"
    if w.quant.axis not in (None, 0):
        return f"weights '{w.name}' are quantized along axis {w.quant.axis}, not per output channel"
    bias = attrs.optional(inputs, 2)
    return bias_reason(x, w, bias) or _overflow_reason(x, w, bias)


def bias_reason(x: Value, w: Value, bias: Value | None) -> str | None:
    """None when a bias is an s32 constant at scale s_x * s_w, or there is none."""
    if bias is None:
        return None
    if bias.dtype != "s32" or bias.data is None:
        return f"bias '{bias.name}' is not a constant of type s32"
    if bias.quant is None:
        return None
    if np.any(bias.affine.zero_point != 0):
        return f"bias '{bias.name}' has a zero point other than 0"
    expected = np.float32(x.scale) * w.affine.scale
    # Writers compute the product in float32 or float64, so the last bits may differ; the norm uses
    # the multiplier's scales, and 1e-5 of a bias stays far below half an output step.
    if not np.allclose(bias.affine.scale, expected, rtol=1e-5, atol=0):
        return f"bias '{bias.name}' has a scale other than input scale x weight scale"
    return None


def _overflow_reason(x: Value, w: Value, bias: Value | None) -> str | None:
    """The accumulator's largest possible magnitude must fit int32."""
    low, high = quant.QRANGE[x.dtype]
    largest = max(high - x.zero_point, x.zero_point - low)
    centred = centre(w, np.asarray(w.data))
    bound = np.abs(centred).reshape(w.shape[0], -1).sum(axis=1) * largest
    if bias is not None:
        bound = bound + np.abs(np.asarray(bias.data, np.float64))
    if bound.max(initial=0) > _INT32_MAX:
        return f"a sum of up to {int(bound.max())} would overflow the int32 accumulator"
    return None


def centre(w: Value, stored: Array) -> Array:
    """Integer weights without their zero point, float64 so that BLAS sums them exactly."""
    zero_point = w.affine.zero_point.astype(np.float64)
    return stored.astype(np.float64) - zero_point.reshape(-1, *(1,) * (stored.ndim - 1))


def finish(node: Node, acc: Array, x: Value, w: Value, y: Value) -> Array:
    """Bias is in `acc` [..., O]; requantizes to `y`'s 8-bit type and clamps."""
    bounds = quant.clamp_bounds(attrs.clamp(node), y.scale, y.zero_point, y.dtype)
    m = quant.multiplier(x.scale, w.affine.scale.reshape(-1), y.scale)
    return quant.requantize(acc, m, y.zero_point, *bounds).astype(DTYPES[y.dtype])


def real(w: Value, stored: Array) -> Array:
    """Weights [O, ...] as real numbers: dequantized where they are 8-bit."""
    if w.quant is None:
        return stored
    ones = (1,) * (stored.ndim - 1)
    affine = w.affine
    return quant.dequantize(
        stored, affine.scale.reshape(-1, *ones), affine.zero_point.reshape(-1, *ones)
    )


def constants(node: Node, ctx: Lowering) -> tuple[list[Array], bool]:
    """(weights, bias, ...) of the plan step, and whether it is the integer one.

    Integer: weights, bias s32 [O], multiplier f32 [O], weight zero points s32 [O] unless all 0.
    Float outputs: weights, bias f32 [O]; behind 8-bit weights their scales f32 [O] and zero points.
    Raises UnsupportedError where weights or bias are not constant.
    """
    x, w = ctx.value(node.inputs[0]), ctx.value(node.inputs[1])
    bias = attrs.optional(node.inputs, 2)
    data = _constant(node, w)
    channels = data.shape[0]
    if not x.is_8bit or ctx.value(node.outputs[0]).dtype == "f32":
        zeros = np.zeros(channels, np.float32)
        found = [data, _constant(node, ctx.value(bias)) if bias else zeros]
        if w.is_8bit:
            found += [np.broadcast_to(w.affine.scale.reshape(-1), (channels,)), *_zero_points(w)]
        return [np.ascontiguousarray(item) for item in found], False
    shift = _constant(node, ctx.value(bias)) if bias else np.zeros(channels, np.int32)
    m = quant.multiplier(
        ctx.quant(node.inputs[0])[0], w.affine.scale.reshape(-1), ctx.quant(node.outputs[0])[0]
    )
    found = [data, shift, np.broadcast_to(m, (channels,)), *_zero_points(w)]
    return [np.ascontiguousarray(item) for item in found], True


def wide_constants(node: Node, ctx: Lowering) -> list[Array]:
    """Of a layer on s16: weights, bias s32 [O], weight scales f32 [O], zero points unless all 0."""
    w, bias = ctx.value(node.inputs[1]), attrs.optional(node.inputs, 2)
    data = _constant(node, w)
    channels = data.shape[0]
    shift = _constant(node, ctx.value(bias)) if bias else np.zeros(channels, np.int32)
    scale = np.broadcast_to(w.affine.scale.reshape(-1), (channels,))
    return [np.ascontiguousarray(item) for item in (data, shift, scale, *_zero_points(w))]


def _zero_points(w: Value) -> list[Array]:
    """The weights' zero points s32 [O], unless all are 0."""
    points = np.broadcast_to(w.affine.zero_point.reshape(-1), w.shape[:1]).astype(np.int32)
    return [points] if np.any(points != 0) else []


def _constant(node: Node, value: Value) -> Array:
    if value.data is None:
        raise UnsupportedError(
            f"{node.label()}: '{value.name}' is computed; only constants work here"
        )
    return value.data


def macs(weights: Value, output: Value) -> int:
    """One multiply-accumulate per output element and weight of its channel."""
    return output.size * math.prod(weights.shape[1:])

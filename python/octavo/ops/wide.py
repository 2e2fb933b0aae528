# SPDX-License-Identifier: Apache-2.0
"""Layers with 16-bit activations: what Conv and Linear share.

s16 values have no zero point; one of x and y may have 8 bits. Weights are 8-bit constants, the sum
of products is exact in 64 bits and requantized in float64 (docs/numerics.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from octavo import quant
from octavo.ir import DTYPES, Affine, Node, Value
from octavo.ops import attrs, weights
from octavo.ops.base import Array, Lowering
from octavo.ops.reasons import wide_reason

#: Exact in float64.
_LARGEST_SUM = 2**53


def is_wide(x: Value, y: Value) -> bool:
    """Is one of a layer's activations s16?"""
    return "s16" in (x.dtype, y.dtype)


def reason(inputs: Sequence[Value | None], outputs: Sequence[Value]) -> str | None:
    """None when `x, w, b? -> y` can be computed so, else why not."""
    x, w = inputs[0], inputs[1]
    if x is None or w is None:
        return "an operand is missing"
    found = wide_reason([x, *outputs])
    if found is not None:
        return found
    if w.data is None or not w.is_8bit or not isinstance(w.quant, Affine):
        return f"weights '{w.name}' are no 8-bit constant"
    if w.quant.axis not in (None, 0):
        return f"weights '{w.name}' are quantized along axis {w.quant.axis}, not per output channel"
    bias = attrs.optional(inputs, 2)
    found = weights.bias_reason(x, w, bias)
    if found is not None:
        return found
    sums = np.abs(weights.centre(w, w.data)).reshape(w.shape[0], -1).sum(axis=1) * 32768
    if bias is not None:
        sums = sums + np.abs(np.asarray(bias.data, np.float64))
    if sums.max(initial=0) >= _LARGEST_SUM:
        return "a sum of products could leave the integers that float64 holds"
    return None


def finish(node: Node, acc: Array, x: Value, w: Value, y: Value) -> Array:
    """Bias is in `acc` [..., O], exact; requantizes to `y`'s type and clamps."""
    bounds = quant.clamp_bounds(attrs.clamp(node), y.scale, y.zero_point, y.dtype)
    m = quant.wide_multiplier(x.scale, w.affine.scale.reshape(-1), y.scale)
    return quant.requantize_wide(acc, m, y.zero_point, *bounds).astype(DTYPES[y.dtype])


def lower(node: Node, ctx: Lowering, window: Sequence[int]) -> None:
    """The step `conv_s16` (with its window and groups) or `linear_s16`."""
    w, y = ctx.value(node.inputs[1]), ctx.value(node.outputs[0])
    ctx.emit(
        f"{node.op.lower()}_s16",
        [ctx.tensor(node.inputs[0])],
        [ctx.out(y.name)],
        ints=[*window, *ctx.bounds(y.name, attrs.clamp(node)), 0],
        consts=weights.wide_constants(node, ctx),
        macs=y.size * math.prod(w.shape[1:]),
    )

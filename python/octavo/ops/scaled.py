# SPDX-License-Identifier: Apache-2.0
"""Linear layers on 8-bit activations whose sums become real numbers instead of stored ones.

What stands between DequantizeLinear on both operands and something that computes in float32: sums
are exact, then scaled as those of a layer that quantizes on the fly (docs/numerics.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octavo.ir import Affine, Node, Value
from octavo.ops import attrs, dynamic, weights
from octavo.ops.base import Array, Lowering
from octavo.ops.reasons import activation_reason

#: Times the largest scale of weights still a finite float32.
_LARGEST_SCALE = 2.0**93


def is_scaled(x: Value, y: Value) -> bool:
    """From 8 bits to float32?"""
    return x.is_8bit and y.dtype == "f32"


def reason(inputs: Sequence[Value | None]) -> str | None:
    """None when `x 8-bit, w 8-bit, b? f32 -> y f32` can be computed so, else why not."""
    x, w = inputs[0], inputs[1]
    if x is None or w is None:
        return "an operand is missing"
    found = activation_reason([x])
    if found is None and not 0.0 < x.scale <= _LARGEST_SCALE:
        found = f"the scale of tensor '{x.name}' is beyond 2^93"
    return found or dynamic.sums_reason(w, attrs.optional(inputs, 2))


def int_ref(
    node: Node, args: Sequence[Array | None], inputs: Sequence[Value | None]
) -> tuple[Array, ...]:
    """float32(sum) * (s_x * s_w[c]) + b[c]."""
    xv, wv = attrs.required(node, inputs, 0), attrs.required(node, inputs, 1)
    x = attrs.required(node, args, 0).astype(np.float64) - xv.zero_point
    acc = x @ weights.centre(wv, attrs.required(node, args, 1)).T
    return (dynamic.finish(node, acc, np.float32(xv.scale), wv, attrs.optional(args, 2)),)


def lower(node: Node, ctx: Lowering) -> None:
    """The step `linear_s8_f32`."""
    w, y = ctx.value(node.inputs[1]), ctx.value(node.outputs[0])
    assert isinstance(w.quant, Affine)
    consts, _ = weights.constants(node, ctx)
    ctx.emit(
        "linear_s8_f32",
        [ctx.tensor(node.inputs[0])],
        [ctx.out(y.name)],
        floats=attrs.clamp_floats(node),
        consts=consts,
        macs=weights.macs(w, y),
    )

# SPDX-License-Identifier: Apache-2.0
"""Layers that quantize their float32 activations on the fly: what Conv and Linear share.

x is quantized to u8 by its own range, whole (`precision` "dynamic") or each row by itself
("dynamic_row": a row of a matrix, an image of a convolution), multiplied in integers by constant
8-bit weights, and the sums are scaled to float32 again (docs/numerics.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from octavo import quant
from octavo.ir import Affine, Node, Shape, Value
from octavo.ops import attrs, weights
from octavo.ops.base import Array, Example, Lowering
from octavo.ops.example_graphs import f32, graph_of, weight_q8
from octavo.ops.precision import DYNAMIC, requested

_INT32_MAX = 2**31 - 1
#: With input scales below 2^94 the factor of a sum stays finite, so nothing becomes NaN.
_LARGEST_SCALE = 2.0**24


def is_dynamic(node: Node) -> bool:
    """Does the node's attribute `precision` ask for quantization on the fly?"""
    return requested(node) in DYNAMIC


def reason(inputs: Sequence[Value | None], outputs: Sequence[Value]) -> str | None:
    """None when `x, w, b? -> y` can be computed so, else why not."""
    x, w = inputs[0], inputs[1]
    if x is None or w is None:
        return "an operand is missing"
    for value in (x, *outputs):
        if value.dtype != "f32":
            return f"tensor '{value.name}' is {value.dtype}; only float32 is quantized on the fly"
    return sums_reason(w, attrs.optional(inputs, 2))


def sums_reason(w: Value, bias: Value | None) -> str | None:
    """None when sums over these weights can be scaled to float32, else why not."""
    if w.data is None or not w.is_8bit or not isinstance(w.quant, Affine):
        return f"weights '{w.name}' are no 8-bit constant"
    if w.quant.axis not in (None, 0):
        return f"weights '{w.name}' are quantized along axis {w.quant.axis}, not per output channel"
    if w.affine.scale.max(initial=0) > _LARGEST_SCALE:
        return f"a scale of weights '{w.name}' is beyond 2^24"
    if bias is not None and (bias.data is None or bias.dtype != "f32"):
        return f"bias '{bias.name}' is not a float32 constant"
    if bias is not None and not np.isfinite(np.asarray(bias.data)).all():
        return f"bias '{bias.name}' is not finite"
    centred = np.abs(weights.centre(w, w.data)).reshape(w.shape[0], -1)
    if centred.sum(axis=1).max(initial=0) * 255 > _INT32_MAX:
        return "a sum of products could overflow the int32 accumulator"
    return None


def quantized(node: Node, x: Array) -> tuple[Array, Array]:
    """(q - zero point in float64, scale) of the activations; the scale broadcasts against x."""
    axes: tuple[int, ...] = tuple(range(x.ndim))
    if requested(node) == "dynamic_row":
        axes = axes[1:] if node.op == "Conv" else axes[-1:]
    real = np.where(np.isnan(x), np.float32(0), x)
    low = np.minimum(real.min(axis=axes, keepdims=True, initial=0.0), np.float32(0))
    high = np.maximum(real.max(axis=axes, keepdims=True, initial=0.0), np.float32(0))
    scale, zero_point = quant.dynamic_parameters(low, high)
    q = quant.quantize(x, scale, zero_point, "u8")
    return q.astype(np.float64) - zero_point, scale


def finish(node: Node, acc: Array, scale: Array, w: Value, bias: Array | None) -> Array:
    """float32(acc) * (scale * s_w[c]) + bias[c], then the fused clamp. `acc` [..., O] is exact."""
    m = scale * w.affine.scale.reshape(-1)
    y = acc.astype(np.float32) * m
    y = y + (np.float32(0) if bias is None else bias)
    low, high = (np.float32(bound) for bound in attrs.clamp_floats(node))
    y = np.where(y < low, low, y)
    return np.asarray(np.where(y > high, high, y), np.float32)


def lower(node: Node, ctx: Lowering, window: Sequence[int]) -> None:
    """The step `conv_dynamic_s8` (with its window and groups) or `linear_dynamic_s8`."""
    w, y = ctx.value(node.inputs[1]), ctx.value(node.outputs[0])
    consts, _ = weights.constants(node, ctx)
    ctx.emit(
        f"{node.op.lower()}_dynamic_s8",
        [ctx.tensor(node.inputs[0])],
        [ctx.out(y.name)],
        ints=[*window, int(requested(node) == "dynamic_row")],
        floats=attrs.clamp_floats(node),
        consts=consts,
        macs=y.size * math.prod(w.shape[1:]),
    )


def example(
    op: str,
    label: str,
    rng: np.random.Generator,
    x: Array,
    w_shape: Shape,
    bias: Value | None,
    precision: str,
    **attributes: object,
) -> Example:
    """A layer on given inputs. Its distance from real numbers: half a step of x per weight."""
    w = weight_q8(rng, w_shape, "s8" if bias is not None else "u8", zero_points=bias is None)
    attributes["precision"] = precision
    operands = [f32("x", *x.shape), w, bias]
    graph = graph_of(op, operands, f32("y"), attributes)
    reach = np.abs(weights.real(w, np.asarray(w.data))).reshape(w_shape[0], -1).sum(axis=1).max()
    bound = float(reach) * float(quantized(graph.nodes[0], x)[1].max()) * 0.51
    return Example(f"{label}_{precision}", graph, {"x": x}, bound)

# SPDX-License-Identifier: Apache-2.0
"""Conv: 2-D convolution of any kernel, stride, dilation, padding and group count, NHWC x OHWI."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Affine, Node, Shape, Value, constant
from octavo.ops import attrs, dynamic, weights, wide
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import bias_s32, const_f32, example, f32, q8, weight_q8
from octavo.ops.window import Window, convolve


def _groups(node: Node) -> int:
    return int(node.attrs.get("groups", 1))


@register
class Conv(Op):
    """x [N,H,W,C], w [O,kh,kw,C/groups], b [O]? -> y [N,OH,OW,O]."""

    name = "Conv"
    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        x = attrs.required(node, inputs, 0).shape
        w = attrs.required(node, inputs, 1).shape
        groups = _groups(node)
        if len(x) != 4 or len(w) != 4:
            raise ShapeError(f"{node.label()}: input {x} and weights {w} must have rank 4")
        if groups < 1 or x[3] != w[3] * groups or w[0] % groups:
            raise ShapeError(
                f"{node.label()}: {x[3]} input channels and {groups} groups do not fit weights {w}"
            )
        bias = attrs.optional(inputs, 2)
        if bias is not None and bias.shape != (w[0],):
            raise ShapeError(f"{node.label()}: bias {bias.shape} of {w[0]} output channels")
        height, width = Window.of(node, w[1:3]).output(node, x[1], x[2])
        return ((x[0], height, width, w[0]),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x, w = attrs.required(node, args, 0), attrs.required(node, args, 1)
        y = convolve(x, w, Window.of(node, w.shape[1:3]), _groups(node))
        bias = attrs.optional(args, 2)
        return (attrs.apply_clamp(node, y if bias is None else y + bias),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        if dynamic.is_dynamic(node):
            return dynamic.reason(inputs, outputs)
        if wide.is_wide(attrs.required(node, inputs, 0), outputs[0]):
            return wide.reason(inputs, outputs)
        return weights.integer_reason(inputs, outputs)

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        xv, wv = attrs.required(node, inputs, 0), attrs.required(node, inputs, 1)
        if dynamic.is_dynamic(node):
            x, scale = dynamic.quantized(node, attrs.required(node, args, 0))
            w = weights.centre(wv, attrs.required(node, args, 1))
            acc = convolve(x, w, Window.of(node, w.shape[1:3]), _groups(node))
            return (dynamic.finish(node, acc, scale, wv, attrs.optional(args, 2)),)
        if not xv.is_quantized:  # 8-bit weights only
            x, w = attrs.required(node, args, 0), weights.real(wv, attrs.required(node, args, 1))
            return self.float_ref(node, [x, w, attrs.optional(args, 2)])
        x = attrs.required(node, args, 0).astype(np.float64) - xv.zero_point
        w = weights.centre(wv, attrs.required(node, args, 1))
        acc = convolve(x, w, Window.of(node, w.shape[1:3]), _groups(node))
        bias = attrs.optional(args, 2)
        form = wide if wide.is_wide(xv, outputs[0]) else weights
        return (form.finish(node, acc if bias is None else acc + bias, xv, wv, outputs[0]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        w, y = ctx.value(node.inputs[1]), ctx.value(node.outputs[0])
        ints = [*Window.of(node, w.shape[1:3]).ints(), _groups(node)]
        if dynamic.is_dynamic(node):
            dynamic.lower(node, ctx, ints)
            return
        if wide.is_wide(ctx.value(node.inputs[0]), ctx.value(node.outputs[0])):
            wide.lower(node, ctx, ints)
            return
        consts, integer = weights.constants(node, ctx)
        if integer:
            ints += [*ctx.bounds(y.name, attrs.clamp(node)), 0]
        ctx.emit(
            "conv_s8" if integer else "conv_f32",
            [ctx.tensor(node.inputs[0])],
            [ctx.out(y.name)],
            ints=ints,
            floats=() if integer else attrs.clamp_floats(node),
            consts=consts,
            macs=weights.macs(w, y),
        )

    def macs(self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> int:
        return weights.macs(attrs.required(node, inputs, 1), outputs[0])

    def padding(self, node: Node) -> tuple[int, int, int, int]:
        if dynamic.is_dynamic(node):
            return 0, 0, 0, 0  # it pads the bytes it makes
        top, left, bottom, right = attrs.ints(node, "pads", (0, 0, 0, 0))
        return top, left, bottom, right

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        yield from _float_examples(rng)
        yield from _integer_examples(rng)
        yield from _weights_examples(rng)
        yield from _dynamic_examples(rng)
        yield from _wide_examples(rng)


#: label: (input [N,H,W,C], weights [O,kh,kw,C/groups], attributes)
_CASES: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
    "1x1": ((1, 5, 6, 16), (8, 1, 1, 16), {}),
    "3x3": ((2, 6, 7, 5), (9, 3, 3, 5), {"pads": (1, 1, 1, 1)}),
    "3x3_stride2_asymmetric": (
        (1, 9, 8, 3),
        (17, 3, 3, 3),
        {"strides": (2, 2), "pads": (0, 0, 1, 1)},
    ),
    "5x3_strides_dilations": (
        (1, 11, 9, 4),
        (6, 5, 3, 4),
        {"strides": (1, 2), "dilations": (2, 3), "pads": (3, 2, 4, 1)},
    ),
    "groups": ((1, 5, 5, 12), (6, 3, 3, 4), {"groups": 3, "pads": (1, 1, 1, 1)}),
    "depthwise": ((1, 7, 8, 19), (19, 3, 3, 1), {"groups": 19, "pads": (1, 1, 1, 1)}),
    "depthwise_stride2_5x5": (
        (1, 9, 9, 32),
        (32, 5, 5, 1),
        {"groups": 32, "strides": (2, 2), "pads": (2, 2, 2, 2)},
    ),
    "depthwise_multiplier": (
        (1, 6, 5, 7),
        (14, 3, 3, 1),
        {"groups": 7, "dilations": (2, 1), "pads": (2, 1, 2, 1)},
    ),
    "wide": ((1, 4, 4, 130), (67, 1, 1, 130), {"strides": (2, 1)}),
}


def _float_examples(rng: np.random.Generator) -> Iterator[Example]:
    for index, (label, (x_shape, w_shape, attributes)) in enumerate(_CASES.items()):
        bias = const_f32("b", rng, w_shape[0]) if index % 2 else None
        operands = [f32("x", *x_shape), const_f32("w", rng, *w_shape), bias]
        yield example(f"{label}_f32", rng, "Conv", operands, **attributes)
    operands = [f32("x", 1, 5, 5, 3), const_f32("w", rng, 4, 3, 3, 3), None]
    yield example("clamp_f32", rng, "Conv", operands, clamp=(0.0, 6.0))


def _integer_examples(rng: np.random.Generator) -> Iterator[Example]:
    types = (("u8", "s8", "u8", 3), ("s8", "s8", "s8", -7), ("u8", "u8", "s8", 255))
    for index, (label, (x_shape, w_shape, attributes)) in enumerate(_CASES.items()):
        for x_type, w_type, y_type, zero_point in types:
            x = q8("x", x_shape, x_type, 0.04, zero_point)
            w = weight_q8(rng, w_shape, w_type, per_channel=index % 3 > 0)
            operands = [x, w, bias_s32(rng, x, w) if index % 2 else None]
            name = f"{label}_{x_type}_{w_type}_{y_type}"
            yield example(name, rng, "Conv", operands, y_type, **attributes)
    x = q8("x", (1, 5, 6, 9))
    for label, w in (
        ("weight_zero_points", weight_q8(rng, (5, 3, 3, 9), zero_points=True)),
        ("weight_zero_point_u8", weight_q8(rng, (5, 3, 3, 9), "u8", per_channel=False)),
    ):
        operands = [x, w, bias_s32(rng, x, w)]
        yield example(label, rng, "Conv", operands, "u8", pads=(1, 1, 1, 1))
    w = weight_q8(rng, (8, 3, 3, 9))
    for label, clamp in (("relu", (0.0, np.inf)), ("relu6", (0.0, 6.0)), ("below", (-np.inf, 2.5))):
        yield example(f"clamp_{label}", rng, "Conv", [x, w, None], "s8", clamp=clamp)
    narrow = Affine.per_tensor(0.02, 100)
    yield example("saturated", rng, "Conv", [x, w, None], "u8", params=narrow)
    # Neighbouring products of 255 * 127 twice: what int16 pair sums cannot hold.
    worst = constant("w", np.full((16, 3, 3, 9), 127, np.int8), Affine.per_tensor(0.01, 0))
    full = {"x": np.full(x.shape, 255, np.uint8)}
    yield example("worst_pairs", rng, "Conv", [x, worst, None], "u8", feeds=full)


def _weights_examples(rng: np.random.Generator) -> Iterator[Example]:
    """8-bit weights between float32 values."""
    for label in ("3x3", "groups", "depthwise"):
        x_shape, w_shape, attributes = _CASES[label]
        for w in (
            weight_q8(rng, w_shape),
            weight_q8(rng, w_shape, "u8", per_channel=False, zero_points=True),
        ):
            operands = [f32("x", *x_shape), w, const_f32("b", rng, w_shape[0])]
            yield example(f"{label}_weights_{w.dtype}", rng, "Conv", operands, **attributes)


def _dynamic_examples(rng: np.random.Generator) -> Iterator[Example]:
    """Activations quantized on the fly; the second image is 30 times the first."""
    for label, precision in (
        ("1x1", "dynamic"),
        ("3x3", "dynamic"),
        ("3x3", "dynamic_row"),
        ("3x3_stride2_asymmetric", "dynamic_row"),
        ("5x3_strides_dilations", "dynamic"),
        ("groups", "dynamic_row"),
        ("depthwise", "dynamic"),
    ):
        x_shape, w_shape, attributes = _CASES[label]
        x = rng.standard_normal((2, *x_shape[1:])).astype(np.float32)
        x[1] *= 30
        bias = const_f32("b", rng, w_shape[0])
        yield dynamic.example("Conv", label, rng, x, w_shape, bias, precision, **attributes)


def _wide_examples(rng: np.random.Generator) -> Iterator[Example]:
    """16-bit activations on either side or both."""
    types = (("s16", "s8", "s16"), ("u8", "s8", "s16"), ("s16", "u8", "u8"), ("s16", "s8", "s8"))
    for index, (label, (x_shape, w_shape, attributes)) in enumerate(_CASES.items()):
        x_type, w_type, y_type = types[index % len(types)]
        x = q8("x", x_shape, x_type, *((2e-4, 0) if x_type == "s16" else (0.04, 77)))
        w = weight_q8(rng, w_shape, w_type)
        operands = [x, w, bias_s32(rng, x, w) if index % 2 else None]
        name = f"{label}_{x_type}_{w_type}_{y_type}"
        yield example(name, rng, "Conv", operands, y_type, **attributes)
    x = q8("x", (1, 5, 5, 33), "s16", 2e-4, 0)
    w = constant("w", np.full((3, 5, 5, 33), -128, np.int8), Affine.per_tensor(0.01, 0))
    lowest = {"x": np.full(x.shape, -32768, np.int16)}  # 825 products of 2^22
    yield example("s16_worst", rng, "Conv", [x, w, None], "s16", feeds=lowest)
    w = weight_q8(rng, (8, 3, 3, 33))
    yield example("s16_clamp", rng, "Conv", [x, w, None], "s16", clamp=(0.0, 6.0))

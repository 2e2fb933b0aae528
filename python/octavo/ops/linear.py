# SPDX-License-Identifier: Apache-2.0
"""Linear: a matrix product with constant weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs, dynamic, scaled, weights, wide
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import bias_s32, const_f32, example, f32, q8, weight_q8


@register
class Linear(Op):
    """x [...,K], w [N,K], b [N]? -> y [...,N]."""

    name = "Linear"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        x = attrs.required(node, inputs, 0).shape
        w = attrs.required(node, inputs, 1).shape
        if len(w) != 2 or not x or x[-1] != w[1]:
            raise ShapeError(f"{node.label()}: input {x} does not fit weights {w} ([N, K])")
        bias = attrs.optional(inputs, 2)
        if bias is not None and bias.shape != (w[0],):
            raise ShapeError(f"{node.label()}: bias {bias.shape} of {w[0]} output channels")
        return ((*x[:-1], w[0]),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        y = attrs.required(node, args, 0) @ attrs.required(node, args, 1).T
        bias = attrs.optional(args, 2)
        return (attrs.apply_clamp(node, y if bias is None else y + bias),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        if dynamic.is_dynamic(node):
            return dynamic.reason(inputs, outputs)
        if scaled.is_scaled(attrs.required(node, inputs, 0), outputs[0]):
            return scaled.reason(inputs)
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
            acc = x @ w.T
            return (dynamic.finish(node, acc, scale, wv, attrs.optional(args, 2)),)
        if not xv.is_quantized:  # 8-bit weights only
            x, w = attrs.required(node, args, 0), weights.real(wv, attrs.required(node, args, 1))
            return self.float_ref(node, [x, w, attrs.optional(args, 2)])
        if scaled.is_scaled(xv, outputs[0]):
            return scaled.int_ref(node, args, inputs)
        x = attrs.required(node, args, 0).astype(np.float64) - xv.zero_point
        acc = x @ weights.centre(wv, attrs.required(node, args, 1)).T
        bias = attrs.optional(args, 2)
        form = wide if wide.is_wide(xv, outputs[0]) else weights
        return (form.finish(node, acc if bias is None else acc + bias, xv, wv, outputs[0]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        if dynamic.is_dynamic(node):
            dynamic.lower(node, ctx, ())
            return
        if scaled.is_scaled(ctx.value(node.inputs[0]), ctx.value(node.outputs[0])):
            scaled.lower(node, ctx)
            return
        if wide.is_wide(ctx.value(node.inputs[0]), ctx.value(node.outputs[0])):
            wide.lower(node, ctx, ())
            return
        y = ctx.value(node.outputs[0])
        consts, integer = weights.constants(node, ctx)
        ctx.emit(
            "linear_s8" if integer else "linear_f32",
            [ctx.tensor(node.inputs[0])],
            [ctx.out(y.name)],
            ints=(*ctx.bounds(y.name, attrs.clamp(node)), 0) if integer else (),
            floats=() if integer else attrs.clamp_floats(node),
            consts=consts,
            macs=weights.macs(ctx.value(node.inputs[1]), y),
        )

    def macs(self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> int:
        return weights.macs(attrs.required(node, inputs, 1), outputs[0])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape, n in (((1, 64), 10), ((3, 5, 33), 17), ((7, 130), 1)):
            label = "x".join(map(str, (*shape, n)))
            w32, b32 = const_f32("w", rng, n, shape[-1]), const_f32("b", rng, n)
            yield example(f"{label}_f32", rng, "Linear", [f32("x", *shape), w32, b32])
            for x_type, w_type, y_type in (
                ("u8", "s8", "u8"),
                ("s8", "s8", "s8"),
                ("u8", "u8", "s8"),
            ):
                x = q8("x", shape, x_type)
                w = weight_q8(rng, (n, shape[-1]), w_type)
                operands = [x, w, bias_s32(rng, x, w)]
                yield example(
                    f"{label}_{x_type}_{w_type}_{y_type}", rng, "Linear", operands, y_type
                )
        x = q8("x", (2, 40))
        w = weight_q8(rng, (12, 40), zero_points=True)
        yield example("weight_zero_points", rng, "Linear", [x, w, None], "u8")
        w = weight_q8(rng, (12, 40), per_channel=False)
        yield example("clamp", rng, "Linear", [x, w, None], "u8", clamp=(-0.5, 1.5))
        x, w = f32("x", 2, 8), const_f32("w", rng, 4, 8)
        yield example("clamp_f32", rng, "Linear", [x, w, None], clamp=(0.0, np.inf))
        for dtype in ("s8", "u8"):
            w = weight_q8(rng, (12, 40), dtype, zero_points=dtype == "u8")
            operands = [f32("x", 3, 40), w, const_f32("b", rng, 12)]
            yield example(f"weights_{dtype}", rng, "Linear", operands)
        yield from _dynamic_examples(rng)
        yield from _wide_examples(rng)
        for x_type, w_type in (("u8", "s8"), ("s8", "u8")):
            x, w = q8("x", (3, 5, 131), x_type), weight_q8(rng, (17, 131), w_type)
            yield example(f"real_{x_type}", rng, "Linear", [x, w, const_f32("b", rng, 17)])
        x, w = q8("x", (70, 40)), weight_q8(rng, (33, 40), zero_points=True)
        yield example("real_clamp", rng, "Linear", [x, w, None], clamp=(0.0, 6.0))


def _dynamic_examples(rng: np.random.Generator) -> Iterator[Example]:
    """Activations quantized on the fly: rows of other magnitudes, of zeros, of one sign."""
    bias = const_f32("b", rng, 21)
    rows = rng.standard_normal((9, 37)).astype(np.float32)
    rows *= np.float32(2.0) ** np.arange(-4, 5)[:, None]
    rows[2], rows[3], rows[4] = 0, np.abs(rows[3]), -np.abs(rows[4])
    for precision in ("dynamic", "dynamic_row"):
        for label, x in (("rows", rows), ("batches", rows[:8].reshape(2, 4, 37))):
            yield dynamic.example("Linear", label, rng, x, (21, 37), bias, precision)
        yield dynamic.example(
            "Linear", "clamp", rng, rows, (21, 37), None, precision, clamp=(0.0, 6.0)
        )


def _wide_examples(rng: np.random.Generator) -> Iterator[Example]:
    """16-bit activations on either side or both."""
    for x_type, y_type in (("s16", "s16"), ("u8", "s16"), ("s8", "s16"), ("s16", "u8")):
        x = q8("x", (3, 5, 131), x_type, *((2e-4, 0) if x_type == "s16" else (0.04, -7 + 14)))
        w = weight_q8(rng, (17, 131), zero_points=y_type == "u8")
        operands = [x, w, bias_s32(rng, x, w)]
        yield example(f"{x_type}_{y_type}", rng, "Linear", operands, y_type)

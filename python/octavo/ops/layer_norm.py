# SPDX-License-Identifier: Apache-2.0
"""LayerNorm: each row brought to mean 0 and variance 1, then scaled and shifted by channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo import quant
from octavo.errors import ShapeError, UnsupportedError
from octavo.ir import DTYPES, Affine, Node, Shape, Value, constant
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import const_f32, example, f32, q8
from octavo.ops.reasons import activation_reason

#: Longest row of the 8-bit form: its deviations, times the length, are exact in float32.
MAX_LENGTH = 1 << 15


@register
class LayerNorm(Op):
    """x [...,C], scale f32 [C], bias f32 [C] -> (x - mean) / sqrt(var + epsilon) * scale + bias."""

    name = "LayerNorm"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        for index in (1, 2):
            found = attrs.required(node, inputs, index).shape
            if not shape or found != shape[-1:]:
                raise ShapeError(f"{node.label()}: scale or bias {found} for input {shape}")
        if not attrs.number(node, "epsilon") > 0:
            raise UnsupportedError(f"{node.label()}: epsilon must be above 0")
        return (shape,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x, scale, bias = (attrs.required(node, args, index) for index in range(3))
        wide = x.astype(np.float64)
        centred = wide - wide.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        y = centred / np.sqrt(variance + attrs.number(node, "epsilon"))
        return ((y * scale + bias).astype(np.float32),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        length = outputs[0].shape[-1]
        if length > MAX_LENGTH:
            return f"rows of {length} elements; the integer form takes up to {MAX_LENGTH}"
        for index in (1, 2):
            value = attrs.required(node, inputs, index)
            if value.data is None or value.dtype != "f32":
                return f"scale or bias '{value.name}' is not a float32 constant"
        return activation_reason([inputs[0], *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        q, x, y = attrs.required(node, args, 0), attrs.required(node, inputs, 0), outputs[0]
        epsilon, gain, shift = quant.layer_norm_constants(
            attrs.number(node, "epsilon"),
            x.scale,
            y.scale,
            attrs.required(node, args, 1),
            attrs.required(node, args, 2),
        )
        low, high = quant.QRANGE[y.dtype]
        centred = q.astype(np.int64) - x.zero_point
        out = quant.layer_norm(centred, epsilon, gain, shift, y.zero_point, low, high)
        return (out.astype(DTYPES[y.dtype]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        parameters = [ctx.value(name).data for name in node.inputs[1:]]
        if any(data is None for data in parameters):
            raise UnsupportedError(f"{node.label()}: scale and bias must be constant")
        scale, bias = (np.asarray(data, np.float32) for data in parameters)
        epsilon = attrs.number(node, "epsilon")
        if not ctx.value(y).is_8bit:
            consts = [scale, bias]
            ctx.emit(
                "layer_norm_f32", [ctx.tensor(x)], [ctx.out(y)], floats=[epsilon], consts=consts
            )
            return
        factor, gain, shift = quant.layer_norm_constants(
            epsilon, ctx.quant(x)[0], ctx.quant(y)[0], scale, bias
        )
        ctx.emit(
            "layer_norm_s8",
            [ctx.tensor(x)],
            [ctx.out(y)],
            ints=[*ctx.bounds(y, None), 0],
            floats=[factor],
            consts=[gain, shift],
        )

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape in ((2, 5, 384), (3, 33), (4, 1), (1, 2, 64)):
            c = shape[-1]
            operands = [const_f32("w", rng, c), const_f32("b", rng, c)]
            label = "x".join(map(str, shape))
            x = f32("x", *shape)
            yield example(f"{label}_f32", rng, self.name, [x, *operands], epsilon=1e-12)
            for x_type, y_type in (("u8", "u8"), ("s8", "s8"), ("u8", "s8")):
                x = q8("x", shape, x_type, 0.04, 90)
                name = f"{label}_{x_type}_{y_type}"
                yield example(name, rng, self.name, [x, *operands], y_type, epsilon=1e-5)
        flat = np.full((3, 20), 7, np.uint8)  # no variance at all: the bias remains
        flat[1, 3] = 8
        ones = [constant("w", np.ones(20, np.float32)), const_f32("b", rng, 20)]
        x = q8("x", (3, 20))
        params = Affine.per_tensor(0.04, 128)
        feeds = {"x": flat}
        yield example(
            "flat_rows", rng, self.name, [x, *ones], "u8", feeds=feeds, params=params, epsilon=1e-3
        )

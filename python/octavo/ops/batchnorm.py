# SPDX-License-Identifier: Apache-2.0
"""BatchNorm with fixed statistics; the passes fold it into a convolution wherever one precedes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ShapeError, UnsupportedError
from octavo.ir import Node, Shape, Value, constant
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import const_f32, example, f32


def scale_shift(node: Node, parameters: Sequence[Array]) -> tuple[Array, Array]:
    """(factor, offset) float32 [C] with y = x * factor + offset, from scale, bias, mean, var."""
    scale, bias, mean, var = (item.astype(np.float64) for item in parameters)
    factor = scale / np.sqrt(var + attrs.number(node, "epsilon", 1e-5))
    return factor.astype(np.float32), (bias - mean * factor).astype(np.float32)


@register
class BatchNorm(Op):
    """(x - mean) / sqrt(var + epsilon) * scale + bias along `axis` (the last one by default)."""

    name = "BatchNorm"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        channels = shape[attrs.axis(node, len(shape))]
        for index in range(1, 5):
            value = attrs.required(node, inputs, index)
            if value.shape != (channels,):
                raise ShapeError(
                    f"{node.label()}: '{value.name}' {value.shape} of {channels} channels"
                )
        return (shape,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        factor, offset = scale_shift(node, [attrs.required(node, args, i) for i in range(1, 5)])
        shape = _broadcast(x.shape, attrs.axis(node, x.ndim))
        return (x * factor.reshape(shape) + offset.reshape(shape),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return "no convolution precedes it to fold it into"

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = ctx.value(node.inputs[0]), node.outputs[0]
        parameters = []
        for name in node.inputs[1:5]:
            data = ctx.value(name).data
            if data is None:
                raise UnsupportedError(f"{node.label()}: '{name}' is computed; it must be constant")
            parameters.append(data)
        shape = _broadcast(x.shape, attrs.axis(node, len(x.shape)))
        product, unbounded = ctx.temp("f32", x.shape), (-np.inf, np.inf)
        source = ctx.tensor(x.name)
        steps = ((2, source, product), (0, product, ctx.out(y)))
        for item, (code, left, target) in zip(scale_shift(node, parameters), steps, strict=True):
            right = ctx.temp("f32", shape)
            ctx.emit("load_constant", [], [right], consts=[item.reshape(shape)])
            ctx.emit("binary_f32", [left, right], [target], ints=[code], floats=unbounded)

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape, axis in (((2, 4, 5, 7), -1), ((3, 6), -1), ((2, 5, 4, 3), 1)):
            channels = shape[axis]
            parameters = [const_f32(name, rng, channels) for name in ("scale", "bias", "mean")]
            var = constant("var", rng.uniform(0.5, 2, channels).astype(np.float32))
            label = "x".join(map(str, shape)) + f"_axis{axis}"
            operands = [f32("x", *shape), *parameters, var]
            yield example(label, rng, self.name, operands, axis=axis, epsilon=1e-3)


def _broadcast(shape: Shape, axis: int) -> Shape:
    """Dims under which [C] broadcasts along `axis`."""
    return tuple(dim if index == axis else 1 for index, dim in enumerate(shape))

# SPDX-License-Identifier: Apache-2.0
"""Concat: inputs side by side; 8-bit ones are rescaled by table where their parameters differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs, tables
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason


@register
class Concat(Op):
    """x0, x1, ... -> y along `axis`."""

    name = "Concat"
    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shapes = [attrs.required(node, inputs, index).shape for index in range(len(inputs))]
        if not shapes:
            raise ShapeError(f"{node.label()}: no inputs")
        axis = attrs.axis(node, len(shapes[0]))
        rest = [(*shape[:axis], *shape[axis + 1 :]) for shape in shapes]
        if any(len(shape) != len(shapes[0]) for shape in shapes) or len(set(rest)) > 1:
            raise ShapeError(f"{node.label()}: shapes {shapes} do not join along axis {axis}")
        total = sum(shape[axis] for shape in shapes)
        return ((*shapes[0][:axis], total, *shapes[0][axis + 1 :]),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        parts = [attrs.required(node, args, index) for index in range(len(args))]
        return (np.concatenate(parts, axis=attrs.axis(node, parts[0].ndim)),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return activation_reason([*inputs, *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        parts: list[Array | None] = []
        for index in range(len(args)):
            q, x = attrs.required(node, args, index), attrs.required(node, inputs, index)
            parts.append(tables.apply(tables.identity, q, x, outputs[0]))
        return self.float_ref(node, parts)

    def lower(self, node: Node, ctx: Lowering) -> None:
        y = ctx.value(node.outputs[0])
        axis = attrs.axis(node, len(y.shape))
        out = ctx.out(y.name)
        start = [0] * len(y.shape)
        for name in node.inputs:
            x = ctx.value(name)
            part = out.slice(start, x.shape, (1,) * len(y.shape))
            if y.is_8bit:
                tables.lower(tables.identity, ctx, name, y.name, part)
            else:
                ctx.emit("copy", [ctx.tensor(name)], [part])
            start[axis] += x.shape[axis]

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        shapes = ((1, 4, 5, 16), (1, 4, 5, 3), (1, 4, 5, 33))
        floats = [f32(f"x{index}", *shape) for index, shape in enumerate(shapes)]
        yield example("channels_f32", rng, "Concat", floats, axis=-1)
        same = [q8(f"x{index}", shape) for index, shape in enumerate(shapes)]
        yield example("channels_same", rng, "Concat", same, "u8", params=same[0].affine, axis=3)
        mixed = [
            q8(f"x{index}", shape, dtype, scale, zero_point)
            for index, (shape, dtype, scale, zero_point) in enumerate(
                zip(shapes, ("u8", "s8", "u8"), (0.1, 0.03, 0.01), (128, 5, 0), strict=True)
            )
        ]
        for y_type in ("u8", "s8"):
            yield example(f"channels_rescaled_{y_type}", rng, "Concat", mixed, y_type, axis=3)
        rows = [q8("a", (2, 3), "s8", 0.1, 0), q8("b", (4, 3), "s8", 0.2, 1)]
        yield example("rows", rng, "Concat", rows, "s8", axis=0)
        twice = q8("a", (2, 3, 4, 5))
        yield example("same_input_twice", rng, "Concat", [twice, twice], "u8", axis=1)

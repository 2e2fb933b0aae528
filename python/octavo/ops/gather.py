# SPDX-License-Identifier: Apache-2.0
"""Gather: rows of a table by computed indices, such as the embeddings of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import UnsupportedError
from octavo.ir import Node, Shape, Value, constant
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import const_f32, draw, example, f32, q8
from octavo.ops.reasons import same_parameters_reason

INDEX_TYPES = ("s32", "s64")


@register
class Gather(Op):
    """data, indices -> data with `axis` replaced by the dims of `indices`.

    A negative index counts from the end. One outside is taken to the nearest end: unlike shapes,
    indices are data, and a run does not fail on data.
    """

    name = "Gather"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        data, indices = attrs.required(node, inputs, 0), attrs.required(node, inputs, 1)
        axis = attrs.axis(node, len(data.shape), 0)
        if indices.dtype not in INDEX_TYPES:
            raise UnsupportedError(f"{node.label()}: indices are {indices.dtype}")
        if data.shape[axis] == 0:
            raise UnsupportedError(f"{node.label()}: axis {axis} of {data.shape} is empty")
        return ((*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        data, indices = attrs.required(node, args, 0), attrs.required(node, args, 1)
        axis = attrs.axis(node, data.ndim, 0)
        count = data.shape[axis]
        wrapped = np.where(indices < 0, indices + count, indices)
        return (np.take(data, np.clip(wrapped, 0, count - 1), axis=axis),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return same_parameters_reason([inputs[0], *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        return self.float_ref(node, args)

    def lower(self, node: Node, ctx: Lowering) -> None:
        data, indices = ctx.value(node.inputs[0]), ctx.value(node.inputs[1])
        y = ctx.out(node.outputs[0])
        axis = attrs.axis(node, len(data.shape), 0)
        outer, inner = math.prod(data.shape[:axis]), math.prod(data.shape[axis + 1 :])
        count = data.shape[axis]
        source = ctx.tensor(indices.name).reshape((indices.size,))
        target = y.reshape((outer, indices.size, inner))
        if data.data is None:
            rows = ctx.tensor(data.name).reshape((outer, count, inner))
            ctx.emit("gather", [source, rows], [target])
            return
        table = data.data  # stays in the file's constants: no step copies it
        if data.is_8bit and data.dtype == "s8":
            table = table.view(np.uint8) ^ np.uint8(0x80)
        ctx.emit("gather", [source], [target], consts=[table])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        ids = np.array([[0, 6, 3], [-1, -7, 2]])
        for kind, dtype in (("s64", np.int64), ("s32", np.int32)):
            feeds = {"i": ids.astype(dtype)}
            operands = [const_f32("t", rng, 7, 33), Value("i", kind, (2, 3))]
            yield example(f"table_{kind}", rng, self.name, operands, feeds=feeds, axis=0)
        index = Value("i", "s64", (2, 3))
        feeds = {"i": ids}
        operands = [f32("x", 2, 7, 5), index]
        yield example("computed_f32", rng, self.name, operands, feeds=feeds, axis=1)
        wild = {"i": np.array([[2**62, -(2**63), 7], [-8, 2**31, 0]])}
        yield example("outside", rng, self.name, operands, feeds=wild, axis=1)
        for kind in ("u8", "s8"):
            value = q8("t", (7, 20), kind)
            table = constant("t", draw(rng, value), value.quant)
            yield example(
                f"table_{kind}", rng, self.name, [table, index], kind, feeds=feeds,
                params=value.affine, axis=0,
            )  # fmt: skip
            x = q8("x", (2, 7, 20), kind)
            yield example(
                f"computed_{kind}", rng, self.name, [x, index], kind, feeds=feeds,
                params=x.affine, axis=1,
            )  # fmt: skip

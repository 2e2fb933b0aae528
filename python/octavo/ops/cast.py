# SPDX-License-Identifier: Apache-2.0
"""Cast: integers and truth values as float32 numbers, such as the mask of an attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import UnsupportedError
from octavo.ir import DTYPES, Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example

_SOURCES = ("s32", "s64", "bool")


@register
class Cast(Op):
    """x s32, s64 or bool -> the same numbers in float32, rounded to nearest."""

    name = "Cast"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        x = attrs.required(node, inputs, 0)
        if x.dtype not in _SOURCES:
            raise UnsupportedError(f"{node.label()}: from {x.dtype}; known: {', '.join(_SOURCES)}")
        return (x.shape,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        return (attrs.required(node, args, 0).astype(np.float32),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        ctx.emit("cast", [ctx.tensor(node.inputs[0])], [ctx.out(node.outputs[0])])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        ranges = {"s32": (-(2**31), 2**31), "s64": (-(2**63), 2**63 - 1), "bool": (0, 2)}
        for kind, (low, high) in ranges.items():
            data = rng.integers(low, high, (3, 1, 50), np.int64).astype(DTYPES[kind])
            feeds = {"x": data}
            yield example(kind, rng, self.name, [Value("x", kind, (3, 1, 50))], feeds=feeds)

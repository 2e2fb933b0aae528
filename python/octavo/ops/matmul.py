# SPDX-License-Identifier: Apache-2.0
"""MatMul: the product of two computed matrices, in float32. Constant weights make a `Linear`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32


@register
class MatMul(Op):
    """a [...,M,K], b [...,K,N] -> y [...,M,N] as numpy.matmul, rank-1 operands included."""

    name = "MatMul"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        a, b = attrs.required(node, inputs, 0).shape, attrs.required(node, inputs, 1).shape
        wide_a = (1, *a) if len(a) == 1 else a
        wide_b = (*b, 1) if len(b) == 1 else b
        try:
            if not a or not b or wide_a[-1] != wide_b[-2]:
                raise ValueError
            batch = np.broadcast_shapes(wide_a[:-2], wide_b[:-2])
        except ValueError:
            raise ShapeError(f"{node.label()}: shapes {a} and {b} do not multiply") from None
        rows = () if len(a) == 1 else (wide_a[-2],)
        columns = () if len(b) == 1 else (wide_b[-1],)
        return ((*(int(dim) for dim in batch), *rows, *columns),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        y = attrs.required(node, args, 0) @ attrs.required(node, args, 1)
        return (attrs.apply_clamp(node, np.asarray(y)),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return "a product of two activations has no integer form"

    def lower(self, node: Node, ctx: Lowering) -> None:
        operands = [ctx.tensor(node.inputs[0]), ctx.tensor(node.inputs[1])]
        a, y = ctx.value(node.inputs[0]), ctx.value(node.outputs[0])
        ctx.emit(
            "matmul_f32",
            operands,
            [ctx.out(y.name)],
            floats=attrs.clamp_floats(node),
            macs=y.size * a.shape[-1],
        )

    def macs(self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> int:
        return outputs[0].size * attrs.required(node, inputs, 0).shape[-1]

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for a, b in (
            ((4, 9), (9, 5)),
            ((2, 3, 4, 8), (2, 3, 8, 6)),
            ((2, 1, 4, 8), (3, 8, 5)),
            ((7,), (7, 3)),
            ((3, 7), (7,)),
        ):
            label = "_".join("x".join(map(str, shape)) for shape in (a, b))
            yield example(label, rng, "MatMul", [f32("a", *a), f32("b", *b)])

# SPDX-License-Identifier: Apache-2.0
"""Transpose: axes in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import same_parameters_reason


def _perm(node: Node, rank: int) -> tuple[int, ...]:
    return attrs.ints(node, "perm", tuple(reversed(range(rank))))


@register
class Transpose(Op):
    """y[i_perm[0], i_perm[1], ...] = x[i_0, i_1, ...]; axes reversed where `perm` is absent."""

    name = "Transpose"
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        perm = _perm(node, len(shape))
        if sorted(perm) != list(range(len(shape))):
            raise ShapeError(f"{node.label()}: perm {perm} of a rank-{len(shape)} tensor")
        return (tuple(shape[axis] for axis in perm),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        return (np.ascontiguousarray(x.transpose(_perm(node, x.ndim))),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return same_parameters_reason([*inputs, *outputs], wide=True)

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        return self.float_ref(node, args)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = ctx.value(node.inputs[0]), ctx.value(node.outputs[0])
        perm = _perm(node, len(x.shape))
        moved = [axis for axis in perm if x.shape[axis] != 1]
        if moved == sorted(moved):  # only dims of 1 change places: the bytes stand as they are
            ctx.alias(y.name, ctx.tensor(x.name).reshape(y.shape))
        elif ctx.is_view(y.name):
            ctx.alias(y.name, ctx.tensor(x.name).permute(perm))
        else:
            ctx.emit("copy", [ctx.tensor(x.name).permute(perm)], [ctx.out(y.name)])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape, perm in (
            ((2, 3, 4, 5), (0, 3, 1, 2)),
            ((1, 6, 7, 16), (0, 2, 3, 1)),
            ((5, 33), (1, 0)),
            ((1, 4, 1, 8), (0, 2, 1, 3)),
            ((2, 3, 4, 5, 6), (4, 2, 0, 3, 1)),
        ):
            label = "x".join(map(str, shape)) + "_" + "".join(map(str, perm))
            yield example(f"{label}_f32", rng, "Transpose", [f32("x", *shape)], perm=perm)
            for dtype in ("u8", "s8", "s16"):
                x = q8("x", shape, dtype, zero_point=0 if dtype == "s16" else 3)
                params = x.affine
                yield example(
                    f"{label}_{dtype}", rng, "Transpose", [x], dtype, params=params, perm=perm
                )

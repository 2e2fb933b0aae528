# SPDX-License-Identifier: Apache-2.0
"""MatMul: the product of two computed matrices. Constant weights make a `Linear`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo import quant
from octavo.errors import ShapeError
from octavo.ir import DTYPES, Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason


def _largest(value: Value) -> int:
    """The largest magnitude of q - zero_point."""
    low, high = quant.QRANGE[value.dtype]
    return max(value.zero_point - low, high - value.zero_point)


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
        reason = activation_reason([*inputs, *outputs])
        if reason is not None:
            return reason
        a, b = attrs.required(node, inputs, 0), attrs.required(node, inputs, 1)
        reach = a.shape[-1] * _largest(a) * _largest(b)
        if reach >= 2**31:
            return f"a sum of {a.shape[-1]} products can reach {reach}, beyond int32"
        return None

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        a, b, y = attrs.required(node, inputs, 0), attrs.required(node, inputs, 1), outputs[0]
        left, right = (
            attrs.required(node, args, index).astype(np.float64) - value.zero_point
            for index, value in enumerate((a, b))
        )
        acc = np.asarray(left @ right)  # integers below 2^31: exact in float64
        bounds = quant.clamp_bounds(attrs.clamp(node), y.scale, y.zero_point, y.dtype)
        m = quant.multiplier(a.scale, b.scale, y.scale)
        return (quant.requantize(acc, m, y.zero_point, *bounds).astype(DTYPES[y.dtype]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        a, b, y = *node.inputs[:2], node.outputs[0]
        operands = [ctx.tensor(a), ctx.tensor(b)]
        macs = ctx.value(y).size * ctx.value(a).shape[-1]
        if not ctx.value(y).is_8bit:
            floats = attrs.clamp_floats(node)
            ctx.emit("matmul_f32", operands, [ctx.out(y)], floats=floats, macs=macs)
            return
        m = quant.multiplier(ctx.quant(a)[0], ctx.quant(b)[0], ctx.quant(y)[0])
        ctx.emit(
            "matmul_s8",
            operands,
            [ctx.out(y)],
            ints=[*ctx.bounds(y, attrs.clamp(node)), 0],
            floats=[float(m)],
            macs=macs,
        )

    def macs(self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> int:
        return outputs[0].size * attrs.required(node, inputs, 0).shape[-1]

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for a, b in (
            ((4, 9), (9, 5)),
            ((2, 3, 4, 8), (2, 3, 8, 6)),
            ((2, 1, 4, 8), (3, 8, 5)),
            ((1, 4, 33, 32), (1, 4, 32, 33)),
            ((7,), (7, 3)),
            ((3, 7), (7,)),
            ((5,), (5,)),
        ):
            label = "_".join("x".join(map(str, shape)) for shape in (a, b))
            yield example(label, rng, "MatMul", [f32("a", *a), f32("b", *b)])
            for a_type, b_type, y_type in (
                ("u8", "u8", "u8"),
                ("s8", "s8", "s8"),
                ("u8", "s8", "u8"),
            ):
                operands = [q8("a", a, a_type, 0.02, 9), q8("b", b, b_type, 0.03, 77)]
                types = f"{a_type}_{b_type}_{y_type}"
                yield example(f"{label}_{types}", rng, "MatMul", operands, y_type)
        operands = [q8("a", (2, 6, 8)), q8("b", (8, 5))]
        yield example("clamp", rng, "MatMul", operands, "u8", clamp=(0.0, 4.0))
        yield example("same_operand_twice", rng, "MatMul", [q8("a", (6, 6))] * 2, "u8")

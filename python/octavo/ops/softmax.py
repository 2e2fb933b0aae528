# SPDX-License-Identifier: Apache-2.0
"""Softmax along one axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo import quant
from octavo.ir import DTYPES, Affine, Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason


def _is_last(shape: Shape, axis: int) -> bool:
    """Do only dims of 1 follow `axis`?"""
    return all(dim == 1 for dim in shape[axis + 1 :])


@register
class Softmax(Op):
    """exp(x) / sum(exp(x)) along `axis`."""

    name = "Softmax"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        attrs.axis(node, len(shape))
        return (shape,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        axis = attrs.axis(node, x.ndim)
        e = np.exp(x - x.max(axis=axis, keepdims=True))
        return (e / e.sum(axis=axis, keepdims=True),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        reason = activation_reason([*inputs, *outputs])
        shape = outputs[0].shape
        if reason is None and not _is_last(shape, attrs.axis(node, len(shape))):
            return (
                f"softmax along axis {node.attrs.get('axis', -1)} of {shape}, which is not the last"
            )
        return reason

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        x, q, y = attrs.required(node, inputs, 0), attrs.required(node, args, 0), outputs[0]
        rows = q.reshape(q.shape[: attrs.axis(node, q.ndim) + 1])
        out = quant.softmax(rows, x.scale, y.scale, y.zero_point, *quant.QRANGE[y.dtype])
        return (out.astype(DTYPES[y.dtype]).reshape(q.shape),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = ctx.value(node.inputs[0]), ctx.value(node.outputs[0])
        axis = attrs.axis(node, len(x.shape))
        if _is_last(x.shape, axis):
            rows = x.shape[: axis + 1]
            source, target = ctx.tensor(x.name).reshape(rows), ctx.out(y.name).reshape(rows)
            if x.is_8bit:
                table = quant.softmax_table(ctx.quant(x.name)[0])
                ints = [*ctx.bounds(y.name, None), 0]
                ctx.emit("softmax_s8", [source], [target], ints=ints, consts=[table])
            else:
                ctx.emit("softmax_f32", [source], [target])
            return
        perm = [*(index for index in range(len(x.shape)) if index != axis), axis]
        dims = tuple(x.shape[index] for index in perm)
        gathered, result = ctx.temp("f32", dims), ctx.temp("f32", dims)
        ctx.emit("copy", [ctx.tensor(x.name).permute(perm)], [gathered])
        ctx.emit("softmax_f32", [gathered], [result])
        ctx.emit("copy", [result], [ctx.out(y.name).permute(perm)])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape, axis in (((3, 10), -1), ((2, 4, 5, 33), 3), ((2, 7, 1, 1), 1), ((1, 1), -1)):
            label = "x".join(map(str, shape)) + f"_axis{axis}"
            yield example(f"{label}_f32", rng, self.name, [f32("x", *shape)], axis=axis)
            for x_type, y_type in (("u8", "u8"), ("s8", "s8"), ("s8", "u8")):
                x = q8("x", shape, x_type, 0.06, 40)
                name = f"{label}_{x_type}_{y_type}"
                params = Affine.per_tensor(1 / 256, 0 if y_type == "u8" else -128)
                yield example(name, rng, self.name, [x], y_type, params=params, axis=axis)
        yield example("middle_f32", rng, self.name, [f32("x", 2, 5, 3, 4)], axis=1)
        # 1000 exponentials of about 2^23 each: their integer sum needs more than 32 bits.
        x = q8("x", (4, 1000), "u8", 0.002, 0)
        yield example("wide_sum", rng, self.name, [x], "u8", axis=1)

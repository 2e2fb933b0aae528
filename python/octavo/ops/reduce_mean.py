# SPDX-License-Identifier: Apache-2.0
"""ReduceMean: the mean over some axes, in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32


def _axes(node: Node, rank: int) -> tuple[int, ...]:
    """The axes that are averaged, in order; all where the attribute is absent."""
    found = attrs.ints(node, "axes", tuple(range(rank)))
    return tuple(sorted({attrs.normal_axis(node, axis, rank) for axis in found}))


@register
class ReduceMean(Op):
    """The mean over `axes`, which stay as dims of 1 where `keepdims`."""

    name = "ReduceMean"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        axes = _axes(node, len(shape))
        if any(shape[axis] == 0 for axis in axes):
            raise ShapeError(f"{node.label()}: the mean of no elements, axes {axes} of {shape}")
        if node.attrs.get("keepdims", True):
            return (tuple(1 if axis in axes else dim for axis, dim in enumerate(shape)),)
        return (tuple(dim for axis, dim in enumerate(shape) if axis not in axes),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        keep = bool(node.attrs.get("keepdims", True))
        y = x.mean(axis=_axes(node, x.ndim), keepdims=keep, dtype=np.float64)
        return (np.asarray(y, np.float32),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = ctx.value(node.inputs[0]), ctx.value(node.outputs[0])
        axes = _axes(node, len(x.shape))
        kept = [axis for axis in range(len(x.shape)) if axis not in axes]
        perm = [*kept, *axes]
        rows = tuple(x.shape[axis] for axis in kept)
        source = ctx.tensor(x.name)
        if perm != sorted(perm):
            moved = ctx.temp("f32", tuple(x.shape[axis] for axis in perm))
            ctx.emit("copy", [source.permute(perm)], [moved])
            source = moved
        length = x.size // max(y.size, 1)
        target = ctx.out(y.name).reshape((*rows, 1))
        ctx.emit("mean_f32", [source.reshape((*rows, length))], [target])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape, axes, keepdims in (
            ((2, 5, 384), (-1,), True),
            ((3, 33), (1,), False),
            ((2, 7, 5, 3), (1, 2), False),
            ((2, 7, 5), (1,), True),
            ((4, 3), (0, 1), False),
        ):
            label = "x".join(map(str, shape)) + "_" + "".join(map(str, axes))
            x = f32("x", *shape)
            yield example(label, rng, self.name, [x], axes=axes, keepdims=keepdims)

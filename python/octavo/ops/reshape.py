# SPDX-License-Identifier: Apache-2.0
"""Ops that keep every byte where it is and give the tensor other dimensions."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import same_parameters_reason


class Redimension(Op):
    """x -> the same elements, in the same order, under other dims; no step in the plan."""

    @abstractmethod
    def dims(self, node: Node, shape: Shape) -> Shape:
        """Output dims for an input of dims `shape`."""

    @abstractmethod
    def cases(self) -> Iterator[tuple[Shape, Mapping[str, Any]]]:
        """Input dims and attributes of the examples."""

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        dims = self.dims(node, shape)
        if math.prod(dims) != math.prod(shape):
            raise ShapeError(f"{node.label()}: {shape} does not reshape to {dims}")
        return (dims,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        return (x.reshape(self.dims(node, x.shape)),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return same_parameters_reason([inputs[0], *outputs], wide=True)

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        return self.float_ref(node, args)

    def lower(self, node: Node, ctx: Lowering) -> None:
        y = ctx.value(node.outputs[0])
        ctx.alias(y.name, ctx.tensor(node.inputs[0]).reshape(y.shape))

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for index, (shape, attributes) in enumerate(self.cases()):
            yield example(f"{index}_f32", rng, self.name, [f32("x", *shape)], **attributes)
            for dtype in ("u8", "s8", "s16"):
                x = q8("x", shape, dtype, zero_point=0 if dtype == "s16" else 3)
                label = f"{index}_{dtype}"
                yield example(label, rng, self.name, [x], dtype, params=x.affine, **attributes)


@register
class Reshape(Redimension):
    """`shape`: 0 copies the input's dim, one -1 takes what is left."""

    name = "Reshape"

    def dims(self, node: Node, shape: Shape) -> Shape:
        wanted = list(attrs.ints(node, "shape"))
        for index, dim in enumerate(wanted):
            if dim < -1 or (dim == 0 and index >= len(shape)):
                raise ShapeError(f"{node.label()}: shape {wanted} does not fit input {shape}")
            if dim == 0:
                wanted[index] = shape[index]
        if wanted.count(-1) > 1:
            raise ShapeError(f"{node.label()}: shape {wanted} has more than one -1")
        if -1 in wanted:
            known = -math.prod(wanted)
            if known == 0 or math.prod(shape) % known:
                raise ShapeError(f"{node.label()}: {shape} does not reshape to {wanted}")
            wanted[wanted.index(-1)] = math.prod(shape) // known
        return tuple(wanted)

    def cases(self) -> Iterator[tuple[Shape, Mapping[str, Any]]]:
        yield (2, 3, 4, 5), {"shape": (0, -1)}
        yield (6, 4), {"shape": (2, 3, 4)}
        yield (3, 2, 4), {"shape": (0, 0, 2, -1)}
        yield (1, 1, 1, 12), {"shape": (-1,)}


@register
class Flatten(Redimension):
    """Two dims: those before `axis` and the rest."""

    name = "Flatten"

    def dims(self, node: Node, shape: Shape) -> Shape:
        found = int(node.attrs.get("axis", 1))
        # Unlike elsewhere, axis == rank is legal: everything goes into the first dim.
        axis = found if found == len(shape) else attrs.normal_axis(node, found, len(shape))
        return math.prod(shape[:axis]), math.prod(shape[axis:])

    def cases(self) -> Iterator[tuple[Shape, Mapping[str, Any]]]:
        yield (2, 3, 4, 5), {"axis": 1}
        yield (2, 3, 4), {"axis": -1}
        yield (2, 3), {"axis": 2}


@register
class Squeeze(Redimension):
    """Drops the dims `axes`, which must be 1; all dims of 1 where absent."""

    name = "Squeeze"

    def dims(self, node: Node, shape: Shape) -> Shape:
        ones = [index for index, dim in enumerate(shape) if dim == 1]
        axes = {
            attrs.normal_axis(node, item, len(shape)) for item in attrs.ints(node, "axes", ones)
        }
        if any(shape[index] != 1 for index in axes):
            raise ShapeError(f"{node.label()}: axes {sorted(axes)} of {shape} are not all 1")
        return tuple(dim for index, dim in enumerate(shape) if index not in axes)

    def cases(self) -> Iterator[tuple[Shape, Mapping[str, Any]]]:
        yield (2, 1, 1, 5), {"axes": (1, -2)}
        yield (1, 3, 1), {"axes": (0,)}


@register
class Unsqueeze(Redimension):
    """Inserts dims of 1 at the output positions `axes`."""

    name = "Unsqueeze"

    def dims(self, node: Node, shape: Shape) -> Shape:
        axes = attrs.ints(node, "axes")
        rank = len(shape) + len(axes)
        places = {attrs.normal_axis(node, item, rank) for item in axes}
        if len(places) != len(axes):
            raise ShapeError(f"{node.label()}: axes {axes} name a dim twice")
        rest = iter(shape)
        return tuple(1 if index in places else next(rest) for index in range(rank))

    def cases(self) -> Iterator[tuple[Shape, Mapping[str, Any]]]:
        yield (2, 5), {"axes": (1, 2)}
        yield (3, 4), {"axes": (-1, 0)}

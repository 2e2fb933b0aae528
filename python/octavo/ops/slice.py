# SPDX-License-Identifier: Apache-2.0
"""Slice: every `step`-th element of each axis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import same_parameters_reason

_INT64_MAX = 2**63 - 1


def _ranges(node: Node, shape: Shape) -> list[range]:
    """The indices taken along each axis, by ONNX's clamping rules."""
    keys = ("starts", "ends", "steps")
    starts, ends, steps = (attrs.ints(node, key) for key in keys)
    if any(len(part) != len(shape) for part in (starts, ends, steps)) or 0 in steps:
        raise ShapeError(
            f"{node.label()}: starts {starts}, ends {ends}, steps {steps} do not fit {shape}; "
            "each axis needs one of each, and no step is 0"
        )
    taken = []
    for dim, start, end, step in zip(shape, starts, ends, steps, strict=True):
        first = start + dim if start < 0 else start
        last = end + dim if end < 0 else end
        if step > 0:
            first, last = min(max(first, 0), dim), min(max(last, 0), dim)
        else:  # running backwards, `last` = -1 means down to element 0 inclusive
            first, last = min(max(first, 0), dim - 1), min(max(last, -1), dim - 1)
        taken.append(range(first, last, step))
    return taken


@register
class Slice(Op):
    """x -> x[starts:ends:steps], one triple per axis; a whole axis is (0, INT64_MAX, 1)."""

    name = "Slice"
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        return (tuple(len(taken) for taken in _ranges(node, shape)),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        return (np.ascontiguousarray(x[np.ix_(*_ranges(node, x.shape))]) if x.ndim else x,)

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
        x, y = ctx.value(node.inputs[0]), ctx.value(node.outputs[0])
        taken = _ranges(node, x.shape)
        view = ctx.tensor(x.name).slice(
            [each.start for each in taken], y.shape, [each.step for each in taken]
        )
        ctx.emit("copy", [view], [ctx.out(y.name)])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        whole = (0, _INT64_MAX, 1)
        cases: dict[str, tuple[Shape, tuple[tuple[int, int, int], ...]]] = {
            "channels": ((1, 4, 5, 33), (whole, whole, whole, (3, 20, 1))),
            "pixels": ((2, 6, 7, 8), (whole, (1, -1, 2), (0, 100, 3), whole)),
            "backwards": ((3, 5, 7), (whole, (-1, -(2**63), -1), (5, 0, -2))),
            "one": ((4, 6), ((-2, -1, 1), (2, 3, 1))),
        }
        for label, (shape, triples) in cases.items():
            starts, ends, steps = zip(*triples, strict=True)
            attributes: dict[str, Any] = {"starts": starts, "ends": ends, "steps": steps}
            yield example(f"{label}_f32", rng, self.name, [f32("x", *shape)], **attributes)
            for dtype in ("u8", "s8", "s16"):
                x = q8("x", shape, dtype, zero_point=0 if dtype == "s16" else 3)
                params = x.affine
                yield example(
                    f"{label}_{dtype}", rng, self.name, [x], dtype, params=params, **attributes
                )

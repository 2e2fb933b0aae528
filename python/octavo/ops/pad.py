# SPDX-License-Identifier: Apache-2.0
"""Pad: a border of one constant around the tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from octavo import quant
from octavo.errors import ShapeError, UnsupportedError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import same_parameters_reason


def _value(node: Node) -> Array:
    """What the border holds: a scalar, or one number per element of the last axis."""
    return np.asarray(node.attrs.get("value", 0.0), np.float32)


def _fill(node: Node, x: Array, border: Array) -> Array:
    begin, end = attrs.ints(node, "begin"), attrs.ints(node, "end")
    shape = tuple(b + dim + e for b, dim, e in zip(begin, x.shape, end, strict=True))
    y = np.empty(shape, x.dtype)
    y[...] = border
    y[tuple(slice(b, b + dim) for b, dim in zip(begin, x.shape, strict=True))] = x
    return y


@register
class Pad(Op):
    """`begin` and `end` elements of the real number `value` before and after each axis; or of
    several, one for each element of the last axis, in 8 bits."""

    name = "Pad"
    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        begin, end = attrs.ints(node, "begin"), attrs.ints(node, "end")
        if len(begin) != len(shape) or len(end) != len(shape):
            raise ShapeError(f"{node.label()}: begin {begin} and end {end} do not fit {shape}")
        if min((*begin, *end), default=0) < 0:
            raise UnsupportedError(
                f"{node.label()}: negative pads begin={begin} end={end}; crop with Slice"
            )
        return (tuple(b + dim + e for b, dim, e in zip(begin, shape, end, strict=True)),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        return (_fill(node, attrs.required(node, args, 0), _value(node)),)

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
        y = outputs[0]
        border = quant.quantize(_value(node), y.scale, y.zero_point, y.dtype)
        return (_fill(node, attrs.required(node, args, 0), border),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = ctx.value(node.inputs[0]), node.outputs[0]
        real = _value(node)
        bits = quant.quantize(real, *ctx.quant(y), "u8") if x.is_8bit else real.view(np.int32)
        out = ctx.out(y)
        ctx.emit("fill", [], [out], ints=np.atleast_1d(bits).tolist())
        interior = out.slice(attrs.ints(node, "begin"), x.shape, (1,) * len(x.shape))
        ctx.emit("copy", [ctx.tensor(x.name)], [interior])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for index, (shape, begin, end, value) in enumerate(
            (
                ((1, 5, 6, 16), (0, 1, 2, 0), (0, 3, 0, 0), 0.0),
                ((2, 3, 4, 5), (0, 0, 0, 1), (0, 0, 0, 2), -0.5),
                ((3, 4), (1, 0), (0, 2), 1.5),
            )
        ):
            attributes: dict[str, Any] = {"begin": begin, "end": end, "value": value}
            yield example(f"{index}_f32", rng, self.name, [f32("x", *shape)], **attributes)
            for dtype in ("u8", "s8"):
                x = q8("x", shape, dtype, 0.05, 60)
                params = x.affine
                yield example(
                    f"{index}_{dtype}", rng, self.name, [x], dtype, params=params, **attributes
                )
        for dtype in ("u8", "s8"):
            x, colours = q8("x", (1, 5, 6, 3), dtype, 0.05, 60), (0.5, -1.0, 2.0)
            attributes = {"begin": (0, 1, 2, 0), "end": (0, 0, 1, 0), "value": colours}
            yield example(f"channels_{dtype}", rng, self.name, [x], dtype, params=x.affine,
                          **attributes)  # fmt: skip

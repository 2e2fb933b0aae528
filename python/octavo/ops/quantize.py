# SPDX-License-Identifier: Apache-2.0
"""Between real and stored numbers. Parameters are those of the 8-bit Value, not attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from octavo import quant
from octavo.errors import UnsupportedError
from octavo.ir import DTYPES, Affine, Node, Shape, Value
from octavo.ops import attrs, tables
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason, wide_reason


class Convert(Op):
    """x -> y of the same shape; on real numbers the identity."""

    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        return (attrs.required(node, inputs, 0).shape,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        return (attrs.required(node, args, 0),)

    def refuse(self, node: Node, stored: Value) -> None:
        """Raises UnsupportedError unless `stored` is a quantized activation with one scale."""
        reason = wide_reason([stored])
        if reason is not None:
            raise UnsupportedError(f"{node.label()}: {reason}")


def _along_axis(value: Value) -> tuple[Array, Array]:
    """Scale and zero point shaped to broadcast along the value's quantization axis."""
    affine = value.affine
    if affine.axis is None:
        return affine.scale.reshape(()), affine.zero_point.reshape(())
    shape = (-1, *(1,) * (len(value.shape) - 1 - affine.axis))
    return affine.scale.reshape(shape), affine.zero_point.reshape(shape)


def _order(node: Node, rank: int) -> tuple[int, ...]:
    """The optional attribute `perm`; plain order without it."""
    return tuple(node.attrs.get("perm", range(rank)))


def _factors(node: Node) -> tuple[Array, Array] | None:
    """The attributes `gain` and `shift`; None without them."""
    if "gain" not in node.attrs:
        return None
    return np.float32(node.attrs["gain"]), np.float32(node.attrs["shift"])


def _adjusted(node: Node, x: Array) -> Array:
    """x with its axes in order, times `gain`, plus `shift`."""
    moved, factors = x.transpose(_order(node, x.ndim)), _factors(node)
    return moved if factors is None else np.asarray(moved * factors[0] + factors[1])


@register
class QuantizeLinear(Convert):
    """x f32 -> y 8-bit: clamp(rne(x / scale) + zero_point) of x with its axes in order `perm`.

    With the attributes `gain` and `shift` (float32 per element of y's last axis), of
    x * gain + shift: a product and a sum, each rounded.
    """

    name = "QuantizeLinear"

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        return (tuple(shape[axis] for axis in _order(node, len(shape))),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        return (_adjusted(node, attrs.required(node, args, 0)),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return wide_reason(outputs)

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        x, y = attrs.required(node, args, 0), outputs[0]
        return (quant.quantize(_adjusted(node, x), *_along_axis(y), y.dtype),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        self.refuse(node, ctx.value(y))
        source, target = ctx.tensor(x, direct=True), ctx.out(y)
        perm, factors = node.attrs.get("perm", ()), _factors(node)
        ctx.emit("quantize", [source], [target], ints=perm, consts=factors or ())

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for dtype, zero_point in (("u8", 0), ("u8", 131), ("s8", -100), ("s8", 12)):
            params = Affine.per_tensor(0.017, zero_point)
            label = f"{dtype}_{zero_point}"
            yield example(label, rng, self.name, [f32("x", 1, 5, 7, 33)], dtype, params=params)
        for channels in (1, 3, 20):
            image, params = [f32("x", 2, channels, 5, 7)], Affine.per_tensor(0.02, 9)
            label = f"nchw_{channels}"
            yield example(label, rng, self.name, image, "u8", params=params, perm=(0, 2, 3, 1))
        params = Affine.per_tensor(1e-4, 0)
        for shape in ((1, 5, 7, 33), (3,)):
            label = f"s16_{len(shape)}"
            yield example(label, rng, self.name, [f32("x", *shape)], "s16", params=params)
        image = [f32("x", 2, 3, 5, 7)]
        yield example("nchw_s16", rng, self.name, image, "s16", params=params, perm=(0, 2, 3, 1))
        ties = np.arange(-300, 300, dtype=np.float32) * np.float32(0.125)
        special = np.array([np.inf, -np.inf, 1e30, -1e30, -0.0], np.float32)
        feeds = {"x": np.concatenate([ties, special])}
        x, params = f32("x", feeds["x"].size), Affine.per_tensor(0.25, -3)
        yield example("ties_and_infinities", rng, self.name, [x], "s8", params=params, feeds=feeds)
        yield from self._adjusted_examples(rng)

    def _adjusted_examples(self, rng: np.random.Generator) -> Iterator[Example]:
        cases: tuple[tuple[Shape, tuple[int, ...]], ...] = (
            ((2, 1, 5, 7), (0, 2, 3, 1)),
            ((1, 3, 40, 33), (0, 2, 3, 1)),
            ((2, 20, 5, 7), (0, 2, 3, 1)),
            ((1, 21, 31, 3), (0, 1, 2, 3)),
            ((2, 3, 5, 4), (2, 1, 0, 3)),
        )
        for shape, perm in cases:
            gain, shift = rng.uniform(0.5, 2.0, (2, shape[perm[-1]])).astype(np.float32).tolist()
            factors: dict[str, Any] = {"gain": tuple(gain), "shift": tuple(shift)}
            label, image = f"adjusted_{'_'.join(map(str, shape))}", [f32("x", *shape)]
            params = Affine.per_tensor(1 / 64, 3)
            yield example(label, rng, self.name, image, "u8", params=params, perm=perm, **factors)


@register
class DequantizeLinear(Convert):
    """x 8-bit -> y f32: float32(x - zero_point) * scale."""

    name = "DequantizeLinear"

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return wide_reason(inputs)

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        x = attrs.required(node, inputs, 0)
        return (quant.dequantize(attrs.required(node, args, 0), *_along_axis(x)),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        self.refuse(node, ctx.value(x))
        ctx.emit("dequantize", [ctx.tensor(x)], [ctx.out(y, direct=True)])

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for dtype, zero_point in (("u8", 7), ("s8", -128), ("s8", 0)):
            x = q8("x", (1, 5, 7, 33), dtype, 0.1, zero_point)
            yield example(f"{dtype}_{zero_point}", rng, self.name, [x])
        yield example("s16", rng, self.name, [q8("x", (1, 5, 7, 33), "s16", 1e-4, 0)])


@register
class Requantize(Convert):
    """x 8-bit -> y 8-bit of other parameters: quantize(dequantize(x)), by table."""

    name = "Requantize"

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return activation_reason([*inputs, *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        x = attrs.required(node, inputs, 0)
        return (tables.apply(tables.identity, attrs.required(node, args, 0), x, outputs[0]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        tables.lower(tables.identity, ctx, x, y, ctx.out(y))

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for x_type, y_type in (("u8", "u8"), ("s8", "u8"), ("u8", "s8"), ("s8", "s8")):
            x = q8("x", (2, 3, 5, 19), x_type, 0.07, 11)
            yield example(f"{x_type}_{y_type}", rng, self.name, [x], y_type)
        x = q8("x", (2, 19), "u8", 0.07, 130)
        yield example("same_bytes", rng, self.name, [x], "s8", params=Affine.per_tensor(0.07, 2))


@register
class QuantCast(Convert):
    """x quantized -> y quantized: the same bytes read under other parameters of the same type."""

    name = "QuantCast"
    reads_strided = False
    writes_strided = False

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        reason = wide_reason([*inputs, *outputs])
        if reason is None and attrs.required(node, inputs, 0).dtype != outputs[0].dtype:
            return "the same byte means different numbers as u8 and s8"
        return reason

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        return (attrs.required(node, args, 0).astype(DTYPES[outputs[0].dtype]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        ctx.alias(y, ctx.tensor(x).reshape(ctx.value(y).shape))

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for dtype in ("u8", "s8"):
            x = q8("x", (2, 3, 4), dtype, 0.05, 9)
            yield example(dtype, rng, self.name, [x], dtype, params=x.affine)

# SPDX-License-Identifier: Apache-2.0
"""Element-wise functions of two values with NumPy broadcasting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from octavo import quant
from octavo.errors import ShapeError
from octavo.ir import DTYPES, Affine, Node, Shape, Value, constant
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import const_f32, draw, example, f32, q8
from octavo.ops.reasons import activation_reason

#: Operand shapes of the examples.
_SHAPES: tuple[tuple[Shape, Shape], ...] = (
    ((1, 5, 6, 33), (1, 5, 6, 33)),
    ((2, 4, 4, 16), (2, 1, 1, 16)),
    ((3, 4, 5), (5,)),
    ((2, 1, 7), (1, 6, 1)),
    ((4, 9), (1, 1)),
)


class Binary(Op):
    """a, b -> y with an optional fused clamp."""

    reads_strided = True
    writes_strided = True
    #: Number of the function in a `binary_f32` step, docs/format.md.
    code: int
    function: Callable[[Array, Array], Array]

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        a, b = attrs.required(node, inputs, 0).shape, attrs.required(node, inputs, 1).shape
        try:
            return (tuple(int(dim) for dim in np.broadcast_shapes(a, b)),)
        except ValueError:
            raise ShapeError(f"{node.label()}: shapes {a} and {b} do not broadcast") from None

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        a, b = attrs.required(node, args, 0), attrs.required(node, args, 1)
        with np.errstate(all="ignore"):
            return (attrs.apply_clamp(node, type(self).function(a, b)),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        operands = [ctx.tensor(node.inputs[0]), ctx.tensor(node.inputs[1])]
        floats = attrs.clamp_floats(node)
        ctx.emit(
            "binary_f32", operands, [ctx.out(node.outputs[0])], ints=[self.code], floats=floats
        )

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for a, b in _SHAPES:
            label = "_".join("x".join(map(str, shape)) for shape in (a, b))
            feeds = {"b": rng.uniform(0.5, 2, b).astype(np.float32)}
            operands = [f32("a", *a), f32("b", *b)]
            yield example(f"{label}_f32", rng, self.name, operands, feeds=feeds)
        operands = [f32("a", 2, 5), const_f32("b", rng, 5)]
        yield example("clamp_f32", rng, self.name, operands, bound=1e-3, clamp=(-0.5, 0.75))


class IntegerBinary(Binary):
    """A binary op with an 8-bit form of kind `step`."""

    step: str

    @abstractmethod
    def factors(self, a: float, b: float, y: float) -> tuple[float, ...]:
        """The floats of the step, from the three scales."""

    @abstractmethod
    def combine(self, a: Array, b: Array, factors: Sequence[float], bounds: Sequence[int]) -> Array:
        """The norm on centred integers; `bounds` = (zero point, qmin, qmax) of the output."""

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
        values = [attrs.required(node, inputs, index) for index in (0, 1)]
        a, b = (
            attrs.required(node, args, index).astype(np.int64) - value.zero_point
            for index, value in enumerate(values)
        )
        y = outputs[0]
        bounds = quant.clamp_bounds(attrs.clamp(node), y.scale, y.zero_point, y.dtype)
        factors = self.factors(values[0].scale, values[1].scale, y.scale)
        return (self.combine(a, b, factors, (y.zero_point, *bounds)).astype(DTYPES[y.dtype]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        a, b, y = *node.inputs, node.outputs[0]
        if not ctx.value(y).is_8bit:
            super().lower(node, ctx)
            return
        ctx.emit(
            self.step,
            [ctx.tensor(a), ctx.tensor(b)],
            [ctx.out(y)],
            ints=[*ctx.bounds(y, attrs.clamp(node)), 0],
            floats=self.factors(ctx.quant(a)[0], ctx.quant(b)[0], ctx.quant(y)[0]),
        )

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        yield from super().examples(rng)
        types = (("u8", "u8", "u8"), ("s8", "s8", "s8"), ("u8", "s8", "u8"))
        for a_shape, b_shape in _SHAPES:
            for a_type, b_type, y_type in types:
                a = q8("a", a_shape, a_type, 0.03, 100)
                b = q8("b", b_shape, b_type, 0.011, -5 if b_type == "s8" else 128)
                shapes = "_".join("x".join(map(str, shape)) for shape in (a_shape, b_shape))
                label = f"{shapes}_{a_type}_{b_type}_{y_type}"
                yield example(label, rng, self.name, [a, b], y_type)
        a, b = q8("a", (1, 4, 4, 24)), q8("b", (1, 4, 4, 24), "s8", 0.02, 17)
        yield example("relu", rng, self.name, [a, b], "u8", clamp=(0.0, np.inf))
        yield example("clamp", rng, self.name, [a, b], "s8", clamp=(-1.0, 1.5))
        narrow = Affine.per_tensor(0.01, 0)
        yield example("saturated", rng, self.name, [a, b], "s8", params=narrow)
        fixed = constant("b", draw(rng, q8("b", (24,))), Affine.per_tensor(0.007, 90))
        yield example("constant_operand", rng, self.name, [a, fixed], "u8")
        yield example("same_operand_twice", rng, self.name, [a, a], "u8")


@register
class Add(IntegerBinary):
    """a + b."""

    name = "Add"
    code = 0
    function = np.add
    step = "add_s8"

    def factors(self, a: float, b: float, y: float) -> tuple[float, ...]:
        return float(np.float32(a) / np.float32(y)), float(np.float32(b) / np.float32(y))

    def combine(self, a: Array, b: Array, factors: Sequence[float], bounds: Sequence[int]) -> Array:
        ka, kb = factors
        zero_point, qmin, qmax = bounds
        return quant.add(a, b, ka, kb, zero_point, qmin, qmax)


@register
class Mul(IntegerBinary):
    """a * b."""

    name = "Mul"
    code = 2
    function = np.multiply
    step = "mul_s8"

    def factors(self, a: float, b: float, y: float) -> tuple[float, ...]:
        return (float(quant.multiplier(a, b, y)),)

    def combine(self, a: Array, b: Array, factors: Sequence[float], bounds: Sequence[int]) -> Array:
        zero_point, qmin, qmax = bounds
        return quant.requantize(a * b, factors[0], zero_point, qmin, qmax)


@register
class Sub(Binary):
    """a - b."""

    name = "Sub"
    code = 1
    function = np.subtract


@register
class Div(Binary):
    """a / b."""

    name = "Div"
    code = 3
    function = np.divide

# SPDX-License-Identifier: Apache-2.0
"""Element-wise functions of one value; on 8-bit values each is a table of 256 entries."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import ShapeError
from octavo.ir import Node, Shape, Value
from octavo.ops import attrs, tables
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason


class Unary(Op):
    """x -> f(x), element by element."""

    reads_strided = True
    writes_strided = True
    #: Number of the function in a `unary_f32` step, docs/format.md.
    code: int

    @abstractmethod
    def function(self, node: Node) -> tables.Function:
        """f on float64 arrays, attributes bound."""

    def step_code(self, node: Node) -> int:
        """`code`, where it depends on the attributes."""
        return self.code

    def parameters(self, node: Node) -> tuple[float, ...]:
        """The floats of the `unary_f32` step."""
        return ()

    def cases(self) -> Iterator[Mapping[str, Any]]:
        """Attribute sets for the examples."""
        yield {}

    def domain(self) -> tuple[float, float]:
        """Where the examples evaluate f."""
        return (-6.0, 6.0)

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        return (attrs.required(node, inputs, 0).shape,)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        with np.errstate(all="ignore"):
            return (self.function(node)(x.astype(np.float64)).astype(np.float32),)

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
        x, q = attrs.required(node, inputs, 0), attrs.required(node, args, 0)
        with np.errstate(all="ignore"):
            return (tables.apply(self.function(node), q, x, outputs[0]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        if ctx.value(x).is_8bit:
            with np.errstate(all="ignore"):
                tables.lower(self.function(node), ctx, x, y, ctx.out(y))
            return
        ctx.emit(
            "unary_f32",
            [ctx.tensor(x)],
            [ctx.out(y)],
            ints=[self.step_code(node)],
            floats=self.parameters(node),
        )

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        low, high = self.domain()
        scale = (high - low) / 255
        for attributes in self.cases():
            label = "_".join(f"{key}{value}" for key, value in attributes.items()) or "plain"
            feeds = {"x": rng.uniform(low, high, (2, 3, 4, 33)).astype(np.float32)}
            x = f32("x", 2, 3, 4, 33)
            yield example(f"{label}_f32", rng, self.name, [x], feeds=feeds, **attributes)
            for x_type, y_type in (("u8", "u8"), ("s8", "s8"), ("u8", "s8")):
                zero_point = int(np.rint(-low / scale)) - (128 if x_type == "s8" else 0)
                x = q8("x", (1, 3, 5, 33), x_type, scale, zero_point)
                yield example(
                    f"{label}_{x_type}_{y_type}", rng, self.name, [x], y_type, **attributes
                )


def _leaky_relu(x: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    return np.where(x < 0, alpha * x, x)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def _hard_sigmoid(x: NDArray[np.float64], alpha: float, beta: float) -> NDArray[np.float64]:
    return np.clip(alpha * x + beta, 0, 1)


def _hard_swish(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x * np.clip(x + 3, 0, 6) / 6)


def _clip(x: NDArray[np.float64], lo: float, hi: float) -> NDArray[np.float64]:
    return np.minimum(np.maximum(x, lo), hi)


@register
class Clip(Unary):
    """min(max(x, lo), hi); Relu is lo=0, hi=inf."""

    name = "Clip"
    code = 0

    def parameters(self, node: Node) -> tuple[float, ...]:
        return attrs.number(node, "lo", -np.inf), attrs.number(node, "hi", np.inf)

    def function(self, node: Node) -> tables.Function:
        lo, hi = self.parameters(node)
        return partial(_clip, lo=lo, hi=hi)

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        lo, hi = self.parameters(node)
        if not lo <= hi:
            raise ShapeError(f"{node.label()}: bounds lo={lo} and hi={hi} leave no value")
        return super().infer(node, inputs)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        lo, hi = self.parameters(node)
        return (np.clip(attrs.required(node, args, 0), np.float32(lo), np.float32(hi)),)

    def cases(self) -> Iterator[Mapping[str, Any]]:
        yield {"lo": 0.0, "hi": np.inf}
        yield {"lo": 0.0, "hi": 6.0}
        yield {"lo": -1.25, "hi": 2.0}


@register
class LeakyRelu(Unary):
    """x where x >= 0, alpha * x elsewhere."""

    name = "LeakyRelu"
    code = 1

    def parameters(self, node: Node) -> tuple[float, ...]:
        return (attrs.number(node, "alpha", 0.01),)

    def function(self, node: Node) -> tables.Function:
        return partial(_leaky_relu, alpha=self.parameters(node)[0])

    def cases(self) -> Iterator[Mapping[str, Any]]:
        yield {"alpha": 0.1}


@register
class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""

    name = "Sigmoid"
    code = 2

    def function(self, node: Node) -> tables.Function:
        return _sigmoid


@register
class Tanh(Unary):
    """Hyperbolic tangent."""

    name = "Tanh"
    code = 3

    def function(self, node: Node) -> tables.Function:
        return np.tanh


@register
class HardSigmoid(Unary):
    """min(max(alpha * x + beta, 0), 1)."""

    name = "HardSigmoid"
    code = 4

    def parameters(self, node: Node) -> tuple[float, ...]:
        return attrs.number(node, "alpha", 0.2), attrs.number(node, "beta", 0.5)

    def function(self, node: Node) -> tables.Function:
        alpha, beta = self.parameters(node)
        return partial(_hard_sigmoid, alpha=alpha, beta=beta)

    def cases(self) -> Iterator[Mapping[str, Any]]:
        yield {"alpha": 0.2, "beta": 0.5}
        yield {"alpha": 1 / 6, "beta": 0.5}


@register
class HardSwish(Unary):
    """x * min(max(x + 3, 0), 6) / 6."""

    name = "HardSwish"
    code = 5

    def function(self, node: Node) -> tables.Function:
        return _hard_swish


@register
class Exp(Unary):
    """e to the power of x."""

    name = "Exp"
    code = 6

    def function(self, node: Node) -> tables.Function:
        return np.exp

    def domain(self) -> tuple[float, float]:
        return (-4.0, 2.0)


@register
class Sqrt(Unary):
    """Square root; NaN below 0, which an 8-bit output stores as its zero point."""

    name = "Sqrt"
    code = 7

    def function(self, node: Node) -> tables.Function:
        return np.sqrt

    def domain(self) -> tuple[float, float]:
        return (0.0, 9.0)

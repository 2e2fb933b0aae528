# SPDX-License-Identifier: Apache-2.0
"""What an operator is: one class per op holds its whole meaning.

`infer` gives shapes, `float_ref` the meaning on real numbers, `int_ref` the norm on 8-bit numbers,
`lower` the plan steps, `examples` small graphs that the tests run through all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from octavo.errors import UnsupportedError
from octavo.ir import Graph, Node, Shape, Value

Array = NDArray[Any]


@dataclass(frozen=True)
class Example:
    """A small graph with inputs, for the tests every op gets for free.

    The C++ result must equal `int_ref` exactly on 8-bit graphs. On float graphs it must be within
    `bound` (absolute) of `float_ref`. `bound` on an 8-bit graph is the allowed distance between the
    dequantized result and `float_ref`, in units of the output scale.
    """

    name: str
    graph: Graph
    inputs: Mapping[str, Array]
    bound: float


class Tensor(Protocol):
    """A tensor of the plan: storage plus view. Made by `Lowering`, consumed by `Lowering.emit`."""

    @property
    def dims(self) -> Shape: ...
    @property
    def dtype(self) -> str: ...
    def permute(self, perm: Sequence[int]) -> Tensor:
        """A view with axes in the order `perm`."""
        ...

    def reshape(self, dims: Shape) -> Tensor:
        """A view of other dims; the tensor must be dense (no halo, no permutation)."""
        ...

    def slice(self, starts: Sequence[int], dims: Shape, steps: Sequence[int]) -> Tensor:
        """A view of every `steps[i]`-th element from `starts[i]`; negative steps run backwards."""
        ...


class Lowering(Protocol):
    """What `lower` may ask of the planner. 8-bit activations are u8 in the plan: an s8 value of the
    graph appears with its zero point shifted by 128, so `lower` takes (scale, zero point) from
    `quant` and clamp bounds from `bounds`, never from the Value."""

    def value(self, name: str) -> Value: ...
    def quant(self, name: str) -> tuple[float, int]:
        """(scale, zero point 0..255) of an 8-bit per-tensor value as the plan stores it."""
        ...

    def bounds(self, name: str, clamp: tuple[float, float] | None) -> tuple[int, int]:
        """(qmin, qmax) in the plan's u8 numbers for an output with a fused real-valued clamp."""
        ...

    def tensor(self, name: str, *, direct: bool = False) -> Tensor:
        """The tensor of a value to read. Model inputs and constants are copied into the arena
        first, unless `direct` (for quantize, dequantize, copy, flip), which reads in place."""
        ...

    def out(self, name: str, *, direct: bool = False) -> Tensor:
        """The tensor of an output to write; `direct` writes a model output in place if it can."""
        ...

    def is_view(self, name: str) -> bool:
        """May this output of a Transpose stay a view of its input? Its readers take strides."""
        ...

    def alias(self, name: str, tensor: Tensor) -> None:
        """Makes output `name` another name for `tensor`: no step."""
        ...

    def temp(self, dtype: str, dims: Shape) -> Tensor:
        """Scratch storage that lives from here to the last step that reads it."""
        ...

    def emit(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        *,
        ints: Sequence[int] = (),
        floats: Sequence[float] = (),
        consts: Sequence[Array] = (),
        macs: int = 0,
    ) -> None:
        """Appends a step (docs/format.md) named after the node being lowered."""
        ...


class Op(ABC):
    """One graph operator. Instances hold no state."""

    name: str
    #: May read inputs / write outputs that are strided NHWC views (halo, concat slice)?
    reads_strided = False
    writes_strided = False

    @abstractmethod
    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        """Output shapes. Raises ShapeError or UnsupportedError naming the node."""

    @abstractmethod
    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        """The meaning on float32 arrays."""

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        """None when the op has an integer form for these values, else why not, in a phrase."""
        return f"{node.op} has no integer form"

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        """The norm on stored 8-bit arrays (docs/numerics.md); called when int_reason is None."""
        raise UnsupportedError(f"{node.label()}: {self.int_reason(node, inputs, outputs)}")

    @abstractmethod
    def lower(self, node: Node, ctx: Lowering) -> None:
        """Emits the plan steps of this node, integer or float by the dtype of its values."""

    def macs(self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]) -> int:
        """Multiply-accumulates of one inference."""
        return 0

    def padding(self, node: Node) -> tuple[int, int, int, int]:
        """(top, left, bottom, right) pixels this op reads around its first input, if any."""
        return (0, 0, 0, 0)

    @abstractmethod
    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        """Small graphs that cover the op's attributes, in float32 and (where it has one) 8 bits."""


_REGISTRY: dict[str, Op] = {}


def register(op_class: type[Op]) -> type[Op]:
    """Class decorator: one instance of the op under its name."""
    _REGISTRY[op_class.name] = op_class()
    return op_class


def get(node: Node) -> Op:
    """The operator of a node. Raises UnsupportedError naming node and op."""
    op = _REGISTRY.get(node.op)
    if op is None:
        raise UnsupportedError(
            f"{node.label()}: operator is not supported; known: {', '.join(names())}"
        )
    return op


def names() -> list[str]:
    """Names of all operators, sorted."""
    return sorted(_REGISTRY)

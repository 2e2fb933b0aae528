# SPDX-License-Identifier: Apache-2.0
"""The intermediate representation: frozen dataclasses `Value`, `Node`, `Graph`, and `verify`.

A node's precision is that of its values: `Conv` on float32 values is a float convolution, `Conv`
on 8-bit values with quantization parameters is an integer one. Spatial operators are NHWC with
OHWI weights; importers of NCHW formats put `Transpose` around them and the layout pass moves it.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import GraphError, QuantizationError, ShapeError
from octavo.quant import QRANGE, STORED_RANGE

Array = NDArray[Any]
Shape = tuple[int, ...]

#: dtype name -> NumPy scalar type; the names are used in the IR, the plan and every message.
DTYPES: Mapping[str, type[np.generic]] = MappingProxyType(
    {
        "f32": np.float32,
        "u8": np.uint8,
        "s8": np.int8,
        "s16": np.int16,
        "s32": np.int32,
        "s64": np.int64,
        "u32": np.uint32,
        "bool": np.bool_,
    }
)
#: How keys of `Graph.metadata` begin where other producers' keys stand beside them.
METADATA_PREFIX = "octavo."
DTYPE_NAMES: Mapping[np.dtype[Any], str] = MappingProxyType(
    {np.dtype(numpy_type): name for name, numpy_type in DTYPES.items()}
)


@dataclass(frozen=True)
class Quantization:
    """How stored numbers mean real ones. `Affine` is implemented; further kinds subclass this."""


@dataclass(frozen=True)
class Affine(Quantization):
    """real = scale * (q - zero_point), per tensor (`axis` None) or per slice along `axis`.

    `scale` float32 and `zero_point` integer arrays, both of shape () or (channels,).
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int32]
    axis: int | None = None

    @staticmethod
    def per_tensor(scale: float, zero_point: int) -> Affine:
        """One scale and zero point for the whole tensor."""
        return Affine(np.asarray(scale, np.float32), np.asarray(zero_point, np.int32))

    def same(self, other: object) -> bool:
        """True when both describe the same mapping, bit for bit."""
        return (
            isinstance(other, Affine)
            and self.axis == other.axis
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph. `data` holds the constant's elements (read-only), else None."""

    name: str
    dtype: str
    shape: Shape
    quant: Quantization | None = None
    data: Array | None = None

    @property
    def affine(self) -> Affine:
        """The affine parameters; raises QuantizationError where there are none."""
        if not isinstance(self.quant, Affine):
            raise QuantizationError(
                f"tensor '{self.name}' ({self.dtype}) has no affine quantization"
            )
        return self.quant

    @property
    def scale(self) -> float:
        """The per-tensor scale."""
        return float(self.affine.scale.reshape(-1)[0])

    @property
    def zero_point(self) -> int:
        """The per-tensor zero point."""
        return int(self.affine.zero_point.reshape(-1)[0])

    @property
    def is_8bit(self) -> bool:
        """True for u8 and s8 elements with quantization parameters."""
        return self.dtype in QRANGE and self.quant is not None

    @property
    def is_quantized(self) -> bool:
        """True for u8, s8 and s16 elements with quantization parameters."""
        return self.dtype in STORED_RANGE and self.quant is not None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Node:
    """One operation. `inputs` may hold "" for an absent optional input."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def label(self) -> str:
        """How messages call this node."""
        return f"node '{self.name}' ({self.op})"


@dataclass(frozen=True, eq=False)
class Graph:
    """A static, loop-free graph. `nodes` stand in topological order once `verify` has passed.

    `dynamic` names the symbolic dimensions of inputs, e.g. {"x": ("N", None, None, None)}; shapes
    of values are always numbers, for the binding in force. `notes` maps a node name to the reason
    why it is not computed in integers. `metadata` is plain data (JSON) about the model for people
    and tools, e.g. the preprocessing of its inputs; nothing that is computed depends on it.
    """

    name: str
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """Value name -> the node that computes it."""
        return {out: node for node in self.nodes for out in node.outputs}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Value name -> the nodes that read it (each once)."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    def inputs_of(self, node: Node) -> list[Value | None]:
        """The values a node reads; None for an absent optional input."""
        return [self.values[name] if name else None for name in node.inputs]

    def outputs_of(self, node: Node) -> list[Value]:
        """The values a node computes."""
        return [self.values[name] for name in node.outputs]

    def with_(self, **changes: Any) -> Graph:
        """A copy with some fields replaced."""
        return replace(self, **changes)


def constant(name: str, data: Array, quant: Quantization | None = None) -> Value:
    """A constant value; the array is made contiguous, little-endian and read-only.

    Raises GraphError for an element type the IR does not have.
    """
    dtype = DTYPE_NAMES.get(data.dtype.newbyteorder("="))
    if dtype is None:
        raise GraphError(
            f"constant '{name}': element type {data.dtype} is not one of {list(DTYPES)}"
        )
    stored = np.ascontiguousarray(data, dtype=DTYPES[dtype]).reshape(data.shape)
    if stored is data or stored.base is data:
        stored = stored.copy()
    stored.setflags(write=False)
    return Value(name, dtype, stored.shape, quant, stored)


def free_name(base: str, taken: Container[str]) -> str:
    """`base`, or `base.1`, `base.2`, … where that is taken."""
    name, count = base, 1
    while name in taken:
        name, count = f"{base}.{count}", count + 1
    return name


def topological(nodes: Iterable[Node], ready: Iterable[str]) -> tuple[Node, ...]:
    """Nodes in an order where every input is computed before it is read; iterative, stable.

    `ready` are the names known from the start (inputs, constants). Raises GraphError naming a node
    on a cycle or with an input that nothing produces.
    """
    pending = list(nodes)
    produced = {out for node in pending for out in node.outputs}
    waiting: dict[str, list[int]] = {}
    missing = [0] * len(pending)
    known = set(ready)
    for index, node in enumerate(pending):
        for name in dict.fromkeys(node.inputs):
            if not name or name in known:
                continue
            if name not in produced:
                raise GraphError(f"{node.label()}: input '{name}' is produced by nothing")
            waiting.setdefault(name, []).append(index)
            missing[index] += 1
    queue = [index for index, count in enumerate(missing) if count == 0]
    order: list[Node] = []
    cursor = 0
    while cursor < len(queue):
        node = pending[queue[cursor]]
        cursor += 1
        order.append(node)
        for name in node.outputs:
            for index in waiting.get(name, ()):
                missing[index] -= 1
                if missing[index] == 0:
                    queue.append(index)
    if len(order) != len(pending):
        stuck = next(pending[i] for i, count in enumerate(missing) if count > 0)
        raise GraphError(f"{stuck.label()}: the graph has a cycle through this node")
    return tuple(order)


def check_affine(name: str, quant: Affine, dtype: str, shape: Shape) -> None:
    """Raises QuantizationError unless the parameters are usable: scale finite, normal, > 0; zero
    point within the type's range; per-channel counts equal to the axis length."""
    scale, zero_point = np.atleast_1d(quant.scale), np.atleast_1d(quant.zero_point)
    tiny = np.finfo(np.float32).tiny
    bad = ~(np.isfinite(scale) & (scale >= tiny))
    if bad.any():
        raise QuantizationError(
            f"tensor '{name}': scale {scale[bad][0]!r} must be finite, > 0 and not subnormal"
        )
    if dtype == "s16" and np.any(zero_point != 0):
        raise QuantizationError(
            f"tensor '{name}': zero point {int(zero_point[zero_point != 0][0])}; of s16 it must "
            "be 0: quantize symmetrically"
        )
    if dtype in QRANGE:
        low, high = QRANGE[dtype]
        outside = (zero_point < low) | (zero_point > high)
        if outside.any():
            raise QuantizationError(
                f"tensor '{name}': zero point {int(zero_point[outside][0])} "
                f"is outside {dtype} [{low}, {high}]"
            )
    if quant.axis is None:
        if scale.size != 1 or zero_point.size != 1:
            raise QuantizationError(f"tensor '{name}': {scale.size} scales without an axis")
        return
    if not 0 <= quant.axis < len(shape):
        raise QuantizationError(f"tensor '{name}': axis {quant.axis} of a rank-{len(shape)} tensor")
    channels = shape[quant.axis]
    if scale.shape != (channels,) or zero_point.shape != (channels,):
        raise QuantizationError(
            f"tensor '{name}': {scale.size} scales and {zero_point.size} zero points "
            f"for {channels} channels along axis {quant.axis}"
        )


def verify(graph: Graph) -> Graph:
    """Checks the graph and returns it with nodes in topological order.

    Raises GraphError (cycle, dangling, duplicate), ShapeError (negative dimension) or
    QuantizationError (useless parameters), naming the node or tensor.
    """
    seen: set[str] = set()
    for name in graph.inputs:
        if name not in graph.values:
            raise GraphError(f"graph '{graph.name}': input '{name}' has no value")
        seen.add(name)
    for node in graph.nodes:
        for out in node.outputs:
            if out in seen:
                raise GraphError(f"{node.label()}: output '{out}' is already defined")
            if out not in graph.values:
                raise GraphError(f"{node.label()}: output '{out}' has no value")
            seen.add(out)
    for value in graph.values.values():
        if any(dim < 0 for dim in value.shape):
            raise ShapeError(f"tensor '{value.name}': negative dimension in {value.shape}")
        if value.dtype not in DTYPES:
            raise GraphError(f"tensor '{value.name}': unknown dtype '{value.dtype}'")
        if isinstance(value.quant, Affine):
            check_affine(value.name, value.quant, value.dtype, value.shape)
        if value.data is not None:
            seen.add(value.name)
    for name in graph.outputs:
        if name not in seen:
            raise GraphError(f"graph '{graph.name}': output '{name}' is produced by nothing")
    ready = [*graph.inputs, *(v.name for v in graph.values.values() if v.data is not None)]
    return graph.with_(nodes=topological(graph.nodes, ready))


def prune(graph: Graph) -> Graph:
    """Drops nodes and values that no output needs; inputs stay."""
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if any(out in needed for out in node.outputs):
            kept.append(node)
            needed.update(name for name in node.inputs if name)
    kept.reverse()
    alive = needed | set(graph.inputs) | {out for node in kept for out in node.outputs}
    values = {name: value for name, value in graph.values.items() if name in alive}
    notes = {node.name: graph.notes[node.name] for node in kept if node.name in graph.notes}
    return graph.with_(nodes=tuple(kept), values=values, notes=notes)

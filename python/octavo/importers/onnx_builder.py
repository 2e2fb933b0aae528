# SPDX-License-Identifier: Apache-2.0
"""The graph under construction, and the table of handlers that translate ONNX nodes into it.

A name stands for one of three things: a value of the IR, a NumPy constant that no node of the IR
has asked for yet, or DequantizeLinear of an 8-bit or s32 constant, which stays symbolic so that a
consumer can have the stored integers in the layout it wants (`weight`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from octavo import ops
from octavo.errors import FormatError, GraphError, UnsupportedError
from octavo.ir import Affine, Array, Node, Quantization, Shape, Value, constant
from octavo.ops.precision import LAYERS

Handler = Callable[["Builder", Node], None]
#: Element types of constants that the IR has a use for.
_STORED_TYPES = (np.float32, np.uint8, np.int8, np.int16, np.int32, np.int64, np.bool_)
#: ONNX op ("domain:" first unless ONNX's own) -> its translation.
HANDLERS: dict[str, Handler] = {}
T = TypeVar("T")
D = TypeVar("D")


def handles(*op_names: str) -> Callable[[Handler], Handler]:
    """Decorator: the function translates these ONNX ops."""

    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(op_names, function))
        return function

    return register


def unsupported(node: Node, reason: str) -> UnsupportedError:
    """The error for a legal node that Octavo does not do."""
    return UnsupportedError(f"{node.label()}: {reason}")


def attr(node: Node, key: str, default: D, kind: type[T]) -> T | D:
    """An attribute of the given Python type. Raises FormatError for another type."""
    if key not in node.attrs:
        return default
    found = node.attrs[key]
    if not isinstance(found, kind):
        raise FormatError(f"{node.label()}: attribute '{key}' has the wrong type: {found!r:.80}")
    return found


def attr_ints(node: Node, key: str, default: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """A list-of-integers attribute. Raises FormatError for another type."""
    found = attr(node, key, default, tuple)
    if found is None:
        return None
    if not all(isinstance(item, int) for item in found):
        raise FormatError(f"{node.label()}: attribute '{key}' must be integers, not {found!r:.80}")
    return tuple(found)


def normal_axis(node: Node, axis: int, rank: int) -> int:
    """A non-negative axis. Raises FormatError where it is outside the rank."""
    if not -rank <= axis < rank:
        raise FormatError(f"{node.label()}: axis {axis} of a rank-{rank} tensor")
    return axis % rank


class Builder:
    """Collects IR nodes and values; shapes come from the ops' own `infer`."""

    def __init__(self, opset: int, constants: Mapping[str, Array]) -> None:
        self.opset = opset
        self.constants: dict[str, Array] = dict(constants)
        self.quantized: dict[str, Value] = {}
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.alias: dict[str, str] = {}
        self.symbols: dict[str, object] = {}  # parts of a pattern: see onnx_dynamic
        self.folded_elements = 0
        self._names: set[str] = set(constants)
        self._node_names: set[str] = set()
        self._cache: dict[tuple[Any, ...], str] = {}

    def unique(self, base: str) -> str:
        """A tensor name that nothing in the graph has."""
        name, count = base, 1
        while name in self._names or name in self.values:
            name, count = f"{base}.{count}", count + 1
        self._names.add(name)
        return name

    def _node_name(self, base: str) -> str:
        name, count = base, 1
        while name in self._node_names:
            name, count = f"{base}.{count}", count + 1
        self._node_names.add(name)
        return name

    def reserve(self, names: Sequence[str]) -> None:
        """Keeps tensor names of the file from being invented by `unique`."""
        self._names.update(names)

    def use(self, name: str) -> Value:
        """The IR value of a name; a constant enters the graph on its first use."""
        found = self.values.get(name)
        if found is not None:
            return found
        if name in self.quantized:
            self._dequantize(self.quantized[name], name)
        elif name in self.constants:
            data = self.constants[name]
            if data.dtype not in _STORED_TYPES:
                raise UnsupportedError(f"constant '{name}': element type {data.dtype}; use float32")
            self.values[name] = constant(name, data)
        else:
            raise GraphError(f"tensor '{name}' is produced by nothing")
        return self.values[name]

    def mark(self, first: int, precision: str) -> None:
        """Gives the layers among the nodes from `first` on their attribute `precision`."""
        for index, made in enumerate(self.nodes[first:], first):
            if made.op in LAYERS:
                self.nodes[index] = replace(made, attrs={**made.attrs, "precision": precision})

    def shape(self, node: Node, index: int) -> Shape:
        """Shape of an input, without making a constant enter the graph."""
        name = self.required(node, index)
        if name in self.constants:
            return self.constants[name].shape
        if name in self.quantized:
            return self.quantized[name].shape
        return self.use(name).shape

    def required(self, node: Node, index: int) -> str:
        """Name of an input that must be there. Raises FormatError where it is not."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        if not name:
            raise FormatError(f"{node.label()}: input {index} is missing")
        return name

    def optional(self, node: Node, index: int) -> str | None:
        """Name of an input that may be absent."""
        return (node.inputs[index] or None) if index < len(node.inputs) else None

    def real(self, node: Node, index: int) -> Value:
        """A float32 input. Raises UnsupportedError for another element type."""
        value = self.use(self.required(node, index))
        if value.dtype != "f32":
            raise unsupported(
                node, f"input '{value.name}' is {value.dtype}; only float32 works, or int8 as QDQ"
            )
        return value

    def movable(self, node: Node, index: int) -> Value:
        """An input whose bytes may be moved around: float32 or 8 bits."""
        value = self.use(self.required(node, index))
        if value.dtype not in ("f32", "u8", "s8", "s16", "s32", "s64", "bool"):
            raise unsupported(node, f"input '{value.name}' is {value.dtype}; use float32 or int8")
        if value.dtype in ("u8", "s8", "s16") and value.quant is None:
            value = replace(value, quant=Affine.per_tensor(1.0, 0))
            self.values[value.name] = value
        return value

    def array(self, node: Node, index: int, what: str) -> Array | None:
        """A constant input, None if absent. Raises UnsupportedError if it is computed."""
        name = self.optional(node, index)
        if name is None:
            return None
        if name not in self.constants:
            raise unsupported(node, f"{what} '{name}' is computed at run time; it must be constant")
        return self.constants[name]

    def ints(self, node: Node, index: int, what: str) -> tuple[int, ...] | None:
        """A constant list of integers, None if absent."""
        found = self.array(node, index, what)
        if found is None:
            return None
        if found.ndim > 1 or found.dtype.kind not in "iu":
            raise FormatError(f"{node.label()}: {what} must be integers, not {found.dtype}")
        return tuple(int(item) for item in found.reshape(-1))

    def axes(
        self, node: Node, since: int, default: tuple[int, ...] | None
    ) -> tuple[int, ...] | None:
        """`axes`: an attribute before opset `since`, the second input from then on."""
        if self.opset < since:
            return attr_ints(node, "axes", default)
        found = self.ints(node, 1, "axes")
        return default if found is None else found

    def emit(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        output: str,
        attrs: Mapping[str, Any] | None = None,
        *,
        dtype: str | None = None,
        quant: Quantization | None = None,
    ) -> Value:
        """Appends a node; by default the output has the first input's type and parameters."""
        node = Node(self._node_name(name), op, tuple(inputs), (output,), attrs or {})
        operands = [self.values[item] if item else None for item in inputs]
        (shape,) = ops.get(node).infer(node, operands)
        first = operands[0]
        if dtype is None and first is not None:
            dtype, quant = first.dtype, first.quant
        if output in self.values:
            raise GraphError(f"{node.label()}: output '{output}' is already defined")
        value = Value(output, dtype or "f32", shape, quant)
        self.nodes.append(node)
        self.values[output] = value
        return value

    def weight(
        self, node: Node, index: int, perm: tuple[int, ...], insert: int | None = None
    ) -> Value:
        """A constant weight with a new axis `insert` of length 1, then permuted; stored once.

        Quantized weights keep their integers: the constant is permuted, DequantizeLinear follows.
        Raises UnsupportedError where the weight is computed.
        """
        name = self.required(node, index)
        key = (name, perm, insert)
        if key in self._cache:
            return self.values[self._cache[key]]
        if name in self.quantized:
            stored = self.quantized[name]
            affine = stored.affine
            axis = affine.axis
            if axis is not None:
                axis = perm.index(axis + (insert is not None and axis >= insert))
            data = _permuted(stored.data, perm, insert)
            affine = replace(affine, axis=axis)
            moved = constant(self.unique(f"{stored.name}/packed"), data, affine)
            self._cache[key] = self._dequantize(moved, self.unique(f"{name}/packed")).name
        elif name in self.constants and self.constants[name].dtype == np.float32:
            data = _permuted(self.constants[name], perm, insert)
            packed = constant(self.unique(f"{name}/packed"), data)
            self.values[packed.name] = packed
            self._cache[key] = packed.name
        else:
            raise unsupported(node, f"weights '{name}' must be a float32 or dequantized constant")
        return self.values[self._cache[key]]

    def new_constant(self, name: str, data: Array) -> Value:
        """A constant that the importer computes."""
        value = constant(self.unique(name), data)
        self.values[value.name] = value
        return value

    def read_as(self, value: Value, quant: Affine) -> Value:
        """The same bytes under other parameters: the value itself or a QuantCast of it."""
        if isinstance(value.quant, Affine) and value.quant.same(quant):
            return value
        key = ("cast", value.name, quant.scale.tobytes(), quant.zero_point.tobytes(), quant.axis)
        if key not in self._cache:
            name = self.unique(f"{value.name}/cast")
            self.emit("QuantCast", name, [value.name], name, dtype=value.dtype, quant=quant)
            self._cache[key] = name
        return self.values[self._cache[key]]

    def _dequantize(self, stored: Value, output: str) -> Value:
        present = self.values.get(stored.name)
        if present is not None and not stored.affine.same(present.quant):
            stored = replace(stored, name=self.unique(stored.name))
        self.values[stored.name] = stored
        return self.emit("DequantizeLinear", output, [stored.name], output, dtype="f32")


def _permuted(data: Array | None, perm: tuple[int, ...], insert: int | None) -> Array:
    assert data is not None
    wide = data if insert is None else np.expand_dims(data, insert)
    return np.transpose(wide, perm)

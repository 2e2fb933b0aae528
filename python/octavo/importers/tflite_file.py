# SPDX-License-Identifier: Apache-2.0
"""A TFLite file as plain Python: tensors, nodes with their options, inputs. Nothing is trusted.

A flatbuffer is a web of offsets. The reader follows them by `struct` on bytes, which cannot leave
the file; what it finds there is checked here, so that later stages meet only well-typed data.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

import numpy as np

from octavo.errors import FormatError, GraphError, LimitError, OctavoError, UnsupportedError
from octavo.importers.onnx_proto import MAX_NAME, MAX_NODES, MAX_RANK
from octavo.importers.tflite_options import options_of
from octavo.ir import Affine, Array, Node, Shape, free_name

#: Most entries of all vectors of a file together: one that points at the same bytes again and
#: again would otherwise cost far more than its size.
MAX_ENTRIES = 1 << 23
#: TensorType -> little-endian NumPy type.
_ELEMENTS: Mapping[str, str] = MappingProxyType(
    {
        "FLOAT32": "<f4", "FLOAT16": "<f2", "INT32": "<i4", "UINT8": "u1", "INT64": "<i8",
        "BOOL": "?", "INT16": "<i2", "INT8": "i1",
    }
)  # fmt: skip
#: What damaged offsets and counts make `struct`, NumPy and Python raise.
_DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, IndexError, KeyError, MemoryError, TypeError,
    ValueError, struct.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor as declared; `dynamic` are the axes that may vary, `data` a constant's elements."""

    name: str
    element: str
    shape: Shape
    dynamic: tuple[int, ...]
    quant: Affine | None
    data: Array | None

    @property
    def numpy_type(self) -> np.dtype[Any]:
        """Raises UnsupportedError for strings, complex numbers, 4-bit integers, resources."""
        if self.element not in _ELEMENTS:
            raise UnsupportedError(
                f"tensor '{self.name}': element type {self.element} is not supported; use float32 "
                "or int8"
            )
        native: np.dtype[Any] = np.dtype(_ELEMENTS[self.element]).newbyteorder("=")
        return native


@dataclass(frozen=True, eq=False)
class TfliteFile:
    """The main subgraph. Nodes name tensors of `tensors`, "" where an optional one is absent."""

    name: str
    tensors: Mapping[str, Tensor]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@cache
def names_of(enum: str) -> Mapping[int, str]:
    """Number -> name of an enumeration of the schema."""
    import tflite

    members = vars(getattr(tflite, enum))
    return {number: name for name, number in members.items() if isinstance(number, int)}


def read_file(data: bytes) -> TfliteFile:
    """Decodes the bytes of a file.

    Raises FormatError where they are no TFLite model or damaged, LimitError, UnsupportedError or
    GraphError.
    """
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise FormatError(f"not a TFLite file ({len(data)} bytes): no identifier TFL3 at byte 4")
    try:
        return _Reader(data).read()
    except OctavoError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"damaged TFLite model: {error}") from error


class _Reader:
    """Walks one file; `entries` counts what it has visited."""

    def __init__(self, data: bytes) -> None:
        import tflite

        self.data = data
        self.model: Any = tflite.Model.GetRootAs(data, 0)
        self.entries = 0

    def read(self) -> TfliteFile:
        if self.model.Version() != 3:
            raise UnsupportedError(f"TFLite schema version {self.model.Version()}; only 3 works")
        if not self.count(self.model.SubgraphsLength(), "subgraphs"):
            raise FormatError("the TFLite model has no subgraph")
        graph = self.model.Subgraphs(0)
        tensors = _short_names(self.tensors(graph), graph)
        names = [tensor.name for tensor in tensors]
        inputs = self.ports(graph.InputsLength(), graph.Inputs, names, "input")
        outputs = self.ports(graph.OutputsLength(), graph.Outputs, names, "output")
        nodes = tuple(self.nodes(graph, names))
        name = self.text(graph.Name()) or "graph"
        return TfliteFile(name, dict(zip(names, tensors, strict=True)), nodes, inputs, outputs)

    def count(self, length: int, what: str, limit: int = MAX_NODES) -> int:
        """A vector's length. Raises LimitError where it, or all of them together, is too long."""
        self.entries += length
        if length > limit or self.entries > MAX_ENTRIES:
            raise LimitError(f"the TFLite model has {length} {what}; the limit is {limit}")
        return length

    def text(self, found: bytes | None) -> str:
        """A string of the file. Raises LimitError for a long one."""
        raw = found or b""
        if len(raw) > MAX_NAME:
            raise LimitError(f"name {raw[:40]!r}… has {len(raw)} bytes, over {MAX_NAME}")
        return raw.decode("utf-8")

    def ports(self, length: int, item: Any, names: list[str], what: str) -> tuple[str, ...]:
        found = tuple(
            names[self.index(item(at), len(names), what)]
            for at in range(self.count(length, f"{what}s"))
        )
        if len(set(found)) != len(found) or (what == "output" and not found):
            raise GraphError(f"{what}s {list(found)} of the model are empty or repeated")
        return found

    def index(self, number: int, length: int, what: str) -> int:
        if not 0 <= number < length:
            raise FormatError(f"{what} {number} of {length}")
        return number

    def tensors(self, graph: Any) -> list[Tensor]:
        found: list[Tensor] = []
        taken: set[str] = set()
        for at in range(self.count(graph.TensorsLength(), "tensors")):
            raw = graph.Tensors(at)
            name = free_name(self.text(raw.Name()) or f"tensor_{at}", taken)
            taken.add(name)
            found.append(self.tensor(raw, name))
        return found

    def tensor(self, raw: Any, name: str) -> Tensor:
        rank = self.count(raw.ShapeLength(), "dimensions of one tensor", MAX_RANK)
        shape = tuple(int(raw.Shape(axis)) for axis in range(rank))
        if any(dim < 0 for dim in shape):
            raise FormatError(f"tensor '{name}': negative dimension in {shape}")
        dynamic: tuple[int, ...] = ()
        if raw.ShapeSignatureLength() == rank:
            dynamic = tuple(axis for axis in range(rank) if raw.ShapeSignature(axis) == -1)
        element = names_of("TensorType").get(raw.Type(), f"number {raw.Type()}")
        tensor = Tensor(name, element, shape, dynamic, self.quantization(raw, name), None)
        payload = self.payload(raw.Buffer(), name)
        if payload is None:
            return tensor
        if raw.Sparsity() is not None:
            raise UnsupportedError(f"tensor '{name}' is sparse; store the weights densely")
        return Tensor(name, element, shape, dynamic, tensor.quant, _elements(tensor, payload))

    def payload(self, number: int, name: str) -> memoryview | None:
        """The bytes of a buffer, None for the empty one that computed tensors have."""
        if number == 0:
            return None
        buffer = self.model.Buffers(
            self.index(number, self.model.BuffersLength(), f"tensor '{name}': buffer")
        )
        if buffer.Offset() > 1:  # beyond the flatbuffer itself, for files over 2 GB
            start, size = int(buffer.Offset()), int(buffer.Size())
            if start + size > len(self.data):
                raise FormatError(f"tensor '{name}': bytes {start} to {start + size} of the file")
            return memoryview(self.data)[start : start + size]
        return memoryview(buffer.DataAsNumpy()).cast("B") if buffer.DataLength() else None

    def quantization(self, raw: Any, name: str) -> Affine | None:
        found = raw.Quantization()
        if found is None or not found.ScaleLength():
            return None
        if found.DetailsType():
            raise UnsupportedError(
                f"tensor '{name}' has custom or blockwise quantization; use per-tensor or "
                "per-channel"
            )
        size = self.count(found.ScaleLength(), "scales of one tensor")
        scale = np.array(found.ScaleAsNumpy(), np.float32)
        points = np.array(found.ZeroPointAsNumpy()) if found.ZeroPointLength() else np.zeros(size)
        if points.size not in (1, size) or np.any(np.abs(points.astype(np.float64)) >= 2**31):
            raise FormatError(
                f"tensor '{name}': {size} scales, zero points {points.tolist()!r:.80}"
            )
        if size == 1 and points.size == 1:
            return Affine.per_tensor(float(scale[0]), int(points[0]))
        wide = np.broadcast_to(points.astype(np.int32), (size,)).copy()
        return Affine(scale, wide, int(found.QuantizedDimension()))

    def nodes(self, graph: Any, names: list[str]) -> Iterator[Node]:
        used: set[str] = set()
        for at in range(self.count(graph.OperatorsLength(), "operators")):
            raw = graph.Operators(at)
            op = self.op(raw.OpcodeIndex())
            inputs = self.operands(raw.InputsLength(), raw.Inputs, names, f"operator {at} ({op})")
            outputs = self.operands(raw.OutputsLength(), raw.Outputs, names, f"operator {at}")
            name = free_name((outputs[0] if outputs else "") or f"{op}_{at}", used)
            used.add(name)
            yield Node(name, op, inputs, outputs, options_of(raw, op, name))

    def op(self, number: int) -> str:
        code = self.model.OperatorCodes(
            self.index(number, self.model.OperatorCodesLength(), "operator code")
        )
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = names_of("BuiltinOperator").get(builtin, f"operator number {builtin}")
        return f"CUSTOM {self.text(code.CustomCode())}" if name == "CUSTOM" else name

    def operands(self, length: int, item: Any, names: list[str], what: str) -> tuple[str, ...]:
        numbers = [item(at) for at in range(self.count(length, "operands of one operator"))]
        return tuple(
            "" if number == -1 else names[self.index(number, len(names), f"{what}: tensor")]
            for number in numbers
        )


def _short_names(tensors: list[Tensor], graph: Any) -> list[Tensor]:
    """Converters join the names of everything that went into a computed tensor by ";". The first
    says enough where no other has it; inputs and outputs keep what callers know them by."""
    ports = {graph.Inputs(at) for at in range(graph.InputsLength())}
    ports |= {graph.Outputs(at) for at in range(graph.OutputsLength())}
    firsts = [tensor.name.partition(";")[0] for tensor in tensors]
    computed = Counter(first for first, t in zip(firsts, tensors, strict=True) if t.data is None)
    taken = {tensor.name for tensor in tensors}
    return [
        replace(tensor, name=first)
        if number not in ports
        and tensor.data is None
        and computed[first] == 1
        and first
        and first not in taken
        else tensor
        for number, (first, tensor) in enumerate(zip(firsts, tensors, strict=True))
    ]


def _elements(tensor: Tensor, payload: memoryview) -> Array:
    """The constant's elements, read-only; empty bytes of a type that has no use here."""
    if tensor.element not in _ELEMENTS:
        return np.frombuffer(b"", np.uint8)
    stored = np.dtype(_ELEMENTS[tensor.element])
    expected = math.prod(tensor.shape) * stored.itemsize
    if len(payload) != expected:
        raise FormatError(
            f"tensor '{tensor.name}': {len(payload)} bytes of data for shape {tensor.shape} of "
            f"{tensor.element}, which takes {expected}"
        )
    if stored == np.bool_:
        data = np.asarray(np.frombuffer(payload, np.uint8) != 0)
    else:
        data = np.frombuffer(payload, stored).astype(tensor.numpy_type, copy=False)
    shaped = data.reshape(tensor.shape)
    shaped.setflags(write=False)
    return shaped

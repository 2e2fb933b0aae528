# SPDX-License-Identifier: Apache-2.0
"""An ONNX file as plain Python: nodes, NumPy constants, declared inputs. Nothing is trusted.

Sizes are checked against the bytes that are really there before anything is allocated, and every
string is decoded here, so that later stages meet only well-typed data.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from octavo.errors import (
    FormatError,
    GraphError,
    InvalidArgumentError,
    LimitError,
    OctavoError,
    UnsupportedError,
)
from octavo.ir import METADATA_PREFIX, Array, Node
from octavo.ops.precision import ON_REQUEST, PRECISION_KEY

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto

MAX_NODES = 1 << 18
MAX_RANK = 8
MAX_NAME = 1024
#: Opsets of the default domain that the importer has been written against.
OPSETS = range(10, 24)

#: TensorProto.DataType -> (little-endian NumPy type, the repeated field that may hold it).
_ELEMENTS: Mapping[int, tuple[str, str]] = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
}
_OTHER_TYPES = {
    8: "string", 14: "complex64", 15: "complex128", 16: "bfloat16", 17: "float8e4m3fn",
    18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz", 21: "uint4", 22: "int4",
    23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}  # fmt: skip


@dataclass(frozen=True)
class InputSpec:
    """A declared model input; `dims` holds a number or the name of a symbol, None: rank unknown."""

    name: str
    element: np.dtype[Any]
    dims: tuple[int | str, ...] | None


@dataclass(frozen=True)
class Source:
    """A parsed model. An op outside ONNX's own domain carries it: "com.microsoft:QGemm"."""

    name: str
    opset: int
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def numpy_type(element: int, what: str) -> np.dtype[Any]:
    """The NumPy type of a TensorProto.DataType. Raises UnsupportedError naming `what`."""
    if element not in _ELEMENTS:
        known = _OTHER_TYPES.get(element, f"number {element}")
        raise UnsupportedError(f"{what}: element type {known} is not supported; use float32")
    return np.dtype(_ELEMENTS[element][0])


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The file's bytes. Raises InvalidArgumentError where it is not a readable regular file."""
    file = Path(path)
    try:
        if file.exists() and not file.is_file():  # a FIFO would block, a device never end
            raise InvalidArgumentError(f"'{file}' is not a regular file")
        return file.read_bytes()
    except OctavoError:
        raise
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"cannot read '{file}': {error}") from error


def parse_model(data: bytes) -> ModelProto:
    """ModelProto of the bytes. Raises FormatError where they are not an ONNX model."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, ValueError, RecursionError) as error:
        raise FormatError(f"not an ONNX file ({len(data)} bytes): {error}") from error
    if model.ir_version < 1 or not model.HasField("graph") or not model.opset_import:
        raise FormatError(f"not an ONNX model ({len(data)} bytes): no graph, version or opset")
    return model


def read_source(model: ModelProto) -> Source:
    """Decodes a ModelProto. Raises FormatError, GraphError, LimitError or UnsupportedError."""
    graph = model.graph
    if len(graph.node) > MAX_NODES:
        raise LimitError(f"graph has {len(graph.node)} nodes; the limit is {MAX_NODES}")
    if graph.sparse_initializer:
        raise UnsupportedError("sparse initializers are not supported; store the weights densely")
    constants: dict[str, Array] = {}
    for tensor in graph.initializer:
        name = _name(tensor.name)
        if name in constants:
            raise GraphError(f"initializer '{name}' is defined twice")
        constants[name] = decode_tensor(tensor, f"initializer '{name}'")
    inputs = tuple(_input(item) for item in graph.input if item.name not in constants)
    names = [spec.name for spec in inputs]
    if len(set(names)) != len(names):
        raise GraphError(f"graph '{graph.name}': an input is declared twice in {names}")
    outputs = tuple(_name(item.name) for item in graph.output)
    if not outputs or len(set(outputs)) != len(outputs):
        raise GraphError(f"graph '{graph.name}': outputs {list(outputs)} are empty or repeated")
    return Source(
        _name(graph.name) or "graph",
        _opset(model),
        _nodes(graph),
        constants,
        inputs,
        outputs,
        _metadata(model),
    )


def _metadata(model: ModelProto) -> dict[str, Any]:
    """The model's metadata entries that the exporter wrote: "octavo.<key>", JSON."""

    def refuse(number: str) -> None:
        raise ValueError(f"{number} is not JSON")

    found = {}
    for item in model.metadata_props:
        if not str(item.key).startswith(METADATA_PREFIX):
            continue
        try:
            value = json.loads(item.value, parse_constant=refuse)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"metadata '{item.key:.80}' is damaged: {error}") from error
        found[_name(item.key.removeprefix(METADATA_PREFIX))] = value
    return found


def _opset(model: ModelProto) -> int:
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    version = int(versions.get("ai.onnx", 0))
    if version not in OPSETS:
        raise UnsupportedError(
            f"opset {version} is not supported ({OPSETS[0]} to {OPSETS[-1]} are); "
            "convert with onnx.version_converter or export again"
        )
    return version


def _nodes(graph: GraphProto) -> tuple[Node, ...]:
    nodes: list[Node] = []
    used: set[str] = set()
    for index, proto in enumerate(graph.node):
        domain, op = _name(proto.domain), _name(proto.op_type)
        name = _name(proto.name) or f"{op}_{index}"
        op = op if domain in ("", "ai.onnx") else f"{domain}:{op}"
        while name in used:  # ONNX does not ask for unique node names; messages and plans do
            name = f"{name}_{index}"
        used.add(name)
        what = f"node '{name}' ({op})"
        attrs = {_name(item.name): _attribute(item, what) for item in proto.attribute}
        marks = {mark.key: mark.value for mark in proto.metadata_props}
        if marks.get(PRECISION_KEY) in ON_REQUEST:
            attrs[PRECISION_KEY] = marks[PRECISION_KEY]
        inputs, outputs = map(_name, proto.input), map(_name, proto.output)
        nodes.append(Node(name, op, tuple(inputs), tuple(outputs), attrs))
    return tuple(nodes)


def _name(text: str | bytes) -> str:
    if isinstance(text, bytes):  # how protobuf hands over a string that is not UTF-8
        raise FormatError(f"a name is not UTF-8 text: {text[:40]!r}")
    if len(text) > MAX_NAME:
        raise LimitError(f"name '{text[:40]}…' has {len(text)} characters, over {MAX_NAME}")
    return text


def _attribute(proto: AttributeProto, what: str) -> object:
    """int, float, str, array, tuple of those; None for what only unsupported operators use."""
    kind = proto.type
    if kind == 1:
        return float(proto.f)
    if kind == 2:
        return int(proto.i)
    if kind == 3:
        return proto.s.decode("utf-8")
    if kind == 4:
        return decode_tensor(proto.t, f"{what}: attribute '{proto.name}'")
    if kind == 6:
        return tuple(float(item) for item in proto.floats)
    if kind == 7:
        return tuple(int(item) for item in proto.ints)
    if kind == 8:
        return tuple(item.decode("utf-8") for item in proto.strings)
    if kind == 0:
        raise FormatError(f"{what}: attribute '{proto.name}' has no type")
    return None


def _input(proto: ValueInfoProto) -> InputSpec:
    name = _name(proto.name)
    if not proto.type.HasField("tensor_type"):
        raise UnsupportedError(f"input '{name}' is not a dense tensor")
    tensor = proto.type.tensor_type
    element = numpy_type(tensor.elem_type, f"input '{name}'")
    if not tensor.HasField("shape"):
        return InputSpec(name, element, None)
    dims: list[int | str] = []
    for axis, dim in enumerate(tensor.shape.dim):
        symbol = _name(dim.dim_param) or f"{name}_{axis}"
        dims.append(int(dim.dim_value) if dim.HasField("dim_value") else symbol)
    if len(dims) > MAX_RANK:
        raise LimitError(f"input '{name}' has rank {len(dims)}; the limit is {MAX_RANK}")
    return InputSpec(name, element, tuple(dims))


def decode_tensor(proto: TensorProto, what: str) -> Array:
    """The elements of a TensorProto, read-only.

    Raises FormatError where dims and data disagree, UnsupportedError for external data and for
    element types that the IR has no use for.
    """
    if proto.data_location == 1 or proto.external_data:
        raise UnsupportedError(
            f"{what} is stored in another file; save the model with all tensors inside"
        )
    dtype = numpy_type(proto.data_type, what)
    dims = tuple(int(dim) for dim in proto.dims)
    if len(dims) > MAX_RANK:
        raise LimitError(f"{what} has rank {len(dims)}; the limit is {MAX_RANK}")
    if any(dim < 0 for dim in dims):
        raise FormatError(f"{what}: negative dimension in {dims}")
    count = math.prod(dims)
    flat = _elements(proto, dtype, count, what)
    array: Array = flat.reshape(dims)
    array.setflags(write=False)
    return array


def _elements(proto: TensorProto, dtype: np.dtype[Any], count: int, what: str) -> Array:
    if proto.HasField("raw_data"):
        raw = proto.raw_data
        if len(raw) != count * dtype.itemsize:
            raise FormatError(
                f"{what}: {len(raw)} bytes of data for {count} elements of {dtype.itemsize} bytes"
            )
        if dtype == np.bool_:
            return np.asarray(np.frombuffer(raw, np.uint8) != 0)
        return np.frombuffer(raw, dtype).astype(dtype.newbyteorder("="), copy=False)
    field = getattr(proto, _ELEMENTS[proto.data_type][1])
    if len(field) != count:
        raise FormatError(f"{what}: {len(field)} elements of data for {count} in its dims")
    if dtype == np.float16:
        return np.asarray(field, np.uint16).view(np.float16)
    wide = np.asarray(field)
    narrow = wide.astype(dtype.newbyteorder("="))
    if dtype.kind in "iu" and not np.array_equal(wide, narrow):
        raise FormatError(f"{what}: an element does not fit {dtype}")
    return narrow

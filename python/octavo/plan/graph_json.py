# SPDX-License-Identifier: Apache-2.0
"""The `graph` section: the IR as JSON, with array elements in the shared constants pool."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError, OctavoError
from octavo.ir import DTYPES, Affine, Graph, Node, Quantization, Value, verify
from octavo.plan.encode import ConstantPool

__all__ = ["decode_graph", "encode_graph"]

Array = NDArray[Any]
VERSION = 1


def _encode_number(value: Any) -> Any:
    """JSON has no infinities; {"f": "inf"} stands for them."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"f": repr(value)}
    if isinstance(value, (list, tuple)):
        return [_encode_number(item) for item in value]
    return value


def _decode_number(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["f"])
    if isinstance(value, list):
        return tuple(_decode_number(item) for item in value)
    return value


def _store(array: Array, pool: ConstantPool) -> list[int]:
    """[offset, bytes] of an array's elements in the constants section."""
    offset, size, _ = pool.entry(pool.add(array))
    return [offset, size]


def _fetch(entry: Any, dtype: str, constants: memoryview) -> Array:
    """The elements at [offset, bytes]: a view of the constants section."""
    offset, size = entry
    if offset < 0 or size < 0 or offset + size > len(constants):
        raise FormatError(f"{size} bytes at {offset} lie outside the constants section")
    return np.frombuffer(constants[offset : offset + size], DTYPES[dtype])


def _encode_quant(quant: Quantization, pool: ConstantPool) -> dict[str, Any]:
    if not isinstance(quant, Affine):
        raise FormatError(f"{type(quant).__name__} quantization has no file form yet")
    if quant.axis is None:
        scale, zero_point = float(quant.scale.reshape(())), int(quant.zero_point.reshape(()))
        return {"kind": "affine", "scale": scale, "zero_point": zero_point}
    scales, zero_points = _store(quant.scale, pool), _store(quant.zero_point, pool)
    return {"kind": "affine", "scale": scales, "zero_point": zero_points, "axis": quant.axis}


def _decode_quant(entry: Any, constants: memoryview) -> Quantization:
    if entry["kind"] != "affine":
        raise FormatError(f"quantization kind '{entry['kind']}' is not known to this version")
    if "axis" not in entry:
        return Affine.per_tensor(float(entry["scale"]), int(entry["zero_point"]))
    scale = _fetch(entry["scale"], "f32", constants)
    return Affine(scale, _fetch(entry["zero_point"], "s32", constants), int(entry["axis"]))


def _encode_value(value: Value, pool: ConstantPool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": value.name, "dtype": value.dtype, "shape": list(value.shape)}
    if value.quant is not None:
        entry["quant"] = _encode_quant(value.quant, pool)
    if value.data is not None:
        entry["data"] = _store(value.data, pool)
    return entry


def encode_graph(graph: Graph, pool: ConstantPool) -> bytes:
    """JSON bytes of a graph; its constants are added to `pool`."""
    document = {
        "version": VERSION,
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "dynamic": graph.dynamic,
        "notes": graph.notes,
        **({"metadata": graph.metadata} if graph.metadata else {}),
        "values": [_encode_value(value, pool) for value in graph.values.values()],
        "nodes": [
            {
                "name": node.name,
                "op": node.op,
                "inputs": node.inputs,
                "outputs": node.outputs,
                "attrs": {key: _encode_number(value) for key, value in node.attrs.items()},
            }
            for node in graph.nodes
        ],
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False, default=list).encode()


def _decode_value(entry: Any, constants: memoryview) -> Value:
    dtype, shape = entry["dtype"], tuple(int(dim) for dim in entry["shape"])
    quant = _decode_quant(entry["quant"], constants) if "quant" in entry else None
    data = _fetch(entry["data"], dtype, constants).reshape(shape) if "data" in entry else None
    return Value(entry["name"], dtype, shape, quant, data)


def decode_graph(payload: memoryview, constants: memoryview) -> Graph:
    """The graph of a `graph` section; constant arrays are views of `constants`, not copies.

    Raises FormatError when the JSON is not a graph, and what `ir.verify` raises.
    """
    try:
        document = json.loads(bytes(payload))
        if document["version"] != VERSION:
            raise FormatError(f"graph section version {document['version']}; this reads {VERSION}")
        values = [_decode_value(entry, constants) for entry in document["values"]]
        nodes = tuple(
            Node(
                entry["name"],
                entry["op"],
                tuple(entry["inputs"]),
                tuple(entry["outputs"]),
                {key: _decode_number(value) for key, value in entry["attrs"].items()},
            )
            for entry in document["nodes"]
        )
        graph = Graph(
            document["name"],
            nodes,
            {value.name: value for value in values},
            tuple(document["inputs"]),
            tuple(document["outputs"]),
            {key: tuple(dims) for key, dims in document["dynamic"].items()},
            dict(document["notes"]),
            dict(document.get("metadata", {})),
        )
    except OctavoError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FormatError(f"the graph section is damaged: {error!r:.200}") from error
    return verify(graph)

# SPDX-License-Identifier: Apache-2.0
"""The `graph` section: the IR as deflated JSON, with array elements in the shared constants pool.

Version 1 is plain JSON and stores every array; it is still read, and digests are made of it.
"""

from __future__ import annotations

import json
import math
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError, LimitError, OctavoError
from octavo.ir import DTYPES, Affine, Graph, Node, Quantization, Value, verify
from octavo.plan.encode import ConstantPool
from octavo.plan.scales import ScaleTable, decode_scales, fetch

__all__ = ["decode_graph", "encode_graph", "graph_json"]

Array = NDArray[Any]
VERSION = 2
#: Bytes of JSON that a section may unfold to.
LIMIT = 64 << 20


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


def _encode_quant(
    quant: Quantization, pool: ConstantPool, table: ScaleTable | None
) -> dict[str, Any]:
    if not isinstance(quant, Affine):
        raise FormatError(f"{type(quant).__name__} quantization has no file form yet")
    if quant.axis is None:
        scale, zero_point = float(quant.scale.reshape(())), int(quant.zero_point.reshape(()))
        return {"kind": "affine", "scale": scale, "zero_point": zero_point}
    entry: dict[str, Any] = {"kind": "affine"}
    entry["scale"] = _store(quant.scale, pool) if table is None else table.add(quant.scale)
    if table is None or quant.zero_point.any():
        entry["zero_point"] = _store(quant.zero_point, pool)
    return {**entry, "axis": quant.axis}


def _decode_quant(entry: Any, constants: memoryview, scales: list[Array]) -> Quantization:
    if entry["kind"] != "affine":
        raise FormatError(f"quantization kind '{entry['kind']}' is not known to this version")
    if "axis" not in entry:
        return Affine.per_tensor(float(entry["scale"]), int(entry["zero_point"]))
    number = entry["scale"]
    if isinstance(number, int) and not 0 <= number < len(scales):
        raise FormatError(f"scale {number} of {len(scales)}")
    scale = scales[number] if isinstance(number, int) else fetch(number, np.float32, constants)
    if "zero_point" in entry:
        zero_point = fetch(entry["zero_point"], np.int32, constants)
    else:
        zero_point = np.zeros(scale.shape, np.int32)
    return Affine(scale, zero_point, int(entry["axis"]))


def _encode_value(value: Value, pool: ConstantPool, table: ScaleTable | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": value.name, "dtype": value.dtype, "shape": list(value.shape)}
    if value.quant is not None:
        entry["quant"] = _encode_quant(value.quant, pool, table)
    if value.data is not None:
        entry["data"] = _store(value.data, pool)
    return entry


def _scale_table(graph: Graph, pool: ConstantPool) -> ScaleTable:
    """All per-channel scales, those of biases after those of weights."""
    table = ScaleTable(pool)
    for value in sorted(graph.values.values(), key=lambda value: value.dtype == "s32"):
        if isinstance(value.quant, Affine) and value.quant.axis is not None:
            table.add(value.quant.scale, bias=value.dtype == "s32")
    return table


def _document(graph: Graph, pool: ConstantPool, table: ScaleTable | None) -> bytes:
    document = {
        "version": 1 if table is None else VERSION,
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "dynamic": graph.dynamic,
        "notes": graph.notes,
        **({"metadata": graph.metadata} if graph.metadata else {}),
        "values": [_encode_value(value, pool, table) for value in graph.values.values()],
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
        **({} if table is None else {"scales": table.entries}),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False, default=list).encode()


def graph_json(graph: Graph, pool: ConstantPool) -> bytes:
    """Version 1 of the section; its constants are added to `pool`. It depends on the graph only and
    stays as it is: calibration tables and searches on disk are known by digests of it."""
    return _document(graph, pool, None)


def encode_graph(graph: Graph, pool: ConstantPool) -> bytes:
    """The section of a graph whose plan has filled `pool`; its constants are added there.

    Raises LimitError beyond 64 MiB of JSON.
    """
    text = _document(graph, pool, _scale_table(graph, pool))
    if len(text) > LIMIT:
        raise LimitError(f"the graph takes {len(text):,} bytes of JSON; the limit is {LIMIT:,}")
    return zlib.compress(text, 9)


def _inflate(payload: memoryview) -> bytes:
    """The JSON of a section, of which no more than LIMIT bytes are ever unfolded."""
    if bytes(payload[:1]) == b"{":
        return bytes(payload)
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(payload, LIMIT + 1)
    except zlib.error as error:
        raise FormatError(f"the graph section is damaged: {error}") from error
    if len(text) > LIMIT:
        raise FormatError(f"the graph section unfolds to more than {LIMIT:,} bytes")
    if not stream.eof or stream.unused_data:
        raise FormatError("the graph section is damaged: its stream ends elsewhere")
    return text


def _decode_value(entry: Any, constants: memoryview, scales: list[Array]) -> Value:
    dtype, shape = entry["dtype"], tuple(int(dim) for dim in entry["shape"])
    quant = _decode_quant(entry["quant"], constants, scales) if "quant" in entry else None
    data = None
    if "data" in entry:
        data = fetch(entry["data"], DTYPES[dtype], constants).reshape(shape)
    return Value(entry["name"], dtype, shape, quant, data)


def decode_graph(payload: memoryview, constants: memoryview) -> Graph:
    """The graph of a `graph` section; constant arrays are views of `constants`, not copies.

    Raises FormatError when the section is not a graph, and what `ir.verify` raises.
    """
    try:
        document = json.loads(_inflate(payload))
        if document["version"] not in (1, VERSION):
            raise FormatError(
                f"graph section version {document['version']}; this reads 1 and {VERSION}"
            )
        scales = decode_scales(document.get("scales", ()), constants)
        values = [_decode_value(entry, constants, scales) for entry in document["values"]]
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

# SPDX-License-Identifier: Apache-2.0
"""In which numbers a node computes: its types say so, and the attribute `precision` of a layer.

Without the attribute 8-bit values mean "int8". A Conv or Linear between float32 values with 8-bit
weights computes in float32 ("weights"); the attribute keeps one from becoming int8 although its
neighbours are, or lets it quantize its activations on the fly ("dynamic", "dynamic_row").
"""

from __future__ import annotations

from octavo.ir import Graph, Node

#: Ops with constant weights, the only ones that take the attribute.
LAYERS = frozenset(("Conv", "Linear"))
#: Under which an ONNX node's metadata hold the attribute.
PRECISION_KEY = "octavo.precision"
#: Values of the attribute `precision` that quantize activations on the fly.
DYNAMIC = frozenset(("dynamic", "dynamic_row"))
#: All its values.
ON_REQUEST = DYNAMIC | {"weights"}


def requested(node: Node) -> str | None:
    """The attribute `precision` of a layer, if it has one."""
    found = node.attrs.get("precision")
    return None if found is None else str(found)


def executed(graph: Graph, node: Node) -> str:
    """How reports call what an optimized graph does at a node: "int8", "int16", "dynamic int8",
    "weights int8", or the type of the output ("float32" for f32)."""
    y = graph.values[node.outputs[0]]
    if node.op in LAYERS and "s16" in (y.dtype, graph.values[node.inputs[0]].dtype):
        return "int16"
    if y.is_8bit:
        return "int8"
    if requested(node) in DYNAMIC:
        return "dynamic int8"
    if node.op in LAYERS and graph.values[node.inputs[1]].is_8bit:
        return "int8" if graph.values[node.inputs[0]].is_8bit else "weights int8"
    return {"f32": "float32", "s16": "int16"}.get(y.dtype, y.dtype)

# SPDX-License-Identifier: Apache-2.0
"""Nodes that change nothing disappear; reshapes in a row become one.

before: x -> Reshape -> Flatten -> Clip(-inf, inf) -> y;  after: x -> Reshape -> y
"""

from __future__ import annotations

import math

from octavo.ir import Affine, Graph, Node, Shape, Value
from octavo.ops.attrs import clamp
from octavo.passes.editor import REDIMENSION, Editor
from octavo.quant import QRANGE, clamp_bounds


def remove_identity(graph: Graph) -> Graph:
    """One sweep in topological order; a node that a model input or output needs stays."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes[name]
        if node.op in REDIMENSION:
            node = _merge_reshapes(e, node)
        if _is_identity(e, node):
            e.bypass(node)
    return e.finish()


def _is_identity(e: Editor, node: Node) -> bool:
    if not node.inputs or not node.inputs[0] or len(node.outputs) != 1:
        return False
    x, y = e.values[node.inputs[0]], e.values[node.outputs[0]]
    if not same_type(x, y):
        return False
    attrs = node.attrs
    if node.op in ("QuantCast", "Requantize"):
        return True
    if node.op in REDIMENSION:
        return x.shape == y.shape
    if node.op == "Transpose":
        return tuple(attrs["perm"]) == tuple(range(len(x.shape)))
    if node.op == "Concat":
        return len(node.inputs) == 1
    if node.op == "Pad":
        return not any((*attrs["begin"], *attrs["end"]))
    if node.op == "Slice":
        return x.shape == y.shape and all(step > 0 for step in attrs["steps"])
    return node.op == "Clip" and _clips_nothing(node, y)


def same_type(x: Value, y: Value) -> bool:
    """True when both have the same element type and quantization parameters."""
    if x.quant is None or y.quant is None:
        return x.dtype == y.dtype and x.quant is y.quant
    return x.dtype == y.dtype and isinstance(x.quant, Affine) and x.quant.same(y.quant)


def _clips_nothing(node: Node, y: Value) -> bool:
    bounds = (float(node.attrs["lo"]), float(node.attrs["hi"]))
    if y.is_8bit:
        return clamp_bounds(bounds, y.scale, y.zero_point, y.dtype) == QRANGE[y.dtype]
    return bounds == (-math.inf, math.inf) and clamp(node) is None


def _merge_reshapes(e: Editor, node: Node) -> Node:
    """The node, reading past a reshape before it."""
    before = e.producers.get(node.inputs[0])
    if before is None or before.op not in REDIMENSION:
        return node
    source, target = e.values[before.inputs[0]].shape, e.values[node.outputs[0]].shape
    shape = _batch_free(e, source, e.values[node.inputs[0]].shape, target)
    if shape is None:
        return node
    return e.change(node, op="Reshape", inputs=before.inputs, attrs={"shape": shape})


def _batch_free(e: Editor, *shapes: Shape) -> Shape | None:
    """The last of these shapes as a Reshape target that lets a batch in front vary.

    None where the first dimension is symbolic and not kept by every step.
    """
    target = shapes[-1]
    if all(shape[:1] == target[:1] != () for shape in shapes):
        return (0, *target[1:])
    return None if e.graph.dynamic else target

# SPDX-License-Identifier: Apache-2.0
"""Layer normalization written out, as exporters before opset 17 do.

before: d = x - mean(x); d / sqrt(mean(d * d) + epsilon) * scale + bias;  after: LayerNorm(x)
"""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Value, constant
from octavo.passes.editor import Editor
from octavo.passes.fuse_gelu import scalar


def fuse_layer_norm(graph: Graph) -> Graph:
    """Over the last axis, with constant scale and bias of its length (or absent)."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is not None and node.op == "Div":
            _fuse(e, node)
    return e.finish()


def _fuse(e: Editor, division: Node) -> None:
    found = _normalized(e, division)
    if found is None:
        return
    x, epsilon = found
    channels = e.values[x].shape[-1]
    last, scale = _parameter(e, division, "Mul", channels)
    last, bias = _parameter(e, last, "Add", channels)
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    inputs = (
        x,
        e.add_value(constant(f"{division.name}/scale", ones if scale is None else scale)).name,
        e.add_value(constant(f"{division.name}/bias", zeros if bias is None else bias)).name,
    )
    y = last.outputs[0]
    e.drop(last)
    name = e.fresh_node(f"{division.name}/layer_norm")
    e.insert(Node(name, "LayerNorm", inputs, (y,), {"epsilon": epsilon}))


def _normalized(e: Editor, division: Node) -> tuple[str, float] | None:
    """(x, epsilon) of (x - mean) / sqrt(variance + epsilon), else None."""
    root = e.producer(division.inputs[1], "Sqrt")
    total = e.producer(root.inputs[0], "Add") if root is not None else None
    if total is None or division.attrs.get("clamp") is not None:
        return None
    for index in (0, 1):
        epsilon = scalar(e, total.inputs[index])
        variance = e.producer(total.inputs[1 - index], "ReduceMean")
        if epsilon is None or epsilon <= 0 or variance is None or not _over_last(e, variance):
            continue
        square = e.producer(variance.inputs[0], "Mul")
        if square is None or square.inputs[0] != square.inputs[1]:
            continue
        x = _centred(e, division.inputs[0])
        if x is not None and x == _centred(e, square.inputs[0]):
            return x, epsilon
    return None


def _over_last(e: Editor, mean: Node) -> bool:
    rank = len(e.values[mean.inputs[0]].shape)
    axes = tuple(axis % rank for axis in mean.attrs.get("axes", range(rank)))
    return axes == (rank - 1,) and bool(mean.attrs.get("keepdims", True))


def _centred(e: Editor, name: str) -> str | None:
    """x of x - mean(x)."""
    node = e.producer(name, "Sub")
    mean = e.producer(node.inputs[1], "ReduceMean") if node is not None else None
    if node is None or mean is None or mean.inputs[0] != node.inputs[0]:
        return None
    return node.inputs[0] if _over_last(e, mean) else None


def _parameter(
    e: Editor, node: Node, op: str, channels: int
) -> tuple[Node, np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None]:
    """The `op` behind `node` with a constant per channel, and that constant; else `node`, None."""
    reader = e.sole_reader(node.outputs[0])
    if reader is None or reader.op != op or reader.attrs.get("clamp") is not None:
        return node, None
    for name in reader.inputs:
        value: Value = e.values[name]
        if value.data is None or value.dtype != "f32" or len(value.shape) > 1:
            continue
        if value.size in (1, channels):
            return reader, np.broadcast_to(value.data.reshape(-1), (channels,)).copy()
    return node, None

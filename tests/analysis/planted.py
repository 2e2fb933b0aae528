# SPDX-License-Identifier: Apache-2.0
"""Faults for quantized models: each changes the parameters or weights of one node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

import octavo
from octavo.ir import Affine, Graph, Node, Value

Change = Callable[[Value], Value]


def _affine(value: Value, factor: float = 1.0, shift: int = 0) -> Value:
    scale = (value.affine.scale * np.float32(factor)).astype(np.float32)
    zero_point = np.clip(value.affine.zero_point + shift, 0, 255).astype(np.int32)
    return replace(value, quant=Affine(scale, zero_point, value.affine.axis))


def _one_large_scale(value: Value) -> Value:
    scale = value.affine.scale.copy()
    scale[scale.size // 2] *= np.float32(100.0)
    return replace(value, quant=Affine(scale, value.affine.zero_point, value.affine.axis))


def _zeros(value: Value) -> Value:
    return replace(value, data=np.zeros_like(value.data))


#: name -> (where: the node's "output" or its "weights", change)
FAULTS: dict[str, tuple[str, Change]] = {
    "scale too small": ("output", lambda value: _affine(value, 0.02)),
    "scale too large": ("output", lambda value: _affine(value, 60.0)),
    "zero point": ("output", lambda value: _affine(value, 1.0, 240)),
    "weights zeroed": ("weights", _zeros),
    "weight scales": ("weights", lambda value: _affine(value, 4.0)),
    "outlier channel": ("weights", _one_large_scale),
}


def stored_name(graph: Graph, node: Node, where: str) -> str:
    """The 8-bit value of a node's output or weights in a QDQ graph."""
    if where == "weights":
        return graph.producers[node.inputs[1]].inputs[0]
    return next(
        reader.outputs[0]
        for reader in graph.consumers[node.outputs[0]]
        if reader.op == "QuantizeLinear"
    )


def plant(model: octavo.Model, node_name: str, fault: str) -> octavo.Model:
    """The model with a fault in one node."""
    graph = model.source
    (node,) = [node for node in graph.nodes if node.name == node_name]
    where, change = FAULTS[fault]
    name = stored_name(graph, node, where)
    values = {**graph.values, name: change(graph.values[name])}
    return octavo.Model(graph.with_(values=values), reference=model.reference)


def candidates(model: octavo.Model, fault: str) -> list[str]:
    """The nodes that can have a fault: layers, and for their outputs additions, too."""
    ops = ("Conv", "Linear") if FAULTS[fault][0] == "weights" else ("Conv", "Linear", "Add")
    return [node.name for node in model.source.nodes if node.op in ops]

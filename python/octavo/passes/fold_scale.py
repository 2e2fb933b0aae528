# SPDX-License-Identifier: Apache-2.0
"""A product with one number goes into the weights before it: the scaling of attention scores.

before: (Linear(x, w, b) @ k) / 8;  after: Linear(x, w / 8, b / 8) @ k
"""

from __future__ import annotations

import numpy as np

from octavo.ir import Graph, Node, Value, constant
from octavo.passes.editor import REDIMENSION, Editor
from octavo.passes.fuse_gelu import scalar


def fold_scale(graph: Graph) -> Graph:
    """Through Transpose, Reshape and the first factor of MatMul, to a Linear in float32."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is None or node.op not in ("Mul", "Div") or node.attrs.get("clamp") is not None:
            continue
        for index in (1, 0) if node.op == "Mul" else (1,):
            number, x = scalar(e, node.inputs[index]), node.inputs[1 - index]
            same = e.values[x].shape == e.values[node.outputs[0]].shape
            if number is None or number == 0 or not same:
                continue
            layer = _layer(e, x)
            if layer is not None and e.bypass(_only_input(e, node, x)):
                factor = np.float32(number if node.op == "Mul" else 1.0 / number)
                _scale(e, layer, factor)
            break
    return e.finish()


def _only_input(e: Editor, node: Node, x: str) -> Node:
    return e.change(node, inputs=(x, *(name for name in node.inputs if name != x)))


def _layer(e: Editor, name: str) -> Node | None:
    """The Linear that a value comes from, if nothing else reads what lies between."""
    while e.sole_reader(name) is not None:
        node = e.producers.get(name)
        if node is None or node.attrs.get("clamp") is not None:
            return None
        if node.op == "Linear":
            return node if all(_is_real(e, item) for item in node.inputs[1:] if item) else None
        if node.op not in REDIMENSION | {"MatMul", "Transpose"}:
            return None
        name = node.inputs[0]
    return None


def _is_real(e: Editor, name: str) -> bool:
    value = e.values[name]
    return value.data is not None and value.dtype == "f32"


def _scale(e: Editor, layer: Node, factor: np.float32) -> None:
    def scaled(value: Value) -> Value:
        return constant(f"{value.name}/scaled", np.asarray(value.data) * factor)

    names = [e.map_constant(name, scaled) if name else "" for name in layer.inputs[1:]]
    e.change(e.nodes[layer.name], inputs=(layer.inputs[0], *names))

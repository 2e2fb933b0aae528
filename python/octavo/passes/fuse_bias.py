# SPDX-License-Identifier: Apache-2.0
"""A constant added right after a layer without bias becomes its bias.

before: Add(Linear(x, w), b [N]);  after: Linear(x, w, b)
"""

from __future__ import annotations

import math

from octavo.ir import Graph, Node, constant
from octavo.passes.editor import Editor


def fuse_bias(graph: Graph) -> Graph:
    """Float constants only, one number per output channel; exporters write MatMul + Add so."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is not None and node.op == "Add":
            for index in (0, 1):
                if _fuse(e, node, node.inputs[index], node.inputs[1 - index]):
                    break
    return e.finish()


def _fuse(e: Editor, node: Node, product: str, bias: str) -> bool:
    before = e.producers.get(product)
    if before is None or before.op not in ("Conv", "Linear") or e.sole_reader(product) is None:
        return False
    if len([name for name in before.inputs if name]) != 2 or before.attrs.get("clamp") is not None:
        return False
    value, y = e.values[bias], e.values[node.outputs[0]]
    channels = e.values[product].shape[-1]
    fits = value.shape[-1:] == (channels,) and math.prod(value.shape) == channels
    if value.data is None or value.dtype != "f32" or not fits or y.shape != e.values[product].shape:
        return False
    vector = e.add_value(constant(f"{before.name}/bias", value.data.reshape(-1)))
    clamp = node.attrs.get("clamp")
    e.drop(node)
    e.drop(before)
    attrs = {**before.attrs, **({} if clamp is None else {"clamp": clamp})}
    inputs = (*before.inputs[:2], vector.name)
    e.insert(Node(before.name, before.op, inputs, node.outputs, attrs))
    return True

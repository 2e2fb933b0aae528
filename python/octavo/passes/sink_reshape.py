# SPDX-License-Identifier: Apache-2.0
"""Moves reshapes below elementwise ops, so that activations meet the layer they belong to.

before: Conv -> Squeeze -> Relu -> Unsqueeze -> Conv   (a 1-D network)
after:  Conv -> Relu -> Squeeze -> Unsqueeze -> Conv   (and the last two cancel)
"""

from __future__ import annotations

from collections import deque

from octavo.ir import Graph, Node
from octavo.passes.editor import REDIMENSION, Editor
from octavo.passes.layout import BINARY, is_elementwise


def sink_reshape(graph: Graph) -> Graph:
    """Through binary ops where both sides are reshaped alike, or one side is a single number."""
    e = Editor(graph)
    queue = deque(name for name, node in e.nodes.items() if node.op in REDIMENSION)
    while queue:
        name = queue.popleft()
        if name not in e.nodes:
            continue
        y = e.nodes[name].outputs[0]
        for reader in [item.name for item in e.readers(y)]:
            moved = _sink(e, e.nodes[name], e.nodes[reader]) if reader in e.nodes else None
            if moved is not None:
                queue.append(moved.name)
        if not e.readers(y) and y not in e.outputs:
            e.drop(e.nodes[name])
    return e.finish()


def _sink(e: Editor, node: Node, reader: Node) -> Node | None:
    """The reshape behind `reader`, or None where it cannot pass."""
    if is_elementwise(reader):
        inputs: list[str] | None = [node.inputs[0]]
    elif reader.op in BINARY:
        inputs = _both_sides(e, node, reader)
    else:
        return None
    if inputs is None:
        return None
    e.drop(reader)
    y = e.values[reader.outputs[0]]
    moved = e.add(reader.op, reader.name, inputs, reader.attrs, like=y, output=f"{y.name}/moved")
    name = e.fresh_node(f"{reader.name}/reshape")
    return e.insert(Node(name, node.op, (moved.name,), (y.name,), node.attrs))


def _both_sides(e: Editor, node: Node, reader: Node) -> list[str] | None:
    before, after = e.values[node.inputs[0]].shape, e.values[node.outputs[0]].shape
    inputs: list[str] = []
    for name in reader.inputs:
        source, value = e.producers.get(name), e.values[name]
        reshaped = source is not None and source.op in REDIMENSION
        if source is not None and reshaped and value.shape == after:
            if e.values[source.inputs[0]].shape != before:
                return None
            inputs.append(source.inputs[0])
        elif value.data is not None and value.size == 1 and len(value.shape) <= len(before):
            inputs.append(name)
        else:
            return None
    return inputs

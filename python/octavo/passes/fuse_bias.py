# SPDX-License-Identifier: Apache-2.0
"""A constant added right after a layer without bias becomes its bias.

before: Add(Linear(x, w), b [N]);  after: Linear(x, w, b)
"""

from __future__ import annotations

from octavo.ir import Graph, Node, constant
from octavo.passes.editor import Editor


def fuse_bias(graph: Graph) -> Graph:
    """One constant number per output channel, in float32 or as an s32 bias behind DequantizeLinear;
    exporters write MatMul + Add so."""
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
    y = e.values[node.outputs[0]]
    channels = e.values[product].shape[-1]
    vector = _vector(e, bias, channels, f"{before.name}/bias")
    if vector is None or y.shape != e.values[product].shape:
        return False
    clamp = node.attrs.get("clamp")
    e.drop(node)
    e.drop(before)
    attrs = {**before.attrs, **({} if clamp is None else {"clamp": clamp})}
    inputs = (*before.inputs[:2], vector)
    e.insert(Node(before.name, before.op, inputs, node.outputs, attrs))
    return True


def _vector(e: Editor, name: str, channels: int, title: str) -> str | None:
    """The constant as a vector, one number per channel; None where it is something else."""
    stored = e.stored_constant(name)
    if stored is None or stored.data is None:
        return None
    if stored.name != name:  # of QDQ models only what is a bias already
        return name if stored.dtype == "s32" and stored.shape == (channels,) else None
    if stored.dtype != "f32" or stored.shape[-1:] != (channels,) or stored.size != channels:
        return None
    return e.add_value(constant(title, stored.data.reshape(-1))).name

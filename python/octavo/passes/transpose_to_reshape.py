# SPDX-License-Identifier: Apache-2.0
"""A Transpose that only moves axes of length 1 moves no byte: it is a Reshape.

before: [N,1,1,C] -> Transpose(0,3,1,2);  after: [N,1,1,C] -> Reshape(0,C,1,1)
"""

from __future__ import annotations

from octavo.ir import Graph
from octavo.passes.editor import Editor
from octavo.passes.layout import perm_of


def transpose_to_reshape(graph: Graph) -> Graph:
    """Axis 0 counts as longer than 1 where the model has symbolic dimensions."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes[name]
        if node.op != "Transpose":
            continue
        shape, perm = e.values[node.inputs[0]].shape, perm_of(node)
        long = [axis for axis in perm if shape[axis] != 1 or (axis == 0 and e.graph.dynamic)]
        if long != sorted(long):
            continue
        target = [shape[axis] for axis in perm]
        if perm[:1] == (0,):
            target[0] = 0
        elif e.graph.dynamic:
            continue
        e.change(node, op="Reshape", attrs={"shape": tuple(target)})
    return e.finish()

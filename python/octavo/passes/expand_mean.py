# SPDX-License-Identifier: Apache-2.0
"""A mean that belongs to no layer normalization becomes an average pool, which has an 8-bit form.

before: ReduceMean(x [N, M, K], axis 2);  after: Reshape(GlobalAveragePool(T(x) as [N, 1, K, M]))
"""

from __future__ import annotations

import math

from octavo.ir import Graph, Node
from octavo.passes.editor import Editor


def expand_mean(graph: Graph) -> Graph:
    """Means over the last axis that keep it as a dim of 1: the others are imported as pools."""
    e = Editor(graph)
    for node in list(e.nodes.values()):
        shape = e.values[node.inputs[0]].shape if node.op == "ReduceMean" else ()
        last = len(shape) - 1
        kept = bool(node.attrs.get("keepdims", True))
        if last < 1 or not kept or tuple(a % len(shape) for a in node.attrs["axes"]) != (last,):
            continue
        e.drop(node)
        perm = (0, last, *range(1, last))
        x = e.add("Transpose", f"{node.name}/permuted", node.inputs[:1], {"perm": perm})
        rest = math.prod(shape[1:-1])
        image = {"shape": (0, 1, shape[-1], rest)}
        x = e.add("Reshape", f"{node.name}/image", [x.name], image)
        x = e.add("GlobalAveragePool", node.name, [x.name])
        target = {"shape": (0, *shape[1:-1], 1)}
        name = e.fresh_node(f"{node.name}/shape")
        e.insert(Node(name, "Reshape", (x.name,), node.outputs, target))
    return e.finish()

# SPDX-License-Identifier: Apache-2.0
"""Clip becomes the fused activation of the op before it.

before: Clip(Conv(x, w), 0, 6);  after: Conv(x, w, clamp=(0, 6))
"""

from __future__ import annotations

from octavo.ir import Graph, Node
from octavo.ops.attrs import Clamp, clamp
from octavo.passes.editor import Editor
from octavo.passes.remove_identity import same_type

#: Ops with the attribute `clamp`.
CLAMPABLE = frozenset(("Add", "Conv", "Div", "Linear", "Mul", "Sub"))


def fuse_clamp(graph: Graph) -> Graph:
    """Where the unclipped value has no other reader and is no model output.

    On 8-bit values both sides must have the same parameters: rounding is monotone, so clamping the
    stored numbers equals clamping the real ones (docs/numerics.md).
    """
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes[name]
        before = e.producers.get(node.inputs[0]) if node.op == "Clip" else None
        if before is None or before.op not in CLAMPABLE:
            continue
        x, y = e.values[node.inputs[0]], e.values[node.outputs[0]]
        if e.sole_reader(x.name) is None or not same_type(x, y):
            continue
        bounds = compose(clamp(before), (float(node.attrs["lo"]), float(node.attrs["hi"])))
        e.drop(node)
        e.drop(before)
        attrs = {**before.attrs, "clamp": bounds}
        e.insert(Node(before.name, before.op, before.inputs, node.outputs, attrs))
    return e.finish()


def compose(first: Clamp | None, second: Clamp) -> Clamp:
    """One clamp that equals `first`, then `second`."""
    if first is None:
        return second
    lo, hi = second
    return min(max(first[0], lo), hi), min(max(first[1], lo), hi)

# SPDX-License-Identifier: Apache-2.0
"""A Transpose before the flattening in front of a linear layer goes into its weights.

before: x NHWC -> T(nchw) -> Flatten -> Linear(w [O, C*H*W]);  after: x -> Flatten -> Linear(w')

Elementwise ops and Q/DQ may stand between Flatten and Linear.
"""

from __future__ import annotations

import numpy as np

from octavo.ir import Affine, Graph, Node, Shape, Value, constant
from octavo.passes.editor import REDIMENSION, Editor
from octavo.passes.layout import is_elementwise, perm_of


def permute_linear(graph: Graph) -> Graph:
    """Only where every reader of the flattened tensor is such a layer."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes[name]
        if node.op not in REDIMENSION:
            continue
        before = e.producer(node.inputs[0], "Transpose")
        if before is None or perm_of(before)[:1] != (0,):
            continue
        mid, flat = e.values[before.outputs[0]].shape, e.values[node.outputs[0]].shape
        if len(flat) != 2 or flat[0] != mid[0]:
            continue
        layers = _layers(e, node.outputs[0])
        if layers:
            for layer in layers:
                _permute(e, layer, mid, perm_of(before))
            shape = {"shape": (0, flat[1])}
            e.change(node, op="Reshape", inputs=(before.inputs[0],), attrs=shape)
    return e.finish()


def _layers(e: Editor, name: str) -> list[Node]:
    """The Linear nodes that read a value through elementwise ops; [] if anything else does."""
    found: list[Node] = []
    pending = [name]
    while pending:
        current = pending.pop()
        readers = e.readers(current)
        if current in e.outputs or not readers:
            return []
        for reader in readers:
            if is_elementwise(reader):
                pending.append(reader.outputs[0])
            elif reader.op == "Linear" and reader.inputs[0] == current and _permutable(e, reader):
                found.append(reader)
            else:
                return []
    return found


def _permutable(e: Editor, layer: Node) -> bool:
    stored = e.stored_constant(layer.inputs[1])
    if stored is None:
        return False
    return not isinstance(stored.quant, Affine) or stored.quant.axis in (None, 0)


def _permute(e: Editor, layer: Node, mid: Shape, perm: tuple[int, ...]) -> None:
    """Columns of the weights from the order of `mid` to the order before the Transpose."""
    undo = tuple(perm.index(axis) for axis in range(len(perm)))

    def columns(stored: Value) -> Value:
        data = np.asarray(stored.data)
        wide = data.reshape(data.shape[0], *mid[1:]).transpose(undo)
        return constant(f"{stored.name}/nhwc", wide.reshape(data.shape), stored.quant)

    w = e.map_constant(layer.inputs[1], columns)
    e.change(layer, inputs=(layer.inputs[0], w, *layer.inputs[2:]))

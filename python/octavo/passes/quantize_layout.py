# SPDX-License-Identifier: Apache-2.0
"""The layout change at a model's input is done while quantizing it: one pass over the pixels.

before: x -> QuantizeLinear -> Transpose(0,2,3,1), or x -> Transpose(0,2,3,1) -> QuantizeLinear
after:  x -> QuantizeLinear(perm=(0,2,3,1)), for a model input x
"""

from __future__ import annotations

from octavo.ir import Graph, Node, Shape
from octavo.passes.editor import Editor
from octavo.passes.layout import perm_of

_TO_NHWC = (0, 2, 3, 1)


def quantize_layout(graph: Graph) -> Graph:
    """Only nodes at model inputs: in between, bytes are cheaper to move than floats."""
    e = Editor(graph)
    for name in graph.inputs:
        for reader in e.readers(name):
            if reader.op == "QuantizeLinear" and "perm" not in reader.attrs:
                _quantize_first(e, reader)
            elif _permutation(e, reader) is not None:
                _transpose_first(e, reader)
    return e.finish()


def _quantize_first(e: Editor, quantize: Node) -> None:
    follower = e.sole_reader(quantize.outputs[0])
    perm = _permutation(e, follower) if follower is not None else None
    if follower is None or perm is None:
        return
    e.drop(follower)
    e.change(quantize, outputs=follower.outputs, attrs={**quantize.attrs, "perm": perm})


def _transpose_first(e: Editor, transpose: Node) -> None:
    perm = _permutation(e, transpose)
    readers = e.readers(transpose.outputs[0])
    ours = all(r.op == "QuantizeLinear" and "perm" not in r.attrs for r in readers)
    if not ours or transpose.outputs[0] in e.outputs:
        return
    e.drop(transpose)
    for reader in readers:
        e.change(reader, inputs=transpose.inputs, attrs={**reader.attrs, "perm": perm})


def _permutation(e: Editor, node: Node) -> tuple[int, ...] | None:
    """The axis order of a Transpose, or of a Reshape that is the NHWC form of one channel."""
    if node.op == "Transpose":
        return perm_of(node)
    before, after = e.values[node.inputs[0]].shape, e.values[node.outputs[0]].shape
    if node.op == "Reshape" and _one_channel(before, after):
        return _TO_NHWC
    return None


def _one_channel(before: Shape, after: Shape) -> bool:
    return len(before) == 4 and before[1] == 1 and after == tuple(before[axis] for axis in _TO_NHWC)

# SPDX-License-Identifier: Apache-2.0
"""Brings Q and DQ next to arithmetic: through ops that move or select elements.

before: Conv -> MaxPool -> Q,  DQ -> Flatten -> Linear
after:  Conv -> Q -> MaxPool,  Flatten -> DQ -> Linear

Both directions are exact: these ops commute with any monotone function of the elements.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from octavo import quant
from octavo.ir import Graph, Node, Value
from octavo.ops.attrs import number
from octavo.passes.editor import REDIMENSION, Editor
from octavo.passes.remove_identity import same_type

#: Ops with one data input whose output elements are input elements (or a constant border).
_MOVES = REDIMENSION | {"MaxPool", "Pad", "Slice", "Transpose"}
#: Those that move s16, too.
_WIDE_MOVES = REDIMENSION | {"Slice", "Transpose"}


def merge_equal(graph: Graph) -> Graph:
    """Q or DQ nodes of the same input and parameters become one.

    before: a = Q(x, p), b = Q(x, p);  after: a = Q(x, p) for both
    """
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is None or node.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        value = e.values[node.outputs[0]]
        for other in e.readers(node.inputs[0]):
            twin = e.values[other.outputs[0]]
            distinct = other.name != node.name and other.op == node.op and other.attrs == node.attrs
            if distinct and twin.name not in e.outputs and same_type(value, twin):
                e.drop(other)
                e.redirect(twin.name, value.name)
    return e.finish()


def cancel_qdq(graph: Graph) -> Graph:
    """Quantizing what was just dequantized.

    before: Q(DQ(x), p);  after: x where the parameters are equal, else Requantize(x, p)
    """
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is None or node.op != "QuantizeLinear":
            continue
        source = e.producer(node.inputs[0], "DequantizeLinear")
        if source is None or not e.values[source.inputs[0]].is_quantized:
            continue
        stored, target = e.values[source.inputs[0]], e.values[node.outputs[0]]
        if "s16" in (stored.dtype, target.dtype) and not same_type(stored, target):
            continue  # no table has so many entries: through float32
        moved = e.change(node, op="Requantize", inputs=source.inputs)
        if same_type(e.values[moved.inputs[0]], e.values[moved.outputs[0]]):
            e.bypass(moved)
    return e.finish()


def push_dequantize_down(graph: Graph) -> Graph:
    """before: MaxPool(DQ(x));  after: DQ(MaxPool(x)). Constants keep their DQ."""
    e = Editor(graph)
    queue = deque(name for name, node in e.nodes.items() if node.op == "DequantizeLinear")
    while queue:
        node = e.nodes.get(queue.popleft())
        if node is None or e.values[node.inputs[0]].data is not None:
            continue
        for reader in e.readers(node.outputs[0]):
            if _dequantize_passes(e, reader):
                queue.append(_swap_down(e, reader).name)
        if not e.readers(node.outputs[0]) and node.outputs[0] not in e.outputs:
            e.drop(node)
    return e.finish()


def _dequantize_passes(e: Editor, reader: Node) -> bool:
    if reader.op not in _MOVES and reader.op != "Concat":
        return False
    sources = [e.producer(name, "DequantizeLinear") for name in reader.inputs if name]
    stored = [e.values[source.inputs[0]] for source in sources if source is not None]
    if len(stored) != len(sources) or not all(value.is_quantized for value in stored):
        return False
    if not all(value.is_8bit for value in stored) and reader.op not in _WIDE_MOVES:
        return False
    if any(value.affine.axis is not None for value in stored):
        return False
    if not all(same_type(stored[0], value) for value in stored[1:]):
        return False
    return reader.op != "Pad" or _representable(number(reader, "value", 0.0), stored[0])


def _representable(number_: float, value: Value) -> bool:
    real = np.asarray(number_, np.float32)
    q = quant.quantize(real, value.scale, value.zero_point, value.dtype)
    return bool(quant.dequantize(q, value.scale, value.zero_point) == real)


def _swap_down(e: Editor, reader: Node) -> Node:
    inputs = [e.producers[name].inputs[0] for name in reader.inputs]
    y = reader.outputs[0]
    e.drop(reader)
    moved = e.add(reader.op, reader.name, inputs, reader.attrs, output=f"{y}/stored")
    name = e.fresh_node(f"{reader.name}/dequantize")
    return e.insert(Node(name, "DequantizeLinear", (moved.name,), (y,)))


def push_quantize_up(graph: Graph) -> Graph:
    """before: Q(MaxPool(x));  after: MaxPool(Q(x)), where Q is the only reader.

    Also through Clip, which becomes an integer op with equal parameters, unless its input is
    dequantized already, and through Concat, unless all its inputs are (then it rescales by itself).
    """
    e = Editor(graph)
    queue = deque(name for name, node in e.nodes.items() if node.op == "QuantizeLinear")
    while queue:
        node = e.nodes.get(queue.popleft())
        before = None if node is None else e.producers.get(node.inputs[0])
        if node is None or before is None or not _quantize_passes(e, before):
            continue
        if not e.values[node.outputs[0]].is_8bit and before.op not in _WIDE_MOVES:
            continue
        queue.extend(_swap_up(e, node, before))
    return e.finish()


def _quantize_passes(e: Editor, before: Node) -> bool:
    if before.op not in _MOVES and before.op not in ("Clip", "Concat"):
        return False
    if e.sole_reader(before.outputs[0]) is None:
        return False
    dequantized = [e.producer(name, "DequantizeLinear") is not None for name in before.inputs]
    return not all(dequantized)


def _swap_up(e: Editor, node: Node, before: Node) -> list[str]:
    """Q on each input of `before`; names of the new Q nodes."""
    y = e.values[node.outputs[0]]
    e.drop(node)
    e.drop(before)
    made: dict[str, str] = {}
    queued: list[str] = []
    for name in dict.fromkeys(before.inputs):
        stored = e.add("QuantizeLinear", f"{before.name}/quantize", [name], like=y)
        made[name] = stored.name
        queued.append(e.producers[stored.name].name)
    e.insert(replace(before, inputs=tuple(made[name] for name in before.inputs), outputs=(y.name,)))
    return queued

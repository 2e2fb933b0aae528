# SPDX-License-Identifier: Apache-2.0
"""Channels get their factors while they are quantized.

before: x -> [Pad(0)] -> Mul(gain) -> Add(shift) -> Transpose(0,2,3,1) -> QuantizeLinear
after:  x -> QuantizeLinear(perm=(0,2,3,1), gain, shift) -> [Pad(what a 0 was quantized to)]

The same two float operations on each element, so the same bits. The quantizer writes the former
(octavo.quantization.levels and .factors), since any other runtime understands it. Pad and Transpose
are only taken in at a model's input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph, Node, Value
from octavo.ops.attrs import clamp, ints
from octavo.passes.editor import Editor
from octavo.passes.layout import perm_of
from octavo.quant import dequantize, quantize

__all__ = ["quantize_channels"]

Perm = tuple[int, ...]


@dataclass(frozen=True)
class _Match:
    """Nodes from the first to the one in front of the QuantizeLinear; `perm` of all Transposes."""

    between: tuple[Node, ...]
    pad: Node | None
    gain: NDArray[np.float32]
    shift: NDArray[np.float32]
    perm: Perm


def quantize_channels(graph: Graph) -> Graph:
    """Only where nothing else reads what lies between."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is not None and node.op == "QuantizeLinear" and "perm" not in node.attrs:
            _rewrite(e, node)
    return e.finish()


def _rewrite(e: Editor, node: Node) -> None:
    stored = e.values[node.outputs[0]]
    follower = e.sole_reader(stored.name)
    behind = follower if follower is not None and follower.op == "Transpose" else None
    found = _match(e, node, behind)
    if found is None or not stored.is_8bit or stored.affine.axis is not None:
        return
    last = node if behind is None else behind
    result = e.values[last.outputs[0]]
    source = found.between[0].inputs[0]
    for item in (*reversed(found.between), *({node.name: node, last.name: last}.values())):
        e.drop(item)
        e.notes.pop(item.name, None)
    attrs = {
        "perm": found.perm,
        "gain": tuple(found.gain.tolist()),
        "shift": tuple(found.shift.tolist()),
    }
    if found.pad is None:
        e.insert(Node(node.name, node.op, (source,), (result.name,), attrs))
        return
    begin, end = (tuple(ints(found.pad, key)[axis] for axis in found.perm)
                  for key in ("begin", "end"))  # fmt: skip
    shape = tuple(d - b - f for d, b, f in zip(result.shape, begin, end, strict=True))
    inside = e.add_value(Value(f"{result.name}/inside", result.dtype, shape, result.quant))
    e.insert(Node(node.name, node.op, (source,), (inside.name,), attrs))
    bytes_ = quantize(found.shift, result.scale, result.zero_point, result.dtype)
    border = dequantize(bytes_, result.scale, result.zero_point)
    pads = {"begin": begin, "end": end, "value": tuple(border.tolist())}
    e.insert(Node(found.pad.name, "Pad", (inside.name,), (result.name,), pads))


def _match(e: Editor, quantize_node: Node, behind: Node | None) -> _Match | None:
    """What leads to a QuantizeLinear, from its input up to the model's."""
    rank = len(e.values[quantize_node.inputs[0]].shape)
    perm: Perm = tuple(range(rank)) if behind is None else perm_of(behind)
    between: list[Node] = []

    def above(op: str, name: str) -> Node | None:
        node = e.producer(name, op)
        if node is None or e.sole_reader(name) is None or clamp(node) is not None:
            return None
        between.insert(0, node)
        return node

    name = quantize_node.inputs[0]
    transpose = above("Transpose", name)
    if transpose is not None:
        first = perm_of(transpose)
        perm = tuple(first[axis] for axis in perm)
        name = transpose.inputs[0]
    factors = []
    for op in ("Add", "Mul"):
        node = above(op, name)
        operands = None if node is None else _operands(e, node, perm)
        if operands is None:
            return None
        name, numbers = operands
        factors.append(numbers)
    pad = above("Pad", name)
    if pad is not None:
        if np.any(np.asarray(pad.attrs.get("value", 0.0)) != 0.0):
            return None
        if not np.isfinite(factors[1]).all():  # 0 times it is no 0
            return None
        name = pad.inputs[0]
    if name not in e.graph.inputs and (pad is not None or perm != tuple(range(rank))):
        return None  # in between, bytes are cheaper to move than floats
    if e.values[name].dtype != "f32":
        return None
    return _Match(tuple(between), pad, factors[1], factors[0], perm)


def _operands(e: Editor, node: Node, perm: Sequence[int]) -> tuple[str, NDArray[np.float32]] | None:
    """(data, number per channel) of x * c or x + c, where c varies along what `perm` puts last."""
    for place in (1, 0):
        value, x = e.values[node.inputs[place]], e.values[node.inputs[1 - place]]
        if value.data is None or value.dtype != "f32" or x.data is not None:
            continue
        if not perm or e.values[node.outputs[0]].shape != x.shape:
            continue  # a single number, or one that is broadcast to the constant
        channels = x.shape[perm[-1]]
        wide = (*(1,) * (len(x.shape) - len(value.shape)), *value.shape)
        wanted = tuple(channels if axis == perm[-1] else 1 for axis in range(len(x.shape)))
        if wide == wanted:
            return x.name, np.float32(value.data).reshape(-1)
    return None

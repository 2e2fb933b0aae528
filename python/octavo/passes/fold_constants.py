# SPDX-License-Identifier: Apache-2.0
"""Nodes on constants are evaluated once.

before: y = Mul(x, Sqrt(c));  after: y = Mul(x, c')
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from octavo import ops
from octavo.ir import Affine, Graph, Node, Value, constant
from octavo.passes.editor import Editor
from octavo.reference import real_value

#: Elements a folded constant may have beyond those of its inputs.
MAX_GROWTH = 1 << 20
#: Ops that only move elements, so that they fold on stored integers too.
_MOVEMENT = frozenset(("Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"))


def fold_constants(graph: Graph) -> Graph:
    """Evaluates nodes whose inputs are all constant; DequantizeLinear stays for `qdq` to see."""
    e = Editor(graph)
    for node in list(e.nodes.values()):
        inputs = [e.values[name] for name in node.inputs if name]
        if not inputs or any(value.data is None for value in inputs) or len(node.outputs) != 1:
            continue
        if _foldable(node, inputs, e.values[node.outputs[0]]):
            _evaluate(e, node)
    return e.finish()


def _foldable(node: Node, inputs: list[Value], output: Value) -> bool:
    if output.size > MAX_GROWTH + sum(value.size for value in inputs):
        return False
    if all(value.dtype == "f32" for value in inputs):
        return output.dtype == "f32"
    value = inputs[0]
    per_tensor = isinstance(value.quant, Affine) and value.quant.axis is None
    return node.op in _MOVEMENT and per_tensor


def _evaluate(e: Editor, node: Node) -> None:
    args = [e.values[name].data if name else None for name in node.inputs]
    with np.errstate(all="ignore"):
        (data,) = ops.get(node).float_ref(node, args)
    name = node.outputs[0]
    e.drop(node)
    e.values[name] = constant(name, np.asarray(data), e.values[name].quant)


def fold_dequantized(graph: Graph) -> Graph:
    """What `qdq` left of DequantizeLinear on constants becomes float32 constants.

    before: Conv(x f32, DequantizeLinear(w s8));  after: Conv(x f32, w f32)
    """
    e = Editor(graph)
    for node in list(e.nodes.values()):
        stored = e.values[node.inputs[0]] if node.op == "DequantizeLinear" else None
        if stored is not None and stored.data is not None:
            name = node.outputs[0]
            e.drop(node)
            e.values[name] = constant(name, real_value(stored, stored.data))
    return e.finish()


def permuted(value: Value, perm: tuple[int, ...]) -> Value:
    """A constant with its axes in another order; leading axes of 1 are added up to that rank."""
    assert value.data is not None
    extra = len(perm) - len(value.shape)
    data = value.data.reshape((1,) * extra + value.shape).transpose(perm)
    quant = value.quant
    if isinstance(quant, Affine) and quant.axis is not None:
        quant = replace(quant, axis=perm.index(quant.axis + extra))
    return constant(f"{value.name}/permuted", data, quant)


def reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    """A per-tensor constant under other dims."""
    assert value.data is not None and math.prod(shape) == value.size
    return constant(f"{value.name}/reshaped", value.data.reshape(shape), value.quant)

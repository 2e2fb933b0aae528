# SPDX-License-Identifier: Apache-2.0
"""BatchNorm becomes part of the convolution or linear layer before it, else Mul and Add.

before: BatchNorm(Conv(x, w, b), g, o, mean, var)
after:  Conv(x, w * k, (b - mean) * k + o), k = g / sqrt(var + epsilon)
"""

from __future__ import annotations

import numpy as np

from octavo.ir import Array, Graph, Node, constant
from octavo.ops.attrs import normal_axis
from octavo.passes.editor import Editor


def fold_batch_norm(graph: Graph) -> Graph:
    """Folds in float64, rounded once to float32; quantized weights are left alone."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes[name]
        factors = _factors(e, node) if node.op == "BatchNorm" else None
        if factors is None:
            continue
        before = e.producers.get(node.inputs[0])
        if before is not None and _foldable(e, node, before):
            _fold(e, node, before, *factors)
        else:
            _scale_and_shift(e, node, *factors)
    return e.finish()


def _factors(e: Editor, node: Node) -> tuple[Array, Array] | None:
    """(k, d) with y = x * k + d, float64; None where statistics are not constant."""
    arrays = [e.values[name].data for name in node.inputs[1:5]]
    if any(array is None for array in arrays):
        return None
    scale, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    k = scale / np.sqrt(variance + float(node.attrs["epsilon"]))
    return k, shift - mean * k


def _foldable(e: Editor, node: Node, before: Node) -> bool:
    if before.op not in ("Conv", "Linear") or before.attrs.get("clamp") is not None:
        return False
    rank = len(e.values[node.inputs[0]].shape)
    if normal_axis(node, int(node.attrs["axis"]), rank) != rank - 1:
        return False
    constants = all(e.values[name].dtype == "f32" and e.values[name].data is not None
                    for name in before.inputs[1:] if name)  # fmt: skip
    return constants and e.sole_reader(node.inputs[0]) is not None


def _fold(e: Editor, node: Node, before: Node, k: Array, d: Array) -> None:
    w = np.asarray(e.values[before.inputs[1]].data)
    bias = before.inputs[2] if len(before.inputs) > 2 else ""
    b = np.asarray(e.values[bias].data, np.float64) if bias else np.zeros(k.size)
    scaled = w.astype(np.float64) * k.reshape(-1, *(1,) * (w.ndim - 1))
    weights = e.add_value(constant(f"{before.inputs[1]}/folded", scaled.astype(np.float32)))
    shift = e.add_value(constant(f"{before.name}/bias", (b * k + d).astype(np.float32)))
    e.change(before, inputs=(before.inputs[0], weights.name, shift.name))
    e.bypass(node)


def _scale_and_shift(e: Editor, node: Node, k: Array, d: Array) -> None:
    rank = len(e.values[node.inputs[0]].shape)
    shape = [1] * rank
    shape[normal_axis(node, int(node.attrs["axis"]), rank)] = -1
    scale = e.add_value(constant(f"{node.name}/scale", k.astype(np.float32).reshape(shape)))
    shift = e.add_value(constant(f"{node.name}/shift", d.astype(np.float32).reshape(shape)))
    e.drop(node)
    product = e.add("Mul", f"{node.name}/mul", [node.inputs[0], scale.name])
    e.insert(Node(node.name, "Add", (product.name, shift.name), node.outputs))

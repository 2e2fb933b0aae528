# SPDX-License-Identifier: Apache-2.0
"""Recognises DequantizeLinear* -> op -> QuantizeLinear and makes it one integer op.

before: y = Q(Conv(DQ(x), DQ(w), b));  after: y = Conv(x, w, b s32)

An op that cannot become an integer one stays in float32, and `Graph.notes` says why and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from octavo import ops
from octavo.ir import Affine, Graph, Node, Value, constant
from octavo.ops import Op
from octavo.ops.attrs import clamp
from octavo.ops.precision import DYNAMIC, ON_REQUEST, requested
from octavo.ops.precision import LAYERS as _LAYERS
from octavo.passes.editor import Editor
from octavo.passes.integer_bias import integer_bias
from octavo.reference import real_value

#: Ops that change precision or relabel bytes: no arithmetic to be recognised.
_CONVERSIONS = frozenset(("DequantizeLinear", "QuantCast", "QuantizeLinear", "Requantize"))
#: Ops whose inputs behind the first are float32 parameters, or indices.
_PARAMETRIC = frozenset(("Gather", "LayerNorm"))


class _NotIntegerError(Exception):
    """Carries the reason why a node stays in float32; never leaves this module."""


def qdq(graph: Graph) -> Graph:
    """Every group on its own; groups meet at 8-bit values."""
    e = Editor(graph)
    for node in list(e.nodes.values()):
        if node.op in _CONVERSIONS or any(e.values[name].is_quantized for name in node.outputs):
            continue
        try:
            if requested(node) in DYNAMIC:
                _quantize_on_the_fly(e, node)
            elif requested(node) in ON_REQUEST:
                _stored_weights(e, node)
            elif not _real_outputs(e, node):
                _fuse(e, node)
            e.notes.pop(node.name, None)
        except _NotIntegerError as reason:
            e.notes[node.name] = str(reason)
            if node.op not in _LAYERS or not _stored_weights(e, node):
                continue
            if requested(node) is None and _is_float(e, node.inputs[0]):
                del e.notes[node.name]  # 8-bit weights and nothing else: that was asked for
    if not any(value.is_quantized and value.data is None for value in e.values.values()):
        e.notes.clear()  # no activation was ever meant to have 8 bits
    return e.finish()


def _fuse(e: Editor, node: Node) -> None:
    """Replaces the node and its QuantizeLinear by the integer op."""
    op = ops.get(node)
    if node.op in _PARAMETRIC:
        node = _with_real_parameters(e, node)
    elif node.op not in _LAYERS:
        # asked of 8-bit stand-ins first: no use in asking for Q and DQ where they would not help
        _check(
            op, node, [_stand_in(e, name) for name in node.inputs], _stand_in(e, node.outputs[0])
        )
    # the bias has its own rule: see below
    operands = node.inputs[:2] if node.op in _LAYERS else node.inputs
    operands = node.inputs[:1] if node.op in _PARAMETRIC else operands
    inputs = [_stored(e, node, name) for name in operands]
    if node.op in _PARAMETRIC:
        inputs += [e.values[name] for name in node.inputs[1:]]
    target = _target(e, node.outputs[0])
    y = e.values[target.outputs[0]]
    _check(op, node, inputs, y)
    if node.op in _LAYERS and len(node.inputs) > 2 and node.inputs[2]:
        x, w = inputs
        bias = integer_bias(e, node.inputs[2], x, w, y, clamp(node))
        if isinstance(bias, str):
            raise _NotIntegerError(bias)
        inputs = [x, w, bias]
        _check(op, node, inputs, y)
        inputs[2] = e.add_value(bias)
    e.drop(target)
    e.drop(node)
    e.insert(Node(node.name, node.op, tuple(v.name for v in inputs), (y.name,), node.attrs))


def _real_outputs(e: Editor, node: Node) -> bool:
    """Lets a Linear layer on 8-bit values write real numbers, where these are wanted and it can.

    before: y = Linear(DQ(x), DQ(w), b), y read in float32;  after: y f32 = Linear(x, w, b f32)
    """
    y = node.outputs[0]
    quantized = all(reader.op == "QuantizeLinear" for reader in e.readers(y))
    if node.op != "Linear" or (quantized and y not in e.outputs) or _is_float(e, node.inputs[0]):
        return False
    w = e.stored_constant(node.inputs[1])
    if w is None or not e.values[node.inputs[0]].shape:
        return False
    x = _stored(e, node, node.inputs[0])
    bias = e.values[node.inputs[2]] if len(node.inputs) > 2 and node.inputs[2] else None
    stored = None if bias is None else e.stored_constant(bias.name)
    if bias is not None and stored is not None and stored.name != bias.name:
        bias = constant(f"{bias.name}/real", real_value(stored, np.asarray(stored.data)))
    operands = [x, w, *([] if bias is None else [bias])]
    if ops.get(node).int_reason(node, operands, [e.values[y]]) is not None:
        return False
    names = [x.name, w.name]
    if bias is not None:
        names.append(bias.name if bias.name in e.values else e.add_value(bias).name)
    e.change(node, inputs=tuple(names))
    return True


def _stored_weights(e: Editor, node: Node) -> bool:
    """Lets a layer in float32 read its 8-bit weights as they are stored; False where it has none.

    before: Conv(x f32, DequantizeLinear(w s8));  after: Conv(x f32, w s8)
    """
    w = e.stored_constant(node.inputs[1])
    if w is None or not w.is_8bit or w.affine.axis not in (None, 0):
        return False
    attrs = {**node.attrs, **({"precision": "weights"} if requested(node) in DYNAMIC else {})}
    e.change(e.nodes[node.name], inputs=(node.inputs[0], w.name, *node.inputs[2:]), attrs=attrs)
    return True


def _quantize_on_the_fly(e: Editor, node: Node) -> None:
    """Lets a layer with a float32 input read its weights as stored and its bias as real numbers.

    before: Linear(x f32, DequantizeLinear(w s8), b);  after: Linear(x f32, w s8, b f32)
    """
    w = e.stored_constant(node.inputs[1])
    real = _with_real_parameters(e, node, 2)
    operands = [e.values[name] for name in real.inputs]
    if w is not None:
        operands[1] = w
    _check(ops.get(node), node, operands, e.values[node.outputs[0]])
    e.change(real, inputs=tuple(value.name for value in operands))


def _is_float(e: Editor, name: str) -> bool:
    return e.producer(name, "DequantizeLinear") is None


def _with_real_parameters(e: Editor, node: Node, first: int = 1) -> Node:
    """The node with parameters, its inputs from `first` on, that stand behind DequantizeLinear as
    float32 constants."""
    names = list(node.inputs[:first])
    for name in node.inputs[first:]:
        stored = e.stored_constant(name)
        if stored is not None and stored.name != name:
            real = real_value(stored, np.asarray(stored.data))
            name = e.add_value(constant(f"{name}/real", real)).name
        names.append(name)
    return e.change(node, inputs=tuple(names))


def _check(op: Op, node: Node, inputs: Sequence[Value], y: Value) -> None:
    reason = op.int_reason(node, inputs, [y])
    if reason is not None:
        raise _NotIntegerError(reason)


def _stand_in(e: Editor, name: str) -> Value:
    return replace(e.values[name], dtype="u8", quant=Affine.per_tensor(1.0, 0))


def _stored(e: Editor, node: Node, name: str) -> Value:
    """The 8-bit value behind an input."""
    source = e.producer(name, "DequantizeLinear")
    if source is not None:
        return e.values[source.inputs[0]]
    what = "weights" if node.op in _LAYERS and name == node.inputs[1] else "input"
    raise _NotIntegerError(
        f"{what} '{name}' is float32; put QuantizeLinear and DequantizeLinear before this node"
    )


def _target(e: Editor, name: str) -> Node:
    """The QuantizeLinear that alone reads an output."""
    readers = e.readers(name)
    quantizers = [reader for reader in readers if reader.op == "QuantizeLinear"]
    if not quantizers:
        raise _NotIntegerError(
            f"output '{name}' is used in float32; put QuantizeLinear and DequantizeLinear behind it"
        )
    if name in e.outputs:
        raise _NotIntegerError(f"output '{name}' is a model output in float32, too; quantize that")
    others = [reader.name for reader in readers if reader.op != "QuantizeLinear"]
    if others:
        raise _NotIntegerError(
            f"output '{name}' is read in float32 by '{others[0]}', too; quantize that"
        )
    if len(quantizers) > 1:
        raise _NotIntegerError(
            f"output '{name}' is quantized in {len(quantizers)} different ways; use one"
        )
    return quantizers[0]

# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators, Softmax and BatchNormalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from octavo.errors import FormatError
from octavo.importers.onnx_builder import Builder, attr, handles, normal_axis, unsupported
from octavo.ir import Node


@handles("Add", "Sub", "Mul", "Div")
def binary(b: Builder, node: Node) -> None:
    """NumPy broadcasting, as in ONNX."""
    operands = [b.real(node, 0).name, b.real(node, 1).name]
    b.emit(node.op, node.name, operands, node.outputs[0])


#: op -> its float attributes with ONNX's defaults.
_UNARY: dict[str, dict[str, float]] = {
    "Erf": {},
    "Exp": {},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "HardSwish": {},
    "LeakyRelu": {"alpha": 0.01},
    "Sigmoid": {},
    "Sqrt": {},
    "Tanh": {},
}


@handles(*_UNARY)
def unary(b: Builder, node: Node) -> None:
    """The same name and meaning in the IR."""
    attrs = {key: attr(node, key, default, float) for key, default in _UNARY[node.op].items()}
    if not all(math.isfinite(item) for item in attrs.values()):
        raise FormatError(f"{node.label()}: attributes {attrs} must be finite")
    b.emit(node.op, node.name, [b.real(node, 0).name], node.outputs[0], attrs)


@handles("Relu")
def relu(b: Builder, node: Node) -> None:
    """before: Relu(x);  after: Clip(x, 0, inf)."""
    attrs = {"lo": 0.0, "hi": math.inf}
    b.emit("Clip", node.name, [b.real(node, 0).name], node.outputs[0], attrs)


@handles("Clip")
def clip(b: Builder, node: Node) -> None:
    """Bounds are attributes in opset 10, constant inputs later; absent means unbounded."""
    x = b.real(node, 0)
    if b.opset < 11:
        lo, hi = attr(node, "min", -math.inf, float), attr(node, "max", math.inf, float)
    else:
        lo, hi = _bound(b, node, 1, -math.inf), _bound(b, node, 2, math.inf)
    if math.isnan(lo) or math.isnan(hi):
        raise FormatError(f"{node.label()}: a bound is NaN")
    largest = float(np.finfo(np.float32).max)
    lo, hi = (-math.inf if lo <= -largest else lo), (math.inf if hi >= largest else hi)
    # ONNX: min(max(x, lo), hi), so hi wins where the bounds are the wrong way round
    b.emit("Clip", node.name, [x.name], node.outputs[0], {"lo": min(lo, hi), "hi": hi})


def _bound(b: Builder, node: Node, index: int, absent: float) -> float:
    name = b.optional(node, index)
    if name is None:
        return absent
    if name in b.quantized:
        raise unsupported(node, f"bound '{name}' is quantized; leave bounds in float32")
    found = b.array(node, index, "bound")
    if found is None or found.size != 1 or found.dtype != np.float32:
        raise FormatError(f"{node.label()}: bound '{name}' must be one float32 number")
    return float(found.reshape(-1)[0])


@handles("Softmax")
def softmax(b: Builder, node: Node) -> None:
    """Before opset 13 the axes from `axis` on count as one: reshaped to 2-D and back."""
    x = b.real(node, 0)
    rank = len(x.shape)
    if b.opset >= 13:
        axis = normal_axis(node, attr(node, "axis", -1, int), rank)
        b.emit("Softmax", node.name, [x.name], node.outputs[0], {"axis": axis})
        return
    axis = normal_axis(node, attr(node, "axis", 1, int), rank)
    if axis == rank - 1:
        b.emit("Softmax", node.name, [x.name], node.outputs[0], {"axis": axis})
        return
    flat, soft = b.unique(f"{node.name}/flat"), b.unique(f"{node.name}/softmax")
    b.emit("Flatten", flat, [x.name], flat, {"axis": axis})
    b.emit("Softmax", node.name, [flat], soft, {"axis": 1})
    back: dict[str, Any] = {"shape": (-1, *x.shape[1:]) if axis else x.shape}
    b.emit("Reshape", f"{node.name}/back", [soft], node.outputs[0], back)


@handles("BatchNormalization")
def batch_normalization(b: Builder, node: Node) -> None:
    """Constant statistics over axis 1."""
    if attr(node, "training_mode", 0, int) or len([name for name in node.outputs if name]) > 1:
        raise unsupported(node, "training mode; export the model for inference")
    operands = [b.real(node, 0).name]
    for index in range(1, 5):
        name = b.required(node, index)
        if name not in b.constants:
            raise unsupported(node, f"statistics '{name}' are computed; they must be constant")
        operands.append(b.real(node, index).name)
    attrs = {"epsilon": attr(node, "epsilon", 1e-5, float), "axis": 1}
    b.emit("BatchNorm", node.name, operands, node.outputs[0], attrs)


@handles("Identity", "Dropout")
def identity(b: Builder, node: Node) -> None:
    """before: y = Identity(x);  after: y is x. Dropout does nothing at inference."""
    if any(node.outputs[1:]):
        raise unsupported(node, "the second output (mask)")
    training = b.optional(node, 2) if node.op == "Dropout" else None
    if training is not None:
        flag = b.array(node, 2, "training_mode")
        if flag is None or flag.any():
            raise unsupported(node, "training mode; export the model for inference")
    b.alias[node.outputs[0]] = b.required(node, 0)

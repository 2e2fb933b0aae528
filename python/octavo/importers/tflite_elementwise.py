# SPDX-License-Identifier: Apache-2.0
"""Functions of one or two values each, softmax, products, and changes between number types."""

from __future__ import annotations

import numpy as np

from octavo import quant
from octavo.errors import FormatError
from octavo.importers.onnx_builder import attr, unsupported
from octavo.importers.tflite_builder import TfliteBuilder, activation, handles
from octavo.ir import Node

_INF = float("inf")
_BINARY = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}
_UNARY = {
    "LOGISTIC": "Sigmoid", "TANH": "Tanh", "HARD_SWISH": "HardSwish", "EXP": "Exp", "SQRT": "Sqrt",
}  # fmt: skip
_BOUNDS = {
    "RELU": (0.0, _INF), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU_0_TO_1": (0.0, 1.0),
}  # fmt: skip


@handles(*_BINARY)
def binary(b: TfliteBuilder, node: Node) -> None:
    clamp = activation(node)
    attrs = {} if clamp is None else {"clamp": clamp}
    names = [b.operand(node, 0).name, b.operand(node, 1).name]
    b.result(node, _BINARY[node.op], names, attrs)


@handles(*_UNARY)
def unary(b: TfliteBuilder, node: Node) -> None:
    b.result(node, _UNARY[node.op], [b.operand(node, 0).name])


@handles(*_BOUNDS)
def relu(b: TfliteBuilder, node: Node) -> None:
    lo, hi = _BOUNDS[node.op]
    b.result(node, "Clip", [b.operand(node, 0).name], {"lo": lo, "hi": hi})


@handles("LEAKY_RELU")
def leaky_relu(b: TfliteBuilder, node: Node) -> None:
    attrs = {"alpha": attr(node, "Alpha", 0.0, float)}
    b.result(node, "LeakyRelu", [b.operand(node, 0).name], attrs)


@handles("GELU")
def gelu(b: TfliteBuilder, node: Node) -> None:
    form = "tanh" if attr(node, "Approximate", False, bool) else "none"
    b.result(node, "Gelu", [b.operand(node, 0).name], {"approximate": form})


@handles("SOFTMAX")
def softmax(b: TfliteBuilder, node: Node) -> None:
    beta = attr(node, "Beta", 1.0, float)
    if beta != 1.0:
        raise unsupported(node, f"beta {beta}; multiply the input by it instead")
    b.result(node, "Softmax", [b.operand(node, 0).name], {"axis": -1})


@handles("BATCH_MATMUL")
def batch_matmul(b: TfliteBuilder, node: Node) -> None:
    factors = []
    for index, key in enumerate(("AdjX", "AdjY")):
        factor = b.operand(node, index)
        if attr(node, key, False, bool):
            rank = len(factor.shape)
            if rank < 2:
                raise FormatError(f"{node.label()}: {key} of a rank-{rank} tensor")
            perm = (*range(rank - 2), rank - 1, rank - 2)
            factor = b.step(node, "Transpose", key, factor, {"perm": perm})
        factors.append(factor.name)
    b.result(node, "MatMul", factors)


@handles("QUANTIZE")
def quantize(b: TfliteBuilder, node: Node) -> None:
    """float32 to 8 bits, or 8 bits to others: the rescaling is left to the passes."""
    name = b.required_output(node)
    affine = b.declared(node, name)
    if affine is None:
        raise unsupported(node, f"quantizes to {b.dtype(name)}; only int8 and uint8 work")
    b.emit(
        "QuantizeLinear", node.name, [b.operand(node, 0).name], name,
        dtype=b.dtype(name), quant=affine,
    )  # fmt: skip


@handles("DEQUANTIZE")
def dequantize(b: TfliteBuilder, node: Node) -> None:
    """float16 constants become float32 ones."""
    name, output = b.required(node, 0), b.required_output(node)
    if name in b.constants and b.constants[name].dtype == np.float16:
        b.constants[output] = b.constants[name].astype(np.float32)
        return
    if name in b.quantized:
        stored = b.quantized[name]
        assert stored.data is not None
        b.constants[output] = quant.dequantize(stored.data, *b.spread(stored))
        return
    x = b.stored(node, 0)
    if not x.is_8bit:
        raise unsupported(node, f"dequantizes '{name}', which is {x.dtype}")
    b.emit("DequantizeLinear", node.name, [name], output, dtype="f32")


@handles("CAST")
def cast(b: TfliteBuilder, node: Node) -> None:
    """Integers and truth values to float32."""
    name, output = b.required(node, 0), b.required_output(node)
    value = b.use(name)
    if b.dtype(output) != "f32" or value.dtype not in ("s32", "s64", "bool"):
        raise unsupported(node, f"casts '{name}' from {value.dtype} to {b.dtype(output)}")
    b.emit("Cast", node.name, [name], output, dtype="f32")

# SPDX-License-Identifier: Apache-2.0
"""Gemm and MatMul: Linear where one factor is constant, MatMul of activations otherwise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from octavo.importers.onnx_builder import Builder, attr, handles, unsupported
from octavo.importers.onnx_quant import along_axis
from octavo.ir import Node
from octavo.quant import dequantize


def _is_constant(b: Builder, name: str) -> bool:
    return name in b.constants or name in b.quantized


@handles("MatMul")
def matmul(b: Builder, node: Node) -> None:
    """before: MatMul(x [...,K], w [K,N]);  after: Linear(x, w [N,K])."""
    x = b.real(node, 0)
    name = b.required(node, 1)
    if _is_constant(b, name) and len(b.shape(node, 1)) == 2:
        w = b.weight(node, 1, (1, 0))
        b.emit("Linear", node.name, [x.name, w.name], node.outputs[0])
        return
    b.emit("MatMul", node.name, [x.name, b.real(node, 1).name], node.outputs[0])


@handles("Gemm")
def gemm(b: Builder, node: Node) -> None:
    """alpha and beta are multiplied into the constants; a bias that is none becomes Add."""
    alpha, beta = attr(node, "alpha", 1.0, float), attr(node, "beta", 1.0, float)
    transposed = bool(attr(node, "transB", 0, int))
    if attr(node, "transA", 0, int):
        raise unsupported(node, "transA=1; transpose the input with a Transpose node")
    x = b.real(node, 0)
    if alpha != 1.0:
        node = _scaled(b, node, 1, alpha)
    if beta != 1.0 and b.optional(node, 2):
        node = _scaled(b, node, 2, beta)
    name = b.required(node, 1)
    if not _is_constant(b, name):
        _dynamic_gemm(b, node, transposed)
        return
    w = b.weight(node, 1, (0, 1) if transposed else (1, 0))
    if b.optional(node, 2) is None:
        b.emit("Linear", node.name, [x.name, w.name], node.outputs[0])
        return
    shift = _bias_vector(b, node, w.shape[0])
    if shift is not None:
        b.emit("Linear", node.name, [x.name, w.name, shift], node.outputs[0])
        return
    product = b.unique(f"{node.name}/product")
    b.emit("Linear", node.name, [x.name, w.name], product)
    b.emit("Add", f"{node.name}/add", [product, b.real(node, 2).name], node.outputs[0])


def _scaled(b: Builder, node: Node, index: int, factor: float) -> Node:
    """The node with a constant operand multiplied by `factor`, in float32."""
    name = b.required(node, index)
    if name in b.quantized:
        stored = b.quantized[name]
        assert stored.data is not None
        data = dequantize(stored.data, *along_axis(stored.affine, stored.data.ndim))
    elif name in b.constants and b.constants[name].dtype == np.float32:
        data = b.constants[name]
    else:
        raise unsupported(node, f"alpha or beta = {factor} needs a float32 constant, not '{name}'")
    scaled = b.unique(f"{name}/scaled")
    b.constants[scaled] = data * np.float32(factor)
    inputs = list(node.inputs)
    inputs[index] = scaled
    return replace(node, inputs=tuple(inputs))


def _bias_vector(b: Builder, node: Node, channels: int) -> str | None:
    """Name of input 2 as a vector [channels], or None where it is not one number per channel."""
    name = b.required(node, 2)
    shape = b.shape(node, 2)
    if not _is_constant(b, name) or math.prod(shape[:-1]) != 1 or shape[-1:] not in (
        (), (1,), (channels,),
    ):  # fmt: skip
        return None
    value = b.real(node, 2)
    if shape == (channels,) or name in b.quantized:
        return value.name if shape == (channels,) else None
    assert value.data is not None
    flat = np.broadcast_to(value.data.reshape(-1), (channels,))
    return b.new_constant(f"{name}/vector", np.ascontiguousarray(flat)).name


def _dynamic_gemm(b: Builder, node: Node, transposed: bool) -> None:
    x, w = b.real(node, 0), b.real(node, 1)
    if transposed:
        name = b.unique(f"{node.name}/transposed")
        w = b.emit("Transpose", name, [w.name], name, {"perm": (1, 0)})
    if b.optional(node, 2) is None:
        b.emit("MatMul", node.name, [x.name, w.name], node.outputs[0])
        return
    product = b.unique(f"{node.name}/product")
    b.emit("MatMul", node.name, [x.name, w.name], product)
    b.emit("Add", f"{node.name}/add", [product, b.real(node, 2).name], node.outputs[0])

# SPDX-License-Identifier: Apache-2.0
"""Layers that quantize their activations on the fly, as quantizers for ONNX write them.

before: (q, s, z) = DynamicQuantizeLinear(x);  p = MatMulInteger(q, w, z, zw)  (or ConvInteger)
        y = Mul(Cast(p), Mul(s, sw))
after:  y = Linear(x, DequantizeLinear(w, sw, zw), precision="dynamic")

What lies between has no value of the IR: names stand for parts of the pattern until it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from octavo.importers.onnx_builder import HANDLERS, Builder, attr, unsupported
from octavo.ir import DTYPE_NAMES, Affine, Array, Node, Value

__all__ = ["take_dynamic"]

_WAY_OUT = "only layers as DynamicQuantizeLinear, MatMulInteger, Cast and Mul write them work"


@dataclass(frozen=True)
class _Quantized:  # an output of DynamicQuantizeLinear
    x: str
    part: str  # "bytes", "scale" or "zero point"


@dataclass(frozen=True)
class _Factor:  # the scale of x times those of the weights
    x: str
    scale: Array


@dataclass(frozen=True)
class _Sum:  # what the integer product gives, cast to float32 or not
    x: str
    node: Node
    weights: str
    zero_point: Array | None


def _part(b: Builder, node: Node, index: int, part: str) -> str:
    """The x of which an input is the bytes, the scale or the zero point."""
    name = b.required(node, index)
    found = b.symbols.get(name)
    if not isinstance(found, _Quantized) or found.part != part:
        raise unsupported(node, f"'{name}' is no {part} of DynamicQuantizeLinear; {_WAY_OUT}")
    return found.x


def _dynamic_quantize(b: Builder, node: Node) -> None:
    x = b.real(node, 0).name
    for name, part in zip(node.outputs, ("bytes", "scale", "zero point"), strict=True):
        b.symbols[name] = _Quantized(x, part)


def _product(b: Builder, node: Node) -> None:
    """MatMulInteger, ConvInteger: x, w, zero point of x, zero point of w."""
    x = _part(b, node, 0, "bytes")
    if _part(b, node, 2, "zero point") != x:
        raise unsupported(node, f"the zero point belongs to another tensor than '{x}'; {_WAY_OUT}")
    zero_point = b.array(node, 3, "zero point of the weights")
    b.symbols[node.outputs[0]] = _Sum(x, node, b.required(node, 1), zero_point)


def _cast(b: Builder, node: Node) -> None:
    b.symbols[node.outputs[0]] = b.symbols[node.inputs[0]]


def _mul(b: Builder, node: Node) -> None:
    left, right = (b.symbols.get(name) for name in node.inputs)
    if isinstance(right, _Sum) or (isinstance(right, _Quantized) and not isinstance(left, _Sum)):
        node = replace(node, inputs=(node.inputs[1], node.inputs[0]))
        left, right = right, left
    if isinstance(left, _Quantized) and left.part == "scale":
        scale = b.array(node, 1, "scale of the weights")
        assert scale is not None
        b.symbols[node.outputs[0]] = _Factor(left.x, scale)
    elif isinstance(left, _Sum) and isinstance(right, _Factor) and left.x == right.x:
        layer = "MatMul" if left.node.op == "MatMulInteger" else "Conv"
        inner = Node(left.node.name, layer, (left.x,), node.outputs, left.node.attrs)
        _emit(b, inner, left.weights, right.scale, left.zero_point)
    else:
        raise unsupported(node, f"multiplies parts of an integer product; {_WAY_OUT}")


def _fused_matmul(b: Builder, node: Node) -> None:
    """com.microsoft: A, B, scale of B, zero point of B, bias."""
    scale = b.array(node, 2, "scale of the weights")
    _with_bias(b, node, b.real(node, 0).name, scale, b.array(node, 3, "zero point"), 4)


def _matmul_to_float(b: Builder, node: Node) -> None:
    """com.microsoft: A, B, scale of A, scale of B, zero point of A, zero point of B, bias."""
    x = _part(b, node, 0, "bytes")
    if {_part(b, node, 2, "scale"), _part(b, node, 4, "zero point")} != {x}:
        raise unsupported(node, f"scale or zero point belong to another tensor; {_WAY_OUT}")
    scale = b.array(node, 3, "scale of the weights")
    _with_bias(b, node, x, scale, b.array(node, 5, "zero point"), 6)


def _with_bias(
    b: Builder, node: Node, x: str, scale: Array | None, zero_point: Array | None, index: int
) -> None:
    if scale is None:
        raise unsupported(node, "the scale of the weights is missing")
    bias = b.optional(node, index)
    op, inputs = ("Gemm", (x, "", bias)) if bias else ("MatMul", (x,))
    inner = Node(node.name, op, inputs, node.outputs, {})
    _emit(b, inner, b.required(node, 1), scale, zero_point)


def _emit(b: Builder, node: Node, weights: str, scale: Array, zero_point: Array | None) -> None:
    """The float layer `node` on dequantized weights, to be computed on the fly."""
    data = b.constants.get(weights)
    if data is None or data.dtype not in (np.uint8, np.int8):
        raise unsupported(node, f"weights '{weights}' are no constant of 8 bits")
    axis = 0 if node.op == "Conv" else data.ndim - 1
    channels = data.shape[axis]
    points = np.zeros(1, np.int32) if zero_point is None else zero_point.reshape(-1)
    for what, found in (("scales", scale), ("zero points", points)):
        if found.size not in (1, channels):
            raise unsupported(node, f"{found.size} {what} for {channels} channels")
    affine = Affine(
        np.ascontiguousarray(np.broadcast_to(scale.reshape(-1), (channels,)), np.float32),
        np.ascontiguousarray(np.broadcast_to(points, (channels,)), np.int32),
        axis,
    )
    name = b.unique(f"{weights}/dynamic")
    b.quantized[name] = Value(weights, DTYPE_NAMES[data.dtype], data.shape, affine, data)
    inputs = (node.inputs[0], name, *node.inputs[2:])
    first = len(b.nodes)
    HANDLERS[node.op](b, replace(node, inputs=inputs))
    b.mark(first, "dynamic")


_STARTS: dict[str, Callable[[Builder, Node], None]] = {
    "DynamicQuantizeLinear": _dynamic_quantize,
    "MatMulInteger": _product,
    "ConvInteger": _product,
    "com.microsoft:DynamicQuantizeMatMul": _fused_matmul,
    "com.microsoft:MatMulIntegerToFloat": _matmul_to_float,
}
_GOES_ON: dict[str, Callable[[Builder, Node], None]] = {"Cast": _cast, "Mul": _mul}


def take_dynamic(b: Builder, node: Node) -> bool:
    """Translates a node of the pattern; False for any other."""
    function = _STARTS.get(node.op)
    if function is None and any(name in b.symbols for name in node.inputs):
        function = _GOES_ON.get(node.op)
        if function is None:
            raise unsupported(node, f"reads a part of an integer product; {_WAY_OUT}")
        if node.op == "Cast" and attr(node, "to", 0, int) != 1:
            raise unsupported(node, f"casts a part of an integer product; {_WAY_OUT}")
    if function is None:
        return False
    function(b, node)
    return True

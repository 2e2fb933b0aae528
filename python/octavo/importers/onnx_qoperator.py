# SPDX-License-Identifier: Apache-2.0
"""QOperator nodes rewritten as QDQ: DequantizeLinear on every input, the float op, QuantizeLinear.

before: y = QLinearConv(x, sx, zx, w, sw, zw, sy, zy, b)
after:  y = QuantizeLinear(Conv(DQ(x, sx, zx), DQ(w, sw, zw), DQ(b, sx * sw)), sy, zy)

The pass that recognises Q/DQ groups turns that back into one integer op, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from octavo.importers.onnx_builder import Builder, attr, unsupported
from octavo.ir import Node

_UINT8, _INT8 = 2, 3
#: Ops put around the float op, which alone keeps the node's name.
_AROUND = frozenset(("DequantizeLinear", "QuantizeLinear", "Transpose"))
Attrs = Mapping[str, Any]


class _Rewrite:
    """Collects the ONNX nodes that stand for one QOperator node."""

    def __init__(self, b: Builder, node: Node) -> None:
        self.b = b
        self.node = node
        self.made: list[Node] = []

    def name(self, index: int) -> str:
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def add(
        self, op: str, inputs: list[str], attrs: Attrs | None = None, output: str | None = None
    ) -> str:
        part = f"{self.node.name}/{op}"
        name = part if op in _AROUND else self.node.name
        output = output or self.b.unique(part)
        self.made.append(Node(name, op, tuple(inputs), (output,), attrs or {}))
        return output

    def dequantize(self, index: int, axis: int = 0) -> str:
        """DequantizeLinear of the (tensor, scale, zero point) that start at an input."""
        triple = [self.name(index), self.name(index + 1), self.name(index + 2)]
        return self.add("DequantizeLinear", triple, {"axis": axis})

    def bias(self, index: int, x_scale: int, w_scale: int) -> str:
        """DequantizeLinear of an int32 bias, whose scale is the product of two scales."""
        if not self.name(index):
            return ""
        scales = [self.b.array(self.node, at, "scale") for at in (x_scale, w_scale)]
        if scales[0] is None or scales[1] is None or scales[0].size != 1:
            raise unsupported(self.node, "the input scale must be one constant number")
        name = self.b.unique(f"{self.node.name}/bias_scale")
        self.b.constants[name] = np.asarray(scales[0].reshape(()) * scales[1], np.float32)
        return self.add("DequantizeLinear", [self.name(index), name, ""], {"axis": 0})

    def quantize(self, real: str, scale: int, like: int) -> None:
        """QuantizeLinear into the output; without a zero point its type is that of input `like`."""
        operands = [real, self.name(scale), self.name(scale + 1)]
        attrs: dict[str, int] = {}
        if not operands[2]:
            source = self.name(like)
            constant = self.b.constants.get(source)
            signed = (
                self.b.use(source).dtype == "s8" if constant is None else constant.dtype == np.int8
            )
            attrs["output_dtype"] = _INT8 if signed else _UINT8
        self.add("QuantizeLinear", operands, attrs, self.node.outputs[0])


def _conv(r: _Rewrite) -> None:
    x, w = r.dequantize(0), r.dequantize(3)
    y = r.add("Conv", [x, w, r.bias(8, 1, 4)], r.node.attrs)
    r.quantize(y, 6, 0)


def _matmul(r: _Rewrite) -> None:
    y = r.add("MatMul", [r.dequantize(0, axis=-2), r.dequantize(3, axis=-1)])
    r.quantize(y, 6, 0)


def _gemm(r: _Rewrite) -> None:
    axis = 0 if attr(r.node, "transB", 0, int) else 1
    operands = [r.dequantize(0), r.dequantize(3, axis=axis), r.bias(6, 1, 4)]
    if not r.name(7):
        r.add("Gemm", operands, r.node.attrs, r.node.outputs[0])
        return
    r.quantize(r.add("Gemm", operands, r.node.attrs), 7, 0)


def _binary(op: str) -> Callable[[_Rewrite], None]:
    def rewrite(r: _Rewrite) -> None:
        r.quantize(r.add(op, [r.dequantize(0), r.dequantize(3)]), 6, 0)

    return rewrite


def _unary(op: str) -> Callable[[_Rewrite], None]:
    def rewrite(r: _Rewrite) -> None:
        r.quantize(r.add(op, [r.dequantize(0)], r.node.attrs), 3, 0)

    return rewrite


def _pool(op: str) -> Callable[[_Rewrite], None]:
    def rewrite(r: _Rewrite) -> None:
        attrs = {key: item for key, item in r.node.attrs.items() if key != "channels_last"}
        x = r.dequantize(0)
        if not attr(r.node, "channels_last", 0, int):
            r.quantize(r.add(op, [x], attrs), 3, 0)
            return
        rank = len(r.b.shape(r.node, 0))
        back = (0, *range(2, rank), 1)
        first = (0, rank - 1, *range(1, rank - 1))
        y = r.add(op, [r.add("Transpose", [x], {"perm": first})], attrs)
        r.quantize(r.add("Transpose", [y], {"perm": back}), 3, 0)

    return rewrite


def _concat(r: _Rewrite) -> None:
    if len(r.node.inputs) < 5 or len(r.node.inputs) % 3 != 2:
        raise unsupported(r.node, f"{len(r.node.inputs)} inputs; expected 2 + 3 per tensor")
    parts = [r.dequantize(at) for at in range(2, len(r.node.inputs), 3)]
    r.quantize(r.add("Concat", parts, r.node.attrs), 0, 2)


def _softmax(r: _Rewrite) -> None:
    attrs = {key: item for key, item in r.node.attrs.items() if key == "axis"}
    version = attr(r.node, "opset", r.b.opset, int)
    if (version < 13) != (r.b.opset < 13):
        raise unsupported(r.node, f"Softmax of opset {version} in a model of opset {r.b.opset}")
    r.quantize(r.add("Softmax", [r.dequantize(0)], attrs), 3, 0)


_REWRITES: dict[str, Callable[[_Rewrite], None]] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "com.microsoft:QGemm": _gemm,
    "com.microsoft:QLinearAdd": _binary("Add"),
    "com.microsoft:QLinearMul": _binary("Mul"),
    "com.microsoft:QLinearSigmoid": _unary("Sigmoid"),
    "com.microsoft:QLinearLeakyRelu": _unary("LeakyRelu"),
    "com.microsoft:QLinearAveragePool": _pool("AveragePool"),
    "com.microsoft:QLinearGlobalAveragePool": _pool("GlobalAveragePool"),
    "com.microsoft:QLinearConcat": _concat,
    "com.microsoft:QLinearSoftmax": _softmax,
}


def rewrite_qoperator(b: Builder, node: Node) -> list[Node] | None:
    """The ONNX nodes that mean the same in QDQ form; None for a node that is no QOperator."""
    function = _REWRITES.get(node.op)
    if function is None:
        return None
    rewrite = _Rewrite(b, node)
    function(rewrite)
    return rewrite.made

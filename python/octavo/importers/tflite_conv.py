# SPDX-License-Identifier: Apache-2.0
"""Convolution, pooling and fully connected layers. TFLite is NHWC and OHWI already.

before: DEPTHWISE_CONV_2D(x [N,H,W,C], w [1,kh,kw,C*m]);  after: Conv(x, w [C*m,kh,kw,1], groups=C)
"""

from __future__ import annotations

import math
from typing import Any

from octavo.errors import FormatError, ShapeError
from octavo.importers.onnx_builder import attr, unsupported
from octavo.importers.onnx_conv import same_pads
from octavo.importers.tflite_builder import TfliteBuilder, activation, handles
from octavo.ir import Node, Shape, Value

_SAME, _VALID = 0, 1


def window(node: Node, kernel: Shape, x: Value) -> dict[str, Any]:
    """strides, dilations and pads of an IR operator over `x` [N,H,W,C]; SAME is resolved."""
    if len(x.shape) != 4:
        raise ShapeError(f"{node.label()}: input {x.shape} must have rank 4 (NHWC)")
    strides = tuple(attr(node, key, 1, int) for key in ("StrideH", "StrideW"))
    dilations = tuple(attr(node, key, 1, int) for key in ("DilationHFactor", "DilationWFactor"))
    if min(*strides, *dilations, *kernel) < 1:
        raise FormatError(
            f"{node.label()}: kernel {kernel}, strides {strides}, dilations {dilations} must be "
            "at least 1"
        )
    padding = attr(node, "Padding", _SAME, int)
    if padding not in (_SAME, _VALID):
        raise FormatError(f"{node.label()}: padding {padding}")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads: Shape = (0, 0, 0, 0)
    if padding == _SAME:
        pads = same_pads(x.shape[1:3], extents, strides, upper=True)
    return {"strides": strides, "dilations": dilations, "pads": pads}


def _weights(b: TfliteBuilder, node: Node, perm: Shape) -> Value:
    shape = b.shape(node, 1)
    if len(shape) != len(perm):
        raise ShapeError(f"{node.label()}: weights {shape} must have rank {len(perm)}")
    return b.layer_weight(node, perm)


@handles("CONV_2D")
def conv_2d(b: TfliteBuilder, node: Node) -> None:
    """Groups follow from the channels on both sides."""
    x, w = b.operand(node, 0), _weights(b, node, (0, 1, 2, 3))
    attrs = window(node, w.shape[1:3], x)
    if w.shape[3] < 1 or x.shape[3] % w.shape[3]:
        raise ShapeError(f"{node.label()}: {x.shape[3]} input channels for weights {w.shape}")
    _layer(b, node, x, w, {**attrs, "groups": x.shape[3] // w.shape[3]})


@handles("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(b: TfliteBuilder, node: Node) -> None:
    """Output channel c*m + q reads input channel c, in TFLite as in the IR."""
    x, w = b.operand(node, 0), _weights(b, node, (3, 1, 2, 0))
    attrs = window(node, w.shape[1:3], x)
    if w.shape[3] != 1 or x.shape[3] < 1 or w.shape[0] % x.shape[3]:
        raise ShapeError(
            f"{node.label()}: {x.shape[3]} input channels for weights {b.shape(node, 1)}"
        )
    _layer(b, node, x, w, {**attrs, "groups": x.shape[3]})


def _layer(b: TfliteBuilder, node: Node, x: Value, w: Value, attrs: dict[str, Any]) -> None:
    clamp = activation(node)
    bias = b.layer_bias(node, w)
    fused = {} if clamp is None else {"clamp": clamp}
    b.result(node, "Conv", [x.name, w.name, *bias], {**attrs, **fused})


@handles("FULLY_CONNECTED")
def fully_connected(b: TfliteBuilder, node: Node) -> None:
    """before: FULLY_CONNECTED(x [N,H,W,C], w [O,K]);  after: Linear(Reshape(x) [N*H*W*C/K,K], w)"""
    if attr(node, "WeightsFormat", 0, int):
        raise unsupported(node, "shuffled weights; convert the model without that optimization")
    shape = b.shape(node, 1)
    if len(shape) != 2 or shape[1] < 1:
        raise ShapeError(f"{node.label()}: weights {shape} must be [outputs, inputs]")
    x = b.operand(node, 0)
    if not attr(node, "KeepNumDims", False, bool) and x.shape != (*x.shape[:1], shape[1]):
        x = _rows(b, node, shape[1])
    clamp = activation(node)
    attrs = {} if clamp is None else {"clamp": clamp}
    name = b.required(node, 1)
    if name in b.constants or name in b.quantized:
        w = b.layer_weight(node, (0, 1))
        b.result(node, "Linear", [x.name, w.name, *b.layer_bias(node, w)], attrs)
        return
    if b.optional(node, 2) is not None:
        raise unsupported(node, f"weights '{name}' are computed and there is a bias; use MUL, ADD")
    w = b.step(node, "Transpose", "weights", b.operand(node, 1), {"perm": (1, 0)})
    b.result(node, "MatMul", [x.name, w.name], attrs)


def _rows(b: TfliteBuilder, node: Node, length: int) -> Value:
    """Input 0 as [rows, length]; the first dim stays what it is where that is the same."""
    x = b.stored(node, 0)
    first = 0 if x.shape and math.prod(x.shape[1:]) == length else -1
    moved = b.step(node, "Reshape", "rows", x, {"shape": (first, length)})
    if not moved.is_8bit:
        return moved
    real = b.unique(f"{moved.name}/real")
    return b.emit("DequantizeLinear", real, [moved.name], real, dtype="f32")


def _kernel(node: Node) -> Shape:
    return attr(node, "FilterHeight", 0, int), attr(node, "FilterWidth", 0, int)


@handles("MAX_POOL_2D")
def max_pool_2d(b: TfliteBuilder, node: Node) -> None:
    """On bytes, unless an activation is fused into it that cuts something off."""
    kernel = _kernel(node)
    attrs = {"kernel": kernel, **window(node, kernel, b.stored(node, 0))}
    if activation(node) is None:
        b.move(node, "MaxPool", attrs)
        return
    b.clipped(node, "MaxPool", [b.operand(node, 0).name], attrs)


@handles("AVERAGE_POOL_2D")
def average_pool_2d(b: TfliteBuilder, node: Node) -> None:
    """Padding does not count."""
    x, kernel = b.operand(node, 0), _kernel(node)
    attrs = {"kernel": kernel, **window(node, kernel, x), "count_include_pad": False}
    b.clipped(node, "AveragePool", [x.name], attrs)


@handles("MEAN")
def mean(b: TfliteBuilder, node: Node) -> None:
    """Over height and width it is GlobalAveragePool, which has an 8-bit form."""
    x = b.operand(node, 0)
    rank = len(x.shape)
    found = b.numbers(node, 1, "axes")
    if any(not -rank <= axis < rank for axis in found):
        raise FormatError(f"{node.label()}: axes {found} of a rank-{rank} tensor")
    axes = tuple(sorted({axis % rank for axis in found}))
    keep = attr(node, "KeepDims", False, bool)
    if rank != 4 or axes != (1, 2):
        b.result(node, "ReduceMean", [x.name], {"axes": axes, "keepdims": keep})
    elif keep:
        b.result(node, "GlobalAveragePool", [x.name])
    else:
        pooled = b.step(node, "GlobalAveragePool", "pooled", x, {})
        b.result(node, "Reshape", [pooled.name], {"shape": (0, x.shape[3])})


@handles("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(b: TfliteBuilder, node: Node) -> None:
    """Half pixels round upwards in TFLite: floor((y + 0.5) * scale)."""
    nearest = node.op == "RESIZE_NEAREST_NEIGHBOR"
    x = b.stored(node, 0) if nearest else b.operand(node, 0)
    size = b.numbers(node, 1, "size")
    if len(x.shape) != 4 or len(size) != 2 or min(size) < 1:
        raise ShapeError(f"{node.label()}: size {size} for an input {x.shape}")
    align = attr(node, "AlignCorners", False, bool)
    half = attr(node, "HalfPixelCenters", False, bool)
    if align and nearest:
        raise unsupported(node, "nearest pixels with align_corners; use half_pixel_centers")
    attrs = {
        "mode": "nearest" if nearest else "linear",
        "coordinates": "align_corners" if align else "half_pixel" if half else "asymmetric",
        "rounding": "round_prefer_ceil" if half else "floor",
        "size": size,
    }
    if nearest:
        b.move(node, "Resize", attrs)
    else:
        b.result(node, "Resize", [x.name], attrs)

# SPDX-License-Identifier: Apache-2.0
"""Convolution and pooling: NCHW of any kind of padding to NHWC with explicit pads.

before: y = Conv(x [N,C,H,W], w [O,C/g,kh,kw])
after:  y = Transpose(Conv(Transpose(x) [N,H,W,C], w [O,kh,kw,C/g]))

One-dimensional operators become two-dimensional ones with height 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from octavo.errors import FormatError, ShapeError
from octavo.importers.onnx_builder import (
    Builder,
    attr,
    attr_ints,
    handles,
    normal_axis,
    unsupported,
)
from octavo.ir import Node, Shape, Value

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


def to_nhwc(b: Builder, node: Node, x: Value) -> Value:
    """`x` [N,C,H,W] or [N,C,W] as [N,H,W,C]. Raises UnsupportedError for another rank."""
    rank = len(x.shape)
    if rank not in (3, 4):
        raise unsupported(node, f"input of rank {rank}; only 1-D and 2-D operators work")
    if rank == 3:
        name = b.unique(f"{node.name}/unsqueeze")
        x = b.emit("Unsqueeze", name, [x.name], name, {"axes": (2,)})
    name = b.unique(f"{node.name}/nhwc")
    return b.emit("Transpose", name, [x.name], name, {"perm": TO_NHWC})


def from_nhwc(b: Builder, node: Node, y: Value, rank: int, output: str) -> None:
    """`y` [N,H,W,C] as `output` in ONNX's layout of that rank."""
    if rank == 4:
        b.emit("Transpose", f"{node.name}/nchw", [y.name], output, {"perm": TO_NCHW})
        return
    name = b.unique(f"{node.name}/nchw")
    b.emit("Transpose", name, [y.name], name, {"perm": TO_NCHW})
    b.emit("Squeeze", f"{node.name}/squeeze", [name], output, {"axes": (2,)})


def window(node: Node, kernel: Shape, size: Shape) -> dict[str, Any]:
    """strides, dilations and pads of IR operators, two-dimensional; `auto_pad` resolved.

    `kernel` and `size` (of the input) have the operator's 1 or 2 dimensions. Raises FormatError
    or UnsupportedError for values without meaning.
    """
    rank = len(kernel)
    strides = _positive(node, "strides", rank)
    dilations = _positive(node, "dilations", rank)
    if len(size) != rank or min(kernel) < 1:
        raise FormatError(f"{node.label()}: kernel {kernel} for an input of size {size}")
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    mode = attr(node, "auto_pad", "NOTSET", str)
    if mode == "NOTSET":
        pads = attr_ints(node, "pads", (0,) * (2 * rank)) or ()
        if len(pads) != 2 * rank:
            raise FormatError(f"{node.label()}: {len(pads)} pads for {rank} dimensions")
        if min(pads) < 0:
            raise unsupported(node, f"negative pads {pads}; crop with Slice")
    elif mode == "VALID":
        pads = (0,) * (2 * rank)
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = same_pads(size, extents, strides, upper=mode == "SAME_UPPER")
    else:
        raise FormatError(f"{node.label()}: auto_pad '{mode}'")
    if rank == 1:
        pads = (0, pads[0], 0, pads[1])
    return {"strides": _pair(strides), "dilations": _pair(dilations), "pads": pads}


def _pair(numbers: Shape) -> Shape:
    return (1, *numbers) if len(numbers) == 1 else numbers


def _positive(node: Node, key: str, rank: int) -> Shape:
    found = attr_ints(node, key, (1,) * rank) or ()
    if len(found) != rank or min(found) < 1:
        raise FormatError(f"{node.label()}: {key} {found} must be {rank} numbers of at least 1")
    return found


def same_pads(size: Shape, extents: Sequence[int], strides: Shape, *, upper: bool) -> Shape:
    """Pads that make the output ceil(size / stride); the odd pixel at the end (upper) or start."""
    begins, ends = [], []
    for length, extent, stride in zip(size, extents, strides, strict=True):
        total = max((math.ceil(length / stride) - 1) * stride + extent - length, 0)
        less, more = total // 2, total - total // 2
        begins.append(less if upper else more)
        ends.append(more if upper else less)
    return (*begins, *ends)


def ceil_pads(kernel: Shape, size: Shape, attrs: dict[str, Any]) -> Shape:
    """Pads of a two-dimensional `ceil_mode` pool: the end grows so that the last window fits.

    A window that would start beyond the input and its leading pad is dropped, as in ONNX.
    """
    top, left, bottom, right = attrs["pads"]
    ends = []
    for side, (begin, end) in enumerate(((top, bottom), (left, right))):
        stride = attrs["strides"][side]
        extent = (kernel[side] - 1) * attrs["dilations"][side] + 1
        padded = size[side] + begin + end
        count = math.ceil((padded - extent) / stride) + 1
        if (count - 1) * stride >= size[side] + begin:
            count -= 1
        ends.append(end + max((count - 1) * stride + extent - padded, 0))
    return (top, left, ends[0], ends[1])


@handles("Conv")
def conv(b: Builder, node: Node) -> None:
    """Weights OIHW become OHWI once, also under DequantizeLinear."""
    x = b.real(node, 0)
    rank = len(x.shape)
    w_shape = b.shape(node, 1)
    if rank not in (3, 4):
        raise unsupported(node, f"input of rank {rank}; only 1-D and 2-D convolutions work")
    if len(w_shape) != rank:
        raise ShapeError(f"{node.label()}: weights {w_shape} for an input of rank {rank}")
    kernel = w_shape[2:]
    if attr_ints(node, "kernel_shape", kernel) != kernel:
        raise ShapeError(f"{node.label()}: kernel_shape differs from weights {w_shape}")
    attrs = window(node, kernel, x.shape[2:])
    attrs["groups"] = attr(node, "group", 1, int)
    w = b.weight(node, 1, TO_NHWC, insert=2 if rank == 3 else None)
    operands = [to_nhwc(b, node, x).name, w.name, *bias(b, node, 2)]
    name = b.unique(f"{node.outputs[0]}/nhwc")
    y = b.emit("Conv", node.name, operands, name, attrs)
    from_nhwc(b, node, y, rank, node.outputs[0])


def bias(b: Builder, node: Node, index: int) -> list[str]:
    """The bias operand, empty if absent. Raises UnsupportedError where it is computed."""
    name = b.optional(node, index)
    if name is None:
        return []
    if name not in b.constants and name not in b.quantized:
        raise unsupported(node, f"bias '{name}' is computed at run time; it must be constant")
    return [b.real(node, index).name]


@handles("MaxPool")
def max_pool(b: Builder, node: Node) -> None:
    """Float32 or 8-bit values; padding never wins."""
    if len([name for name in node.outputs if name]) > 1:
        raise unsupported(node, "the second output (indices)")
    _pool(b, node, "MaxPool", b.movable(node, 0), {})


@handles("AveragePool")
def average_pool(b: Builder, node: Node) -> None:
    """Padding counts only where `count_include_pad` says so."""
    include = bool(attr(node, "count_include_pad", 0, int))
    _pool(b, node, "AveragePool", b.real(node, 0), {"count_include_pad": include})


def _pool(b: Builder, node: Node, op: str, x: Value, extra: dict[str, Any]) -> None:
    kernel = attr_ints(node, "kernel_shape", None)
    if kernel is None or len(kernel) != len(x.shape) - 2:
        raise FormatError(f"{node.label()}: kernel_shape {kernel} for an input {x.shape}")
    rank, size = len(x.shape), x.shape[2:]
    image = to_nhwc(b, node, x)
    attrs = {"kernel": _pair(kernel), **window(node, kernel, size), **extra}
    if attr(node, "ceil_mode", 0, int):
        pads = ceil_pads(_pair(kernel), _pair(size), attrs)
        if pads != attrs["pads"] and extra.get("count_include_pad"):
            raise unsupported(
                node, "ceil_mode with count_include_pad counts partial windows; export with pads"
            )
        attrs["pads"] = pads
    name = b.unique(f"{node.outputs[0]}/nhwc")
    y = b.emit(op, node.name, [image.name], name, attrs)
    from_nhwc(b, node, y, rank, node.outputs[0])


@handles("GlobalAveragePool")
def global_average_pool(b: Builder, node: Node) -> None:
    """The mean over height and width."""
    x = b.real(node, 0)
    name = b.unique(f"{node.outputs[0]}/nhwc")
    y = b.emit("GlobalAveragePool", node.name, [to_nhwc(b, node, x).name], name)
    from_nhwc(b, node, y, len(x.shape), node.outputs[0])


@handles("ReduceMean")
def reduce_mean(b: Builder, node: Node) -> None:
    """A mean over any axes is a GlobalAveragePool of a permuted, reshaped input; one that keeps the
    last axis stays, for it may be part of a layer normalization (see `passes.expand_mean`).

    The kept axes stay in order; the first of them (the batch, as a rule) comes first.
    """
    x = b.real(node, 0)
    rank = len(x.shape)
    found = b.axes(node, 18, None)
    if not found and attr(node, "noop_with_empty_axes", 0, int):
        b.alias[node.outputs[0]] = x.name
        return
    axes = sorted({normal_axis(node, axis, rank) for axis in (found or range(rank))})
    kept = [axis for axis in range(rank) if axis not in axes]
    if axes == [rank - 1] and rank > 1 and attr(node, "keepdims", 1, int):
        attrs = {"axes": (rank - 1,), "keepdims": True}
        b.emit("ReduceMean", node.name, [x.name], node.outputs[0], attrs)
        return
    if not kept:
        raise unsupported(node, "the mean over all axes; keep the batch axis")
    perm = (kept[0], *axes, *kept[1:])
    count = math.prod(x.shape[axis] for axis in axes)
    rest = math.prod(x.shape[axis] for axis in kept[1:])
    batch = 0 if kept[0] == 0 else x.shape[kept[0]]
    name = b.unique(f"{node.name}/permuted")
    x = b.emit("Transpose", name, [x.name], name, {"perm": perm})
    if len(perm) != 4 or len(axes) != 2:
        name = b.unique(f"{node.name}/image")
        x = b.emit("Reshape", name, [x.name], name, {"shape": (batch, 1, count, rest)})
    name = b.unique(f"{node.name}/mean")
    y = b.emit("GlobalAveragePool", node.name, [x.name], name)
    dims = [b.shape(node, 0)[axis] for axis in range(rank)]
    keep = attr(node, "keepdims", 1, int)
    target = [1 if axis in axes else dims[axis] for axis in range(rank) if keep or axis in kept]
    if target and kept[0] == 0:
        target[0] = 0
    b.emit("Reshape", f"{node.name}/shape", [y.name], node.outputs[0], {"shape": tuple(target)})

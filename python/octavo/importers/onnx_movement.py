# SPDX-License-Identifier: Apache-2.0
"""Operators that move elements without changing them: Reshape, Transpose, Concat, Slice, Pad …"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from octavo.errors import FormatError, ShapeError
from octavo.importers.onnx_builder import (
    Builder,
    attr,
    attr_ints,
    handles,
    normal_axis,
    unsupported,
)
from octavo.ir import Affine, Node

INT64_MAX = 2**63 - 1
WHOLE = (0, INT64_MAX, 1)


@handles("Reshape")
def reshape(b: Builder, node: Node) -> None:
    """A target that names the input's own first dimension copies it, so any batch size fits."""
    x = b.movable(node, 0)
    target = b.ints(node, 1, "shape")
    if target is None:
        raise FormatError(f"{node.label()}: the shape is missing")
    if attr(node, "allowzero", 0, int) and 0 in target:
        raise unsupported(node, f"shape {target} with allowzero=1 makes an empty tensor")
    if any(dim < -1 for dim in target) or target.count(-1) > 1:
        raise ShapeError(f"{node.label()}: shape {target}")
    if target and x.shape and target[0] == x.shape[0]:
        target = (0, *target[1:])
    b.emit("Reshape", node.name, [x.name], node.outputs[0], {"shape": target})


@handles("Flatten")
def flatten(b: Builder, node: Node) -> None:
    """A negative axis counts from the end."""
    x = b.movable(node, 0)
    axis = attr(node, "axis", 1, int)
    if not -len(x.shape) <= axis <= len(x.shape):
        raise FormatError(f"{node.label()}: axis {axis} of a rank-{len(x.shape)} tensor")
    axis = axis + len(x.shape) if axis < 0 else axis
    b.emit("Flatten", node.name, [x.name], node.outputs[0], {"axis": axis})


@handles("Squeeze")
def squeeze(b: Builder, node: Node) -> None:
    """Without axes: all of length 1."""
    x = b.movable(node, 0)
    rank = len(x.shape)
    axes = b.axes(node, 13, None)
    if axes is None:
        axes = tuple(axis for axis, dim in enumerate(x.shape) if dim == 1)
    axes = tuple(sorted(normal_axis(node, axis, rank) for axis in axes))
    b.emit("Squeeze", node.name, [x.name], node.outputs[0], {"axes": axes})


@handles("Unsqueeze")
def unsqueeze(b: Builder, node: Node) -> None:
    """Axes count in the result's rank."""
    x = b.movable(node, 0)
    axes = b.axes(node, 13, None) or ()
    rank = len(x.shape) + len(axes)
    axes = tuple(sorted(normal_axis(node, axis, rank) for axis in axes))
    b.emit("Unsqueeze", node.name, [x.name], node.outputs[0], {"axes": axes})


@handles("Transpose")
def transpose(b: Builder, node: Node) -> None:
    """A dequantized constant is permuted at once, so that it still serves as a weight."""
    name = b.required(node, 0)
    rank = len(b.shape(node, 0))
    perm = attr_ints(node, "perm", tuple(reversed(range(rank)))) or ()
    if sorted(perm) != list(range(rank)):
        raise FormatError(f"{node.label()}: perm {perm} of a rank-{rank} tensor")
    if name in b.quantized:
        stored = b.quantized[name]
        axis = stored.affine.axis
        affine = replace(stored.affine, axis=None if axis is None else perm.index(axis))
        data = np.ascontiguousarray(np.transpose(np.asarray(stored.data), perm))
        data.setflags(write=False)
        new = replace(
            stored,
            name=b.unique(f"{stored.name}/transposed"),
            shape=data.shape,
            quant=affine,
            data=data,
        )
        b.quantized[node.outputs[0]] = new
        return
    x = b.movable(node, 0)
    b.emit("Transpose", node.name, [x.name], node.outputs[0], {"perm": perm})


@handles("Concat")
def concat(b: Builder, node: Node) -> None:
    """8-bit inputs are read under the parameters of the first: bytes move, nothing is rescaled."""
    values = [b.movable(node, index) for index in range(len(node.inputs))]
    first = values[0]
    if any(value.dtype != first.dtype for value in values):
        raise unsupported(node, f"inputs of types {[value.dtype for value in values]}")
    axis = normal_axis(node, attr(node, "axis", 1, int), len(first.shape))
    if isinstance(first.quant, Affine):
        values = [b.read_as(value, first.quant) for value in values]
    b.emit("Concat", node.name, [value.name for value in values], node.outputs[0], {"axis": axis})


def _slice_attrs(ranges: list[tuple[int, int, int]]) -> dict[str, Any]:
    return {
        "starts": tuple(item[0] for item in ranges),
        "ends": tuple(item[1] for item in ranges),
        "steps": tuple(item[2] for item in ranges),
    }


@handles("Slice")
def slice_(b: Builder, node: Node) -> None:
    """One range per axis; ONNX names only the sliced axes."""
    x = b.movable(node, 0)
    rank = len(x.shape)
    starts, ends = b.ints(node, 1, "starts"), b.ints(node, 2, "ends")
    if starts is None or ends is None:
        raise FormatError(f"{node.label()}: starts or ends are missing")
    axes = b.ints(node, 3, "axes")
    axes = tuple(range(len(starts))) if axes is None else axes
    steps = b.ints(node, 4, "steps")
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise FormatError(f"{node.label()}: {starts}:{ends}:{steps} along axes {axes}")
    ranges = [WHOLE] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = normal_axis(node, axis, rank)
        if ranges[axis] is not WHOLE:
            raise FormatError(f"{node.label()}: axis {axis} is sliced twice")
        ranges[axis] = (start, end, step)
    b.emit("Slice", node.name, [x.name], node.outputs[0], _slice_attrs(ranges))


@handles("Split")
def split(b: Builder, node: Node) -> None:
    """before: a, b = Split(x, axis);  after: a = Slice(x, 0:n), b = Slice(x, n:)."""
    x = b.movable(node, 0)
    rank, count = len(x.shape), len(node.outputs)
    axis = normal_axis(node, attr(node, "axis", 0, int), rank)
    sizes = b.ints(node, 1, "split") if b.opset >= 13 else attr_ints(node, "split", None)
    if sizes is None:
        each = math.ceil(x.shape[axis] / count)
        sizes = (*(each,) * (count - 1), x.shape[axis] - each * (count - 1))
        if b.opset < 18 and sizes[-1] != each:
            raise ShapeError(f"{node.label()}: {x.shape[axis]} elements in {count} equal parts")
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != x.shape[axis]:
        raise ShapeError(f"{node.label()}: parts {sizes} of axis {axis} of {x.shape}")
    start = 0
    for index, (size, output) in enumerate(zip(sizes, node.outputs, strict=True)):
        ranges = [WHOLE] * rank
        ranges[axis] = (start, start + size, 1)
        start += size
        if output:
            name = f"{node.name}/{index}"
            b.emit("Slice", name, [x.name], output, _slice_attrs(ranges))


@handles("Pad")
def pad(b: Builder, node: Node) -> None:
    """Constant padding; the value of 8-bit tensors becomes the real number it means."""
    x = b.movable(node, 0)
    rank = len(x.shape)
    mode = attr(node, "mode", "constant", str)
    if mode != "constant":
        raise unsupported(node, f"mode '{mode}'; only constant padding works")
    if b.opset < 11:
        amounts, axes = attr_ints(node, "pads", None), None
        value = attr(node, "value", 0.0, float)
    else:
        amounts, axes = b.ints(node, 1, "pads"), b.ints(node, 3, "axes")
        found = b.array(node, 2, "constant_value")
        value = 0.0 if found is None or not found.size else float(found.reshape(-1)[0])
    axes = tuple(range(rank)) if axes is None else axes
    if amounts is None or len(amounts) != 2 * len(axes):
        raise FormatError(f"{node.label()}: pads {amounts} for axes {axes}")
    if min(amounts, default=0) < 0:
        raise unsupported(node, f"negative pads {amounts}; crop with Slice")
    if isinstance(x.quant, Affine):
        value = (value - x.zero_point) * x.scale
    begin, end = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        axis = normal_axis(node, axis, rank)
        begin[axis], end[axis] = amounts[index], amounts[index + len(axes)]
    attrs = {"begin": tuple(begin), "end": tuple(end), "value": value}
    b.emit("Pad", node.name, [x.name], node.outputs[0], attrs)

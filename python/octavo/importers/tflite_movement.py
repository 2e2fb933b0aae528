# SPDX-License-Identifier: Apache-2.0
"""Nodes that move or select elements, and arithmetic on shapes, which is done at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from octavo.errors import FormatError, LimitError, ShapeError
from octavo.importers.onnx_builder import attr, normal_axis, unsupported
from octavo.importers.tflite_builder import TfliteBuilder, handles
from octavo.ir import Array, Node

_END = 2**63 - 1
#: Most elements of a constant that the importer computes from constants.
_MAX_FOLDED = 1 << 20


@handles("RESHAPE")
def reshape(b: TfliteBuilder, node: Node) -> None:
    """The shape is the second input, or an option in old files."""
    shape = b.ints(node, 1, "shape")
    shape = attr(node, "NewShape", (), tuple) if shape is None else shape
    if any(dim < -1 or dim == 0 for dim in shape):
        raise FormatError(f"{node.label()}: shape {shape}")
    b.move(node, "Reshape", {"shape": shape})


@handles("SQUEEZE")
def squeeze(b: TfliteBuilder, node: Node) -> None:
    x = b.stored(node, 0)
    axes = attr(node, "SqueezeDims", (), tuple)
    if not axes:
        axes = tuple(axis for axis, dim in enumerate(x.shape) if dim == 1)
    b.move(node, "Squeeze", {"axes": axes})


@handles("EXPAND_DIMS")
def expand_dims(b: TfliteBuilder, node: Node) -> None:
    (axis,) = b.numbers(node, 1, "axis")
    axis = normal_axis(node, axis, len(b.stored(node, 0).shape) + 1)
    b.move(node, "Unsqueeze", {"axes": (axis,)})


@handles("TRANSPOSE")
def transpose(b: TfliteBuilder, node: Node) -> None:
    perm = b.numbers(node, 1, "perm")
    if sorted(perm) != list(range(len(b.stored(node, 0).shape))):
        raise ShapeError(f"{node.label()}: perm {perm} for {b.stored(node, 0).shape}")
    b.move(node, "Transpose", {"perm": perm})


@handles("PAD", "PADV2")
def pad(b: TfliteBuilder, node: Node) -> None:
    """A border of real zeros, or of a constant."""
    widths = b.array(node, 1, "paddings")
    rank = len(b.stored(node, 0).shape)
    if widths is None or widths.shape != (rank, 2) or widths.dtype.kind not in "iu":
        raise FormatError(f"{node.label()}: paddings must be integers [{rank}, 2]")
    begin, end = (tuple(int(item) for item in widths[:, side]) for side in (0, 1))
    b.move(node, "Pad", {"begin": begin, "end": end, "value": _border(b, node)})


def _border(b: TfliteBuilder, node: Node) -> float:
    name = b.optional(node, 2)
    if name is None:
        return 0.0
    if name in b.quantized:
        stored = b.quantized[name]
        found = (np.asarray(stored.data, np.float64) - stored.zero_point) * stored.scale
    else:
        constant = b.array(node, 2, "border value")
        assert constant is not None
        found = constant.astype(np.float64)
    if found.size != 1:
        raise FormatError(f"{node.label()}: the border value is {found.size} numbers")
    return float(found.reshape(-1)[0])


@handles("CONCATENATION")
def concatenation(b: TfliteBuilder, node: Node) -> None:
    parts = [b.operand(node, at).name for at in range(len(node.inputs))]
    if not parts:
        raise FormatError(f"{node.label()}: no inputs")
    rank = len(b.use(parts[0]).shape)
    b.clipped(node, "Concat", parts, {"axis": normal_axis(node, attr(node, "Axis", 0, int), rank)})


@handles("PACK")
def pack(b: TfliteBuilder, node: Node) -> None:
    """before: PACK(a, b);  after: Concat(Unsqueeze(a), Unsqueeze(b))"""
    parts = [b.operand(node, at) for at in range(len(node.inputs))]
    if not parts:
        raise FormatError(f"{node.label()}: no inputs")
    axis = normal_axis(node, attr(node, "Axis", 0, int), len(parts[0].shape) + 1)
    wide = [b.step(node, "Unsqueeze", "part", part, {"axes": (axis,)}).name for part in parts]
    b.result(node, "Concat", wide, {"axis": axis})


def _slice(
    b: TfliteBuilder,
    node: Node,
    bounds: Sequence[tuple[int, int, int]],
    dropped: Sequence[int],
    output: str | None = None,
) -> None:
    """x[start:end:step] per axis, without the axes `dropped`."""
    starts, ends, steps = (tuple(item[at] for item in bounds) for at in range(3))
    attrs = {"starts": starts, "ends": ends, "steps": steps}
    if not dropped:
        b.move(node, "Slice", attrs, output=output)
        return
    x = b.step(node, "Slice", "slice", b.stored(node, 0), attrs)
    b.move(node, "Squeeze", {"axes": tuple(dropped)}, x, output)


def _whole(rank: int, axis: int, start: int, end: int) -> list[tuple[int, int, int]]:
    return [(start, end, 1) if at == axis else (0, _END, 1) for at in range(rank)]


@handles("SLICE")
def slice_(b: TfliteBuilder, node: Node) -> None:
    x = b.stored(node, 0)
    begin, size = b.numbers(node, 1, "begin"), b.numbers(node, 2, "size")
    if len(begin) != len(x.shape) or len(size) != len(x.shape) or min((*begin, 0)) < 0:
        raise ShapeError(f"{node.label()}: begin {begin} and size {size} for {x.shape}")
    ends = [_END if s == -1 else start + s for start, s in zip(begin, size, strict=True)]
    _slice(b, node, [(start, end, 1) for start, end in zip(begin, ends, strict=True)], ())


def _strided(
    b: TfliteBuilder, node: Node, rank: int
) -> tuple[list[tuple[int, int, int]], list[int]]:
    """(bounds per axis, axes to drop) of STRIDED_SLICE. Raises UnsupportedError for odd masks."""
    for key in ("EllipsisMask", "NewAxisMask"):
        if attr(node, key, 0, int):
            raise unsupported(node, f"{key} is set; slice with plain bounds")
    parts = [b.numbers(node, at, what) for at, what in ((1, "begin"), (2, "end"), (3, "strides"))]
    if any(len(part) != len(parts[0]) for part in parts) or len(parts[0]) > rank:
        raise ShapeError(f"{node.label()}: begin, end and strides {parts} for rank {rank}")
    begin_mask, end_mask, shrink = (
        attr(node, key, 0, int) for key in ("BeginMask", "EndMask", "ShrinkAxisMask")
    )
    bounds, dropped = [], []
    for axis, (start, end, step) in enumerate(zip(*parts, strict=True)):
        if shrink >> axis & 1:
            dropped.append(axis)
            bounds.append((start, start + 1 if start != -1 else _END, 1))
            continue
        first = (0 if step > 0 else _END) if begin_mask >> axis & 1 else start
        last = (_END if step > 0 else -_END) if end_mask >> axis & 1 else end
        bounds.append((first, last, step))
    bounds += [(0, _END, 1)] * (rank - len(bounds))
    return bounds, dropped


@handles("STRIDED_SLICE")
def strided_slice(b: TfliteBuilder, node: Node) -> None:
    bounds, dropped = _strided(b, node, len(b.stored(node, 0).shape))
    _slice(b, node, bounds, dropped)


@handles("SPLIT", "SPLIT_V")
def split(b: TfliteBuilder, node: Node) -> None:
    """One Slice per output."""
    data, where = (1, 0) if node.op == "SPLIT" else (0, 2)
    x = b.stored(node, data)
    (axis,) = b.numbers(node, where, "axis")
    axis = normal_axis(node, axis, len(x.shape))
    count = len(node.outputs)
    if node.op == "SPLIT":
        if x.shape[axis] % max(count, 1):
            raise ShapeError(f"{node.label()}: {x.shape} along axis {axis} in {count} parts")
        sizes: tuple[int, ...] = (x.shape[axis] // max(count, 1),) * count
    else:
        sizes = b.numbers(node, 1, "sizes")
    rest = x.shape[axis] - sum(size for size in sizes if size >= 0)
    sizes = tuple(rest if size == -1 else size for size in sizes)
    if len(sizes) != count or min((*sizes, 0)) < 0 or sum(sizes) != x.shape[axis]:
        raise ShapeError(f"{node.label()}: parts {sizes} of {x.shape} along axis {axis}")
    moved = Node(node.name, node.op, (node.inputs[data],), node.outputs, node.attrs)
    start = 0
    for name, size in zip(node.outputs, sizes, strict=True):
        _slice(b, moved, _whole(len(x.shape), axis, start, start + size), (), name)
        start += size


@handles("UNPACK")
def unpack(b: TfliteBuilder, node: Node) -> None:
    """One Slice and Squeeze per output."""
    x = b.stored(node, 0)
    axis = normal_axis(node, attr(node, "Axis", 0, int), len(x.shape))
    if len(node.outputs) != x.shape[axis]:
        raise ShapeError(f"{node.label()}: {len(node.outputs)} outputs of {x.shape}, axis {axis}")
    for at, name in enumerate(node.outputs):
        _slice(b, node, _whole(len(x.shape), axis, at, at + 1), (axis,), name)


@handles("GATHER")
def gather(b: TfliteBuilder, node: Node) -> None:
    if attr(node, "BatchDims", 0, int):
        raise unsupported(node, "batch_dims other than 0")
    x, indices = b.operand(node, 0), b.use(b.required(node, 1))
    if indices.dtype not in ("s32", "s64"):
        raise unsupported(node, f"indices '{indices.name}' are {indices.dtype}; use int32")
    axis = normal_axis(node, attr(node, "Axis", 0, int), len(x.shape))
    b.result(node, "Gather", [x.name, indices.name], {"axis": axis})


@handles("FILL", "SHAPE")
def computed(b: TfliteBuilder, node: Node) -> None:
    """Only as arithmetic on constants, which `try_fold` does."""
    raise unsupported(node, "its input is computed at run time; it must be constant")


def try_fold(b: TfliteBuilder, node: Node) -> bool:
    """Computes SHAPE, and integers from constants; False for a node that stays in the graph."""
    function = _FOLDS.get(node.op)
    if function is None or (node.op != "SHAPE" and not _all_constant(b, node)):
        return False
    found = function(b, node)
    b.define(b.required_output(node), np.asarray(found, order="C"))
    return True


def _all_constant(b: TfliteBuilder, node: Node) -> bool:
    names = [name for name in node.inputs if name]
    if any(name not in b.constants and name not in b.quantized for name in names):
        return False
    if node.op == "FILL":
        return True
    return bool(names) and all(
        name in b.constants and b.constants[name].dtype.kind in "iu" for name in names
    )


def _fold_shape(b: TfliteBuilder, node: Node) -> Array:
    return np.asarray(b.shape(node, 0), b.tensors[b.required_output(node)].numpy_type)


def _fold_slice(b: TfliteBuilder, node: Node) -> Array:
    x = b.constants[b.required(node, 0)]
    bounds, dropped = _strided(b, node, x.ndim)
    if any(step == 0 for _, _, step in bounds):
        raise FormatError(f"{node.label()}: a stride of 0")
    cut = [slice(first, None if abs(last) == _END else last, step) for first, last, step in bounds]
    return np.asarray(np.squeeze(x[tuple(cut)], axis=tuple(dropped)))


def _fold_pack(b: TfliteBuilder, node: Node) -> Array:
    parts = [b.constants[b.required(node, at)] for at in range(len(node.inputs))]
    return np.stack(parts, attr(node, "Axis", 0, int))


def _fold_fill(b: TfliteBuilder, node: Node) -> Array:
    dims = b.numbers(node, 0, "dims")
    name = b.required(node, 1)
    value = b.quantized[name].data if name in b.quantized else b.constants[name]
    if min((*dims, 0)) < 0 or math.prod(dims) > _MAX_FOLDED:
        raise LimitError(f"{node.label()}: fills {dims}; the limit is {_MAX_FOLDED} elements")
    return np.full(dims, np.asarray(value).reshape(()))


_FOLDS: dict[str, Callable[[TfliteBuilder, Node], Array]] = {
    "FILL": _fold_fill,
    "PACK": _fold_pack,
    "SHAPE": _fold_shape,
    "STRIDED_SLICE": _fold_slice,
}

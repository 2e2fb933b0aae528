# SPDX-License-Identifier: Apache-2.0
"""Evaluation of ONNX nodes whose inputs are all known at import: the shape arithmetic of exporters.

Every size is known before memory is taken; what one file can make the importer compute is bounded
by `MAX_ELEMENTS` per node beyond the size of its inputs and `MAX_TOTAL` over all nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from octavo.errors import FormatError, LimitError
from octavo.importers.onnx_builder import Builder, attr, attr_ints, normal_axis, unsupported
from octavo.importers.onnx_proto import numpy_type
from octavo.ir import Array, Node

MAX_ELEMENTS = 1 << 20
MAX_TOTAL = 1 << 26

_BINARY: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Min": np.minimum,
    "Max": np.maximum,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
}
_UNARY: dict[str, Callable[..., Any]] = {
    "Neg": np.negative,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Sqrt": np.sqrt,
    "Not": np.logical_not,
}
#: Ops that make data of no data; they need no constant inputs.
_SOURCES = ("Constant", "Shape", "Size")
_SHAPES = (
    "Cast", "Concat", "ConstantOfShape", "Div", "Expand", "Flatten", "Gather", "Mod", "Range",
    "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Where",
)  # fmt: skip
FOLDABLE = frozenset((*_SHAPES, *_SOURCES, *_BINARY, *_UNARY))


def try_fold(b: Builder, node: Node) -> bool:
    """Evaluates the node into `b.constants` if it can be; says whether it did.

    Raises LimitError where the result is too large, FormatError where operands make no sense.
    """
    if node.op not in FOLDABLE:
        return False
    if node.op in _SOURCES:
        result = _source(b, node)
    elif all(not name or name in b.constants for name in node.inputs) and any(node.inputs):
        result = _evaluate(b, node, [b.constants.get(name) for name in node.inputs])
    else:
        return False
    if result.size > 1:
        b.folded_elements += result.size
    if b.folded_elements > MAX_TOTAL:
        raise LimitError(f"{node.label()}: folding constants makes over {MAX_TOTAL} elements")
    b.constants[node.outputs[0]] = result
    return True


def _source(b: Builder, node: Node) -> Array:
    if node.op == "Constant":
        return _constant(node)
    shape = b.shape(node, 0)
    if node.op == "Size":
        return np.asarray(math.prod(shape), np.int64)
    start, end = attr(node, "start", 0, int), attr(node, "end", None, int)
    return np.asarray(shape[start:end], np.int64)


def _constant(node: Node) -> Array:
    for key, dtype in (("value_float", np.float32), ("value_int", np.int64),
                       ("value_floats", np.float32), ("value_ints", np.int64)):  # fmt: skip
        if key in node.attrs:
            return np.asarray(node.attrs[key], dtype)
    value = node.attrs.get("value")
    if not isinstance(value, np.ndarray):
        raise unsupported(node, f"only number tensors work, not {list(node.attrs)}")
    return value


def _evaluate(b: Builder, node: Node, args: Sequence[Array | None]) -> Array:
    present = [item for item in args if item is not None]
    special = _SPECIAL.get(node.op)
    if special is not None:
        return special(b, node, present)
    _check(node, math.prod(np.broadcast_shapes(*(item.shape for item in present))), present)
    with np.errstate(all="ignore"):
        if node.op in _UNARY:
            result = _UNARY[node.op](present[0])
        else:
            result = present[0]
            for other in present[1:]:
                result = _BINARY[node.op](result, other)
    return np.asarray(result)


def _check(node: Node, elements: int, args: Sequence[Array]) -> None:
    limit = MAX_ELEMENTS + sum(item.size for item in args)
    if elements > limit:
        raise LimitError(f"{node.label()}: folds to {elements} elements; the limit is {limit}")


def _div(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    _check(node, math.prod(np.broadcast_shapes(args[0].shape, args[1].shape)), args)
    if args[0].dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.asarray(args[0] / args[1])
    if not np.all(args[1]):
        raise FormatError(f"{node.label()}: integer division by 0")
    # ONNX truncates towards zero; `//` rounds down
    signs = np.sign(args[0]) * np.sign(args[1])
    return np.asarray(signs * (np.abs(args[0]) // np.abs(args[1])), args[0].dtype)


def _mod(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    _check(node, math.prod(np.broadcast_shapes(args[0].shape, args[1].shape)), args)
    if args[0].dtype.kind != "f" and not np.all(args[1]):
        raise FormatError(f"{node.label()}: integer division by 0")
    function = np.fmod if attr(node, "fmod", 0, int) else np.mod
    with np.errstate(all="ignore"):
        return np.asarray(function(args[0], args[1]))


def _cast(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    wanted = numpy_type(attr(node, "to", 0, int), node.label()).newbyteorder("=")
    with np.errstate(all="ignore"):
        return args[0].astype(wanted)


def _gather(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    data, indices = args
    axis = normal_axis(node, attr(node, "axis", 0, int), data.ndim)
    _check(node, data.size // max(data.shape[axis], 1) * indices.size, args)
    if indices.dtype.kind != "i":
        raise FormatError(f"{node.label()}: indices are {indices.dtype}")
    return np.asarray(np.take(data, indices, axis=axis))


def _range(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    start, limit, delta = (item.reshape(-1)[0] for item in args)
    if delta == 0:
        raise FormatError(f"{node.label()}: delta is 0")
    _check(node, max(0, math.ceil((float(limit) - float(start)) / float(delta))), args)
    return np.arange(start, limit, delta, dtype=args[0].dtype)


def _sizes(node: Node, array: Array) -> tuple[int, ...]:
    dims = tuple(int(item) for item in array.reshape(-1))
    if any(dim < 0 for dim in dims) or len(dims) > 8:
        raise FormatError(f"{node.label()}: shape {dims} of a constant")
    return dims


def _constant_of_shape(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    dims = _sizes(node, args[0])
    _check(node, math.prod(dims), args)
    value = attr(node, "value", np.zeros(1, np.float32), np.ndarray)
    return np.full(dims, value.reshape(-1)[0], value.dtype)


def _expand(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    dims = np.broadcast_shapes(args[0].shape, _sizes(node, args[1]))
    _check(node, math.prod(dims), args)
    return np.array(np.broadcast_to(args[0], dims))


def _where(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    _check(node, math.prod(np.broadcast_shapes(*(item.shape for item in args))), args)
    return np.asarray(np.where(args[0], args[1], args[2]))


def _concat(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    return np.concatenate(args, axis=normal_axis(node, attr(node, "axis", 0, int), args[0].ndim))


def _reshape(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    dims = [int(item) for item in args[1].reshape(-1)]
    if not attr(node, "allowzero", 0, int):
        dims = [args[0].shape[at] if dim == 0 else dim for at, dim in enumerate(dims)]
    return args[0].reshape(dims)


def _flatten(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    axis = attr(node, "axis", 1, int)
    axis = axis + args[0].ndim if axis < 0 else axis
    return args[0].reshape(math.prod(args[0].shape[:axis]), -1)


def _squeeze(b: Builder, node: Node, args: Sequence[Array]) -> Array:
    return np.squeeze(args[0], b.axes(node, 13, None))


def _unsqueeze(b: Builder, node: Node, args: Sequence[Array]) -> Array:
    return np.expand_dims(args[0], b.axes(node, 13, ()) or ())


def _transpose(_: Builder, node: Node, args: Sequence[Array]) -> Array:
    return np.transpose(args[0], attr_ints(node, "perm", None))


def _slice(b: Builder, node: Node, args: Sequence[Array]) -> Array:
    starts, ends, axes, steps = (b.ints(node, at, "bounds") for at in (1, 2, 3, 4))
    starts, ends = starts or (), ends or ()
    axes = axes or tuple(range(len(starts)))
    selection = [slice(None)] * args[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps or (1,) * len(axes), strict=True):
        axis = normal_axis(node, axis, args[0].ndim)
        # ONNX: a negative-step end of -dim-1 or below means "past the first element"
        past = step < 0 and end < -args[0].shape[axis]
        selection[axis] = slice(start, None if past else end, step)
    return args[0][tuple(selection)]


_SPECIAL: dict[str, Callable[[Builder, Node, Sequence[Array]], Array]] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _div,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Mod": _mod,
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}

# SPDX-License-Identifier: Apache-2.0
"""Resizing of NHWC images: nearest pixels and linear interpolation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from octavo import quant
from octavo.errors import GraphError, LimitError, ShapeError
from octavo.ir import DTYPES, Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason, same_parameters_reason

#: Weights of the 8-bit form are multiples of 1 / _ONE.
_ONE = 2048
#: What rounded weights can move a sum by: 255 steps on two axes, half a unit of weight each.
_WEIGHT_ERROR = 0.13
#: Along an axis. The tables of coordinates have an entry for every output pixel.
_MAX_SIZE = 1 << 24


@dataclass(frozen=True)
class _Axis:
    """Output coordinate o is made of input `first[o]` and, with weight `weight[o]`, of the next."""

    first: Array  # int32
    weight: Array  # float32, 0 for nearest

    def next(self, size: int) -> Array:
        """The second input coordinate; the last pixel is its own neighbour."""
        return np.asarray(np.minimum(self.first + 1, size - 1))

    def steps(self) -> Array:
        """Weights in units of 1 / _ONE."""
        return np.asarray(np.rint(self.weight.astype(np.float64) * _ONE), np.int32)


def _coordinates(kind: str, size: int, out: int, scale: np.float32) -> Array:
    """Input coordinates of the output pixels' centres, in float32 as ONNX Runtime computes them."""
    o, half, one = np.arange(out, dtype=np.float32), np.float32(0.5), np.float32(1)
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and out > 1):
        return np.asarray((o + half) / scale - half)
    if kind == "asymmetric":
        return np.asarray(o / scale)
    if kind == "align_corners" and out > 1:
        return np.asarray(o * np.float32(size - 1) / (np.float32(out) - one))
    return np.zeros(out, np.float32)


_ROUND: dict[str, Callable[[Array], Array]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
}
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
ROUNDINGS = tuple(_ROUND)


@register
class Resize(Op):
    """x [N,H,W,C] -> y [N,OH,OW,C]; (OH, OW) is `size`, or floor of (H, W) times `scales`.

    Attributes: `mode` "nearest" or "linear"; `coordinates`, one of COORDINATES; `rounding` of
    nearest, one of ROUNDINGS; exactly one of `size` and `scales`. Definition: ONNX's Resize.
    """

    name = "Resize"
    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        shape = attrs.required(node, inputs, 0).shape
        if len(shape) != 4:
            raise ShapeError(f"{node.label()}: input {shape} must have rank 4 (NHWC)")
        if ("size" in node.attrs) == ("scales" in node.attrs):
            raise GraphError(f"{node.label()}: needs exactly one of 'size' and 'scales'")
        size = self._size(node, shape)
        if min(size) < 1 or min(shape[1:3]) < 1:
            raise ShapeError(f"{node.label()}: from {shape[1:3]} to {size} pixels")
        if max(size) > _MAX_SIZE:
            raise LimitError(f"{node.label()}: to {size} pixels, at most {_MAX_SIZE} along an axis")
        return ((shape[0], *size, shape[3]),)

    def _size(self, node: Node, shape: Sequence[int]) -> Shape:
        if "size" in node.attrs:
            height, width = attrs.ints(node, "size")
        else:
            scales = [float(scale) for scale in node.attrs["scales"]]
            height, width = (
                math.floor(dim * scale) for dim, scale in zip(shape[1:3], scales, strict=True)
            )
        return (height, width)

    def _axes(self, node: Node, shape: Sequence[int]) -> tuple[_Axis, _Axis]:
        size = self._size(node, shape)
        given = node.attrs.get("scales")
        found = []
        for axis in range(2):
            old, new = shape[1 + axis], size[axis]
            scale = np.float32(new) / np.float32(old) if given is None else np.float32(given[axis])
            at = _coordinates(str(node.attrs["coordinates"]), old, new, scale)
            found.append(self._taps(node, np.asarray(at), old))
        return found[0], found[1]

    def _taps(self, node: Node, at: Array, size: int) -> _Axis:
        if node.attrs["mode"] == "nearest":
            at = _ROUND[str(node.attrs["rounding"])](at)
            first = np.clip(at, 0, size - 1).astype(np.int32)
            return _Axis(first, np.zeros(len(first), np.float32))
        at = np.clip(at, np.float32(0), np.float32(size - 1))
        first = np.floor(at).astype(np.int32)
        return _Axis(first, (at - first.astype(np.float32)).astype(np.float32))

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        rows, columns = self._axes(node, x.shape)
        if node.attrs["mode"] == "nearest":
            return (x[:, rows.first][:, :, columns.first],)
        wx = columns.weight[:, None]
        across = x[:, :, columns.first] * (1 - wx) + x[:, :, columns.next(x.shape[2])] * wx
        wy = rows.weight[:, None, None]
        y = across[:, rows.first] * (1 - wy) + across[:, rows.next(x.shape[1])] * wy
        return (np.asarray(y, np.float32),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        if node.attrs["mode"] == "nearest":
            return same_parameters_reason([*inputs, *outputs])
        return activation_reason([*inputs, *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        q, x, y = attrs.required(node, args, 0), attrs.required(node, inputs, 0), outputs[0]
        rows, columns = self._axes(node, q.shape)
        if node.attrs["mode"] == "nearest":
            return (q[:, rows.first][:, :, columns.first],)
        a = q.astype(np.int64) - x.zero_point
        wy, wx = rows.steps()[:, None, None].astype(np.int64), columns.steps()[:, None]
        down = a[:, rows.first] * (_ONE - wy) + a[:, rows.next(q.shape[1])] * wy
        right = down[:, :, columns.next(q.shape[2])]
        acc = down[:, :, columns.first] * (_ONE - wx) + right * wx
        m = _multiplier(float(x.scale), float(y.scale))
        out = quant.requantize(acc, m, y.zero_point, *quant.QRANGE[y.dtype])
        return (out.astype(DTYPES[y.dtype]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        linear = node.attrs["mode"] == "linear"
        rows, columns = self._axes(node, ctx.value(x).shape)
        consts = [rows.first, columns.first]
        if not ctx.value(x).is_8bit:
            consts += [rows.weight, columns.weight] if linear else []
            ctx.emit(
                "resize_f32", [ctx.tensor(x)], [ctx.out(y)], ints=(int(linear),), consts=consts
            )
            return
        consts += [rows.steps(), columns.steps()] if linear else []
        m = _multiplier(ctx.quant(x)[0], ctx.quant(y)[0])
        ctx.emit(
            "resize_s8",
            [ctx.tensor(x)],
            [ctx.out(y)],
            ints=(int(linear), *ctx.bounds(y, None), 0),
            floats=(m,),
            consts=consts,
        )

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        cases: tuple[tuple[Shape, dict[str, Any]], ...] = (
            ((1, 5, 7, 16), {"scales": (2.0, 2.0)}),
            ((2, 4, 3, 33), {"scales": (1.5, 2.75)}),
            ((1, 9, 8, 5), {"scales": (0.6, 0.34)}),
            ((1, 6, 6, 40), {"size": (13, 4)}),
            ((1, 1, 3, 64), {"size": (1, 1)}),
        )
        for index, (shape, where) in enumerate(cases):
            for number, coordinates in enumerate(COORDINATES):
                rounding = ROUNDINGS[(index + number) % len(ROUNDINGS)]
                geometry = {**where, "coordinates": coordinates, "rounding": rounding}
                label = f"{index}_{coordinates}"
                for mode in ("nearest", "linear"):
                    found = {**geometry, "mode": mode}
                    yield example(
                        f"{mode}_{label}_f32", rng, self.name, [f32("x", *shape)], **found
                    )
                for dtype in ("u8", "s8"):
                    x = q8("x", shape, dtype, 0.1, 20)
                    yield example(
                        f"nearest_{label}_{dtype}", rng, self.name, [x], dtype, params=x.affine,
                        **{**geometry, "mode": "nearest"},
                    )  # fmt: skip
                for x_type, y_type in (("u8", "u8"), ("s8", "u8")):
                    x = q8("x", shape, x_type, 0.1, 100)
                    yield example(
                        f"linear_{label}_{x_type}_{y_type}", rng, self.name, [x], y_type,
                        bound=0.51 + 1.2 * _WEIGHT_ERROR, **{**geometry, "mode": "linear"},
                    )  # fmt: skip


def _multiplier(x_scale: float, y_scale: float) -> float:
    """float32(s_x / s_y) / 2^22: the second division is exact."""
    return float(np.float32(x_scale) / np.float32(y_scale)) / _ONE**2

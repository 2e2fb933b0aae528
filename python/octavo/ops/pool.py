# SPDX-License-Identifier: Apache-2.0
"""Pooling over NHWC windows. Padding never wins a maximum and adds nothing to a sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from octavo import quant
from octavo.errors import ShapeError
from octavo.ir import DTYPES, Node, Shape, Value
from octavo.ops import attrs
from octavo.ops.base import Array, Example, Lowering, Op, register
from octavo.ops.example_graphs import example, f32, q8
from octavo.ops.reasons import activation_reason, same_parameters_reason
from octavo.ops.window import Window

_CASES: dict[str, tuple[Shape, dict[str, Any]]] = {
    "2x2": ((1, 6, 8, 16), {"kernel": (2, 2), "strides": (2, 2)}),
    "3x3_padded": ((2, 7, 6, 5), {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1)}),
    "asymmetric": ((1, 8, 9, 33), {"kernel": (3, 2), "strides": (2, 1), "pads": (0, 1, 2, 0)}),
    "dilated": ((1, 9, 9, 4), {"kernel": (3, 2), "dilations": (2, 3), "pads": (2, 1, 1, 2)}),
}


def _image(node: Node, inputs: Sequence[Value | None]) -> Shape:
    shape = attrs.required(node, inputs, 0).shape
    if len(shape) != 4:
        raise ShapeError(f"{node.label()}: input {shape} must have rank 4 (NHWC)")
    return shape


class Pool(Op):
    """x [N,H,W,C] -> y [N,OH,OW,C]."""

    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        n, height, width, channels = _image(node, inputs)
        window = Window.of(node)
        size = window.output(node, height, width)
        if not window.touches(height, width):
            raise ShapeError(f"{node.label()}: a window lies wholly in the padding {window.pads}")
        return ((n, *size, channels),)


@register
class MaxPool(Pool):
    """The largest value of each window."""

    name = "MaxPool"

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        return (self._maximum(node, attrs.required(node, args, 0), -np.inf),)

    def _maximum(self, node: Node, x: Array, lowest: float) -> Array:
        window = Window.of(node)
        views = (view for _, _, view in window.taps(window.pad(x, lowest)))
        y: Array = next(views).copy()
        for view in views:
            np.maximum(y, view, out=y)
        return y

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return same_parameters_reason([*inputs, *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        lowest = quant.QRANGE[outputs[0].dtype][0]
        return (self._maximum(node, attrs.required(node, args, 0), lowest),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        x, y = node.inputs[0], node.outputs[0]
        window = Window.of(node).ints()
        if ctx.value(x).is_8bit:
            ints = (*window, *ctx.bounds(y, None))
            ctx.emit("maxpool_s8", [ctx.tensor(x)], [ctx.out(y)], ints=ints)
            return
        floats = (-np.inf, np.inf)
        ctx.emit("maxpool_f32", [ctx.tensor(x)], [ctx.out(y)], ints=window, floats=floats)

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for label, (shape, attributes) in _CASES.items():
            yield example(f"{label}_f32", rng, self.name, [f32("x", *shape)], **attributes)
            for dtype in ("u8", "s8"):
                x = q8("x", shape, dtype, 0.1, 20)
                params = x.affine
                yield example(
                    f"{label}_{dtype}", rng, self.name, [x], dtype, params=params, **attributes
                )


def _average_ref(
    window: Window, include_pad: bool, q: Array, x: Value, y: Value
) -> tuple[Array, ...]:
    """requantize(sum of (q - z) over valid pixels, float32(s_x / float32(s_y * count)))."""
    padded = window.pad(q.astype(np.int64) - x.zero_point, 0)
    acc = np.asarray(sum(view for _, _, view in window.taps(padded)))
    counts = _counts(window, include_pad, q.shape)
    m = np.float32(x.scale) / (np.float32(y.scale) * counts.astype(np.float32))
    out = quant.requantize(acc, m, y.zero_point, *quant.QRANGE[y.dtype])
    return (out.astype(DTYPES[y.dtype]),)


def _counts(window: Window, include_pad: bool, shape: Sequence[int]) -> Array:
    if include_pad:
        return np.asarray(window.kernel[0] * window.kernel[1])
    return window.valid_counts(shape[1], shape[2])


def _average_lower(window: Window, include_pad: bool, node: Node, ctx: Lowering) -> None:
    x, y = node.inputs[0], node.outputs[0]
    if ctx.value(x).is_8bit:
        ints = (*window.ints(), *ctx.bounds(y, None), 0, int(include_pad))
        ctx.emit("avgpool_s8", [ctx.tensor(x)], [ctx.out(y)], ints=ints)
        return
    ints = (*window.ints(), int(include_pad))
    floats = (-np.inf, np.inf)
    ctx.emit("avgpool_f32", [ctx.tensor(x)], [ctx.out(y)], ints=ints, floats=floats)


def _average_float(window: Window, include_pad: bool, x: Array) -> tuple[Array, ...]:
    total = np.asarray(sum(view for _, _, view in window.taps(window.pad(x, 0))))
    return ((total / _counts(window, include_pad, x.shape)).astype(np.float32),)


@register
class AveragePool(Pool):
    """The mean of each window; with `count_include_pad` the border divides by the whole kernel."""

    name = "AveragePool"

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        return _average_float(Window.of(node), self._include(node), attrs.required(node, args, 0))

    def _include(self, node: Node) -> bool:
        return bool(node.attrs.get("count_include_pad", False))

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return activation_reason([*inputs, *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        x, q = attrs.required(node, inputs, 0), attrs.required(node, args, 0)
        return _average_ref(Window.of(node), self._include(node), q, x, outputs[0])

    def lower(self, node: Node, ctx: Lowering) -> None:
        _average_lower(Window.of(node), self._include(node), node, ctx)

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for index, (label, (shape, attributes)) in enumerate(_CASES.items()):
            attributes = {**attributes, "count_include_pad": bool(index % 2)}
            yield example(f"{label}_f32", rng, self.name, [f32("x", *shape)], **attributes)
            for x_type, y_type in (("u8", "u8"), ("s8", "s8"), ("s8", "u8")):
                x = q8("x", shape, x_type, 0.1, 100)
                yield example(
                    f"{label}_{x_type}_{y_type}", rng, self.name, [x], y_type, **attributes
                )
        attributes = {"kernel": (3, 3), "pads": (1, 1, 1, 1), "count_include_pad": False}
        x = q8("x", (1, 4, 5, 40))
        yield example("valid_count", rng, self.name, [x], "u8", **attributes)


@register
class GlobalAveragePool(Op):
    """x [N,H,W,C] -> [N,1,1,C]: the mean over all pixels."""

    name = "GlobalAveragePool"
    reads_strided = True
    writes_strided = True

    def infer(self, node: Node, inputs: Sequence[Value | None]) -> tuple[Shape, ...]:
        n, height, width, channels = _image(node, inputs)
        if height < 1 or width < 1:
            raise ShapeError(f"{node.label()}: input of {height}x{width} has no pixel")
        return ((n, 1, 1, channels),)

    def float_ref(self, node: Node, args: Sequence[Array | None]) -> tuple[Array, ...]:
        x = attrs.required(node, args, 0)
        return (x.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32),)

    def int_reason(
        self, node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value]
    ) -> str | None:
        return activation_reason([*inputs, *outputs])

    def int_ref(
        self,
        node: Node,
        args: Sequence[Array | None],
        inputs: Sequence[Value | None],
        outputs: Sequence[Value],
    ) -> tuple[Array, ...]:
        x, q, y = attrs.required(node, inputs, 0), attrs.required(node, args, 0), outputs[0]
        acc = (q.astype(np.int64) - x.zero_point).sum(axis=(1, 2), keepdims=True)
        count = np.float32(q.shape[1] * q.shape[2])
        m = np.float32(x.scale) / (np.float32(y.scale) * count)
        out = quant.requantize(acc, m, y.zero_point, *quant.QRANGE[y.dtype])
        return (out.astype(DTYPES[y.dtype]),)

    def lower(self, node: Node, ctx: Lowering) -> None:
        _, height, width, _ = ctx.value(node.inputs[0]).shape
        _average_lower(Window((height, width), (1, 1), (1, 1), (0, 0, 0, 0)), False, node, ctx)

    def examples(self, rng: np.random.Generator) -> Iterator[Example]:
        for shape in ((1, 7, 7, 64), (2, 3, 5, 33), (1, 16, 16, 1)):
            label = "x".join(map(str, shape))
            yield example(f"{label}_f32", rng, self.name, [f32("x", *shape)])
            for x_type, y_type in (("u8", "u8"), ("s8", "s8"), ("u8", "s8")):
                x = q8("x", shape, x_type, 0.05, 77)
                yield example(f"{label}_{x_type}_{y_type}", rng, self.name, [x], y_type)

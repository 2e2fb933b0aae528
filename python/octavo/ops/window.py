# SPDX-License-Identifier: Apache-2.0
"""Sliding windows over NHWC tensors: geometry shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from octavo.errors import ShapeError, UnsupportedError
from octavo.ir import Node
from octavo.ops import attrs
from octavo.ops.base import Array


@dataclass(frozen=True)
class Window:
    """Kernel (height, width), strides, dilations and pads (top, left, bottom, right)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @staticmethod
    def of(node: Node, kernel: tuple[int, ...] | None = None) -> Window:
        """The node's window; raises ShapeError or UnsupportedError naming it."""
        window = Window(
            attrs.ints(node, "kernel") if kernel is None else kernel,
            attrs.ints(node, "strides", (1, 1)),
            attrs.ints(node, "dilations", (1, 1)),
            attrs.ints(node, "pads", (0, 0, 0, 0)),
        )
        for key, pair in (
            ("kernel", window.kernel),
            ("strides", window.strides),
            ("dilations", window.dilations),
        ):
            if len(pair) != 2 or min(pair) < 1:
                raise ShapeError(f"{node.label()}: {key} {pair} must be two numbers >= 1")
        if len(window.pads) != 4:
            raise ShapeError(f"{node.label()}: pads {window.pads} must be four numbers")
        if min(window.pads) < 0:
            raise UnsupportedError(f"{node.label()}: negative pads {window.pads}; crop with Slice")
        return window

    def extent(self, side: int) -> int:
        """Pixels a dilated kernel spans along height (0) or width (1)."""
        return (self.kernel[side] - 1) * self.dilations[side] + 1

    def output(self, node: Node, height: int, width: int) -> tuple[int, int]:
        """Output (height, width). Raises ShapeError where the kernel exceeds the padded input."""
        sizes = []
        for side, size in enumerate((height, width)):
            padded = size + self.pads[side] + self.pads[side + 2]
            if padded < self.extent(side) or size < 1:
                raise ShapeError(
                    f"{node.label()}: kernel {self.kernel} with dilations {self.dilations} does "
                    f"not fit an input of {height}x{width} with pads {self.pads}"
                )
            sizes.append((padded - self.extent(side)) // self.strides[side] + 1)
        return sizes[0], sizes[1]

    def pad(self, x: Array, value: float) -> Array:
        """`x` [N,H,W,C] with its border of `value`."""
        top, left, bottom, right = self.pads
        if not any(self.pads):
            return x
        widths = ((0, 0), (top, bottom), (left, right), (0, 0))
        return np.pad(x, widths, constant_values=value)

    def taps(self, padded: Array) -> Iterator[tuple[int, int, Array]]:
        """(row, column, view [N,OH,OW,C]) of each kernel element over a padded input."""
        sizes = [
            (padded.shape[1 + side] - self.extent(side)) // self.strides[side] + 1
            for side in (0, 1)
        ]
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                rows, cols = (
                    slice(at * d, at * d + (size - 1) * s + 1, s)
                    for at, d, size, s in zip(
                        (i, j), self.dilations, sizes, self.strides, strict=True
                    )
                )
                yield i, j, padded[:, rows, cols]

    def valid_counts(self, height: int, width: int) -> Array:
        """[OH, OW, 1] int64: kernel elements of each window that fall on the input."""
        rows, cols = self._valid_along(0, height), self._valid_along(1, width)
        return np.asarray(rows[:, None, None] * cols[:, None])

    def _valid_along(self, side: int, size: int) -> Array:
        """[OH] or [OW] int64: the same along one side."""
        stride, dilation, before = self.strides[side], self.dilations[side], self.pads[side]
        padded = size + before + self.pads[side + 2]
        start = np.arange((padded - self.extent(side)) // stride + 1, dtype=np.int64)
        start = start * stride - before
        first = -(np.minimum(start, 0) // dilation)
        last = np.minimum((size - 1 - start) // dilation, self.kernel[side] - 1)
        return np.asarray(np.maximum(last - first + 1, 0))

    def touches(self, height: int, width: int) -> bool:
        """True when every window has an element on the input; in constant time as a rule, for
        sizes come from files that nobody has checked yet."""
        return all(self._touches(side, size) for side, size in enumerate((height, width)))

    def _touches(self, side: int, size: int) -> bool:
        before, extent = self.pads[side], self.extent(side)
        if self.dilations[side] > size:  # the input may lie between two elements
            return bool(self._valid_along(side, size).min() > 0)
        count = (size + before + self.pads[side + 2] - extent) // self.strides[side]
        return before < extent and count * self.strides[side] - before < size

    def ints(self) -> tuple[int, ...]:
        """kh kw stride_h stride_w dilation_h dilation_w pad_top pad_left pad_bottom pad_right."""
        return (*self.kernel, *self.strides, *self.dilations, *self.pads)


def convolve(x: Array, w: Array, window: Window, groups: int) -> Array:
    """Convolution of [N,H,W,C], zero-padded, with [O,kh,kw,C/groups], in the arrays' own type.

    Returns [N,OH,OW,O]. On float64 arrays of integers it is exact while sums stay below 2^53.
    """
    padded = window.pad(x, 0)
    out_channels, _, _, depth = w.shape
    if depth == 1 and groups > 1:
        return _depthwise(padded, w, window, out_channels // groups)
    parts = []
    for group in range(groups):
        columns = _im2col(padded[..., group * depth : (group + 1) * depth], window)
        each = out_channels // groups
        matrix = w[group * each : (group + 1) * each].reshape(each, -1)
        flat = columns.reshape(-1, matrix.shape[1]) @ matrix.T
        parts.append(flat.reshape(*columns.shape[:3], each))
    return parts[0] if groups == 1 else np.concatenate(parts, axis=3)


def _im2col(padded: Array, window: Window) -> Array:
    """[N,OH,OW,kh,kw,C]: one row per output pixel."""
    columns: Array | None = None
    for i, j, view in window.taps(padded):
        if window.kernel == (1, 1):
            return view[:, :, :, None, None, :]
        if columns is None:
            n, height, width, depth = view.shape
            columns = np.empty((n, height, width, *window.kernel, depth), padded.dtype)
        columns[:, :, :, i, j] = view
    assert columns is not None
    return columns


def _depthwise(padded: Array, w: Array, window: Window, multiplier: int) -> Array:
    """Every channel on its own; `multiplier` outputs per input channel."""
    wide = padded if multiplier == 1 else np.repeat(padded, multiplier, axis=3)
    total: Array | None = None
    for i, j, view in window.taps(wide):
        term = view * w[:, i, j, 0]
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None
    return total

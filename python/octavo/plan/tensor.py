# SPDX-License-Identifier: Apache-2.0
"""Storage and views: what the plan's tensor records are made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from octavo.errors import GraphError, ShapeError
from octavo.ir import DTYPES, Shape

__all__ = ["ARENA", "INPUT", "OUTPUT", "Storage", "TensorRef", "itemsize", "new_tensor"]

ARENA, INPUT, OUTPUT = 0, 1, 2


def itemsize(dtype: str) -> int:
    """Bytes of one element."""
    return np.dtype(DTYPES[dtype]).itemsize


@dataclass(eq=False)
class Storage:
    """Bytes in the arena (placed later), or the index of a model input or output."""

    location: int
    size: int = 0
    index: int = 0
    first: int = -1
    last: int = -1

    def touch(self, step: int) -> None:
        """Extends the lifetime to `step`."""
        self.first = step if self.first < 0 else min(self.first, step)
        self.last = max(self.last, step)


@dataclass(frozen=True, eq=False)
class TensorRef:
    """A view of a storage. `offset` and `strides` are in bytes; `halo` in pixels (t, l, b, r)."""

    name: str
    storage: Storage
    dtype: str
    dims: Shape
    strides: tuple[int, ...]
    offset: int = 0
    halo: tuple[int, int, int, int] = (0, 0, 0, 0)
    scale: float = 1.0
    zero_point: int = 0

    @property
    def dense(self) -> bool:
        """True when elements stand in C order without gaps."""
        expected = itemsize(self.dtype)
        for dim, stride in zip(reversed(self.dims), reversed(self.strides), strict=True):
            if dim != 1 and stride != expected:
                return False
            expected *= dim
        return True

    def permute(self, perm: Sequence[int]) -> TensorRef:
        """A view with axes in the order `perm`."""
        dims = tuple(self.dims[axis] for axis in perm)
        strides = tuple(self.strides[axis] for axis in perm)
        return self._view(dims, strides, self.offset)

    def reshape(self, dims: Shape) -> TensorRef:
        """A view of other dims. Raises GraphError when the tensor is not dense."""
        if dims == self.dims:
            return self
        if not self.dense:
            raise GraphError(f"tensor '{self.name}': a strided view cannot be reshaped")
        if math.prod(dims) != math.prod(self.dims):
            raise ShapeError(f"tensor '{self.name}': {self.dims} cannot become {dims}")
        return self._view(dims, dense_strides(dims, itemsize(self.dtype)), self.offset)

    def slice(self, starts: Sequence[int], dims: Shape, steps: Sequence[int]) -> TensorRef:
        """A view of `dims` elements, every `steps[i]`-th from `starts[i]`."""
        offset = self.offset + sum(s * k for s, k in zip(starts, self.strides, strict=True))
        strides = tuple(stride * step for stride, step in zip(self.strides, steps, strict=True))
        return self._view(tuple(dims), strides, offset)

    def _view(self, dims: Shape, strides: tuple[int, ...], offset: int) -> TensorRef:
        name = self.name if self.name.endswith(":view") else f"{self.name}:view"
        return replace(
            self, name=name, dims=dims, strides=strides, offset=offset, halo=(0, 0, 0, 0)
        )

    def same_bytes(self, other: TensorRef) -> bool:
        """True when both views name the same elements in the same order."""
        mine = [s for d, s in zip(self.dims, self.strides, strict=True) if d != 1]
        theirs = [s for d, s in zip(other.dims, other.strides, strict=True) if d != 1]
        return (
            self.storage is other.storage
            and self.offset == other.offset
            and self.dims == other.dims
            and mine == theirs
        )


def dense_strides(dims: Shape, element: int) -> tuple[int, ...]:
    """Byte strides of a C-contiguous tensor."""
    strides = []
    step = element
    for dim in reversed(dims):
        strides.append(step)
        step *= max(dim, 1)
    return tuple(reversed(strides))


def new_tensor(
    name: str,
    dtype: str,
    dims: Shape,
    *,
    halo: tuple[int, int, int, int] = (0, 0, 0, 0),
    quant: tuple[float, int] = (1.0, 0),
) -> TensorRef:
    """A tensor with arena storage of its own; a halo is only for rank-4 NHWC tensors."""
    element = itemsize(dtype)
    scale, zero_point = quant
    if not any(halo):
        storage = Storage(ARENA, max(1, math.prod(dims)) * element)
        strides = dense_strides(dims, element)
        return TensorRef(name, storage, dtype, dims, strides, 0, halo, scale, zero_point)
    batch, height, width, channels = dims
    top, left, bottom, right = halo
    padded = (batch, height + top + bottom, width + left + right, channels)
    strides = dense_strides(padded, element)
    offset = top * strides[1] + left * strides[2]
    storage = Storage(ARENA, math.prod(padded) * element)
    return TensorRef(name, storage, dtype, dims, strides, offset, halo, scale, zero_point)

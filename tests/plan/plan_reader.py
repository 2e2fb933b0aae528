# SPDX-License-Identifier: Apache-2.0
"""Reads a plan by docs/format.md alone, and checks who writes which bytes of the arena."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 4, 6: 8, 7: 4, 8: 1}
_ARENA = 0
_SLACK = 64  # readable bytes behind every tensor


@dataclass(frozen=True)
class Tensor:
    """One record: where its elements stand."""

    name: str
    size: int
    location: int
    offset: int
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    halo: tuple[int, ...]

    def bytes(self, *, halo: bool = False) -> np.ndarray:
        """Every byte of the arena that belongs to it."""
        dims, offset = list(self.dims), self.offset
        if halo and any(self.halo):
            top, left, bottom, right = self.halo
            offset -= top * self.strides[1] + left * self.strides[2]
            dims[1] += top + bottom
            dims[2] += left + right
        places = np.array([offset])
        for dim, stride in zip(dims, self.strides, strict=True):
            places = (places[:, None] + np.arange(dim) * stride).ravel()
        return (places[:, None] + np.arange(self.size)).ravel()


@dataclass(frozen=True)
class Step:
    """One line of the plan."""

    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Parsed:
    """What the check needs."""

    steps: tuple[Step, ...]
    arena_bytes: int


def parse(container: bytes) -> Parsed:
    """The first section of a container is its plan."""
    name, start, size = struct.unpack_from("<32sQQ", container, 64)
    assert name.rstrip(b"\0") == b"plan"
    plan = container[start : start + size]
    header = struct.unpack_from("<10IQ", plan)
    (_, tensor_count, step_count, const_count, input_count, output_count) = header[:6]
    ints, floats, ref_count, string_bytes = header[6:10]
    starts, cursor = [], 64
    for count, width in (
        (tensor_count, 128),
        (step_count, 56),
        (const_count, 24),
        (input_count, 4),
        (output_count, 4),
        (ints, 4),
        (floats, 4),
        (ref_count, 4),
        (string_bytes, 1),
    ):
        starts.append(cursor := -(-cursor // 8) * 8)
        cursor += count * width
    strings = plan[starts[8] : starts[8] + string_bytes]
    refs = struct.unpack_from(f"<{ref_count}I", plan, starts[7])

    def text(at: int) -> str:
        return strings[at : strings.index(b"\0", at)].decode()

    def tensor(index: int) -> Tensor:
        at = starts[0] + 128 * index
        dtype, location, rank, _, title, offset, *rest = struct.unpack_from("<4BIQ8i8q4H", plan, at)
        dims, strides, halo = rest[:rank], rest[8 : 8 + rank], rest[16:]
        places = tuple(dims), tuple(strides), tuple(halo)
        return Tensor(text(title), _SIZES[dtype], location, offset, *places)

    def step(index: int) -> Step:
        row = struct.unpack_from("<14I", plan, starts[1] + 56 * index)
        sources, targets = refs[row[2] : row[2] + row[3]], refs[row[4] : row[4] + row[5]]
        return Step(text(row[0]), tuple(map(tensor, sources)), tuple(map(tensor, targets)))

    return Parsed(tuple(step(index) for index in range(step_count)), header[10])


def check_arena(plan: Parsed) -> None:
    """Walks the steps: every byte that is read was written before, no step writes what it reads,
    and all storage with its halo lies inside the arena."""
    written = np.zeros(plan.arena_bytes, bool)
    for index, step in enumerate(plan.steps):
        read = np.zeros(plan.arena_bytes, bool)
        for tensor in (tensor for tensor in step.inputs if tensor.location == _ARENA):
            inside, around = tensor.bytes(), tensor.bytes(halo=True)
            assert around.min() >= 0 and around.max() + _SLACK < plan.arena_bytes, (index, tensor)
            assert written[inside].all(), f"step {index} reads {tensor} before it is written"
            read[inside] = True
        for tensor in (tensor for tensor in step.outputs if tensor.location == _ARENA):
            inside = tensor.bytes()
            assert inside.min() >= 0 and inside.max() + _SLACK < plan.arena_bytes, (index, tensor)
            assert not read[inside].any(), f"step {index} writes what it reads: {tensor}"
            written[inside] = True

# SPDX-License-Identifier: Apache-2.0
"""Arena placement: a pure function from sizes and lifetimes to offsets.

Greedy best fit over several orders (Pisarchyk & Lee, "Efficient Memory Management for Deep Neural
Net Inference", 2020); the best result is kept. The lower bound is the largest sum of bytes that
are alive in one step, so a plan that reaches it is optimal for the given order of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["ALIGNMENT", "SLACK", "Block", "Placement", "place"]

#: Every buffer starts on a cache line.
ALIGNMENT = 64
#: Bytes a kernel may read past the end of any tensor (docs/format.md).
SLACK = 64


@dataclass(frozen=True)
class Block:
    """A buffer of `size` bytes, alive in steps first..last inclusive."""

    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Placement:
    """Offsets in the order of the blocks; `arena_bytes` includes the slack at the end."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound: int


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def lower_bound(blocks: Sequence[Block]) -> int:
    """The largest number of bytes alive in one step, each block rounded up to a cache line."""
    events: dict[int, int] = {}
    for block in blocks:
        events[block.first] = events.get(block.first, 0) + _aligned(block.size)
        events[block.last + 1] = events.get(block.last + 1, 0) - _aligned(block.size)
    alive = peak = 0
    for step in sorted(events):
        alive += events[step]
        peak = max(peak, alive)
    return peak


def _best_fit(blocks: Sequence[Block], order: Sequence[int]) -> tuple[list[int], int]:
    """Places blocks in `order`, each into the tightest gap left by those alive at the same time."""
    offsets = [0] * len(blocks)
    placed: list[int] = []  # sorted by offset
    top = 0
    for index in order:
        block, size = blocks[index], _aligned(blocks[index].size)
        best, best_gap, cursor = -1, -1, 0
        for other in placed:
            if blocks[other].last < block.first or block.last < blocks[other].first:
                continue
            gap = offsets[other] - cursor
            if gap >= size and (best < 0 or gap < best_gap):
                best, best_gap = cursor, gap
            cursor = max(cursor, offsets[other] + _aligned(blocks[other].size))
        offsets[index] = cursor if best < 0 else best
        top = max(top, offsets[index] + size)
        position = len(placed)
        while position > 0 and offsets[placed[position - 1]] > offsets[index]:
            position -= 1
        placed.insert(position, index)
    return offsets, top


def place(blocks: Sequence[Block]) -> Placement:
    """Offsets such that blocks alive in the same step never overlap."""
    bound = lower_bound(blocks)
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-blocks[i].size, blocks[i].first),
        lambda i: (-blocks[i].size * (blocks[i].last - blocks[i].first + 1), blocks[i].first),
        lambda i: (blocks[i].first, -blocks[i].size),
        lambda i: (-(blocks[i].last - blocks[i].first), -blocks[i].size),
    )
    best: tuple[list[int], int] | None = None
    for key in keys:
        result = _best_fit(blocks, sorted(range(len(blocks)), key=key))
        if best is None or result[1] < best[1]:
            best = result
        if best[1] == bound:
            break
    assert best is not None
    return Placement(tuple(best[0]), best[1] + SLACK, bound)

# SPDX-License-Identifier: Apache-2.0
"""Which axes of a reshape belong together, and how a permutation moves past it."""

from __future__ import annotations

from dataclasses import dataclass

from octavo.ir import Shape

Block = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Split:
    """Transpose(perm) then reshape = Transpose(before), Reshape(target), Transpose(after)."""

    before: tuple[int, ...]
    target: tuple[int, ...]
    after: tuple[int, ...]


def blocks(source: Shape, target: Shape) -> list[Block]:
    """The finest (source axes, target axes) pairs of equal products, in order.

    [N,C,H,W] -> [N,2,C/2,H,W] is (0|0) (1|1,2) (2|3) (3|4). Axes of 1 join a neighbour.
    """
    found: list[Block] = []
    if 0 in source:
        return found
    i = j = 0
    while i < len(source) and j < len(target):
        start_i, start_j = i, j
        a, b = source[i], target[j]
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                a, i = a * source[i], i + 1
            else:
                b, j = b * target[j], j + 1
        found.append((tuple(range(start_i, i)), tuple(range(start_j, j))))
    if found and (i < len(source) or j < len(target)):
        left, right = found[-1]
        found[-1] = ((*left, *range(i, len(source))), (*right, *range(j, len(target))))
    return found


def split_reshape(
    source: Shape, target: Shape, perm: tuple[int, ...], *, pin_first: bool
) -> Split | None:
    """How Transpose(perm) moves past a reshape of `source` (its output) to `target`.

    `pin_first` asks that axis 0, whose length may change, stays alone and in front. None where
    nothing would move.
    """
    parts = blocks(source, target)
    if not parts:
        return None
    alone = parts[0] == ((0,), (0,))
    if pin_first and not (alone and perm[0] == 0):
        return None
    # Order of the blocks in the tensor before the Transpose; inside a block the later order counts.
    order = sorted(parts, key=lambda part: min(perm[axis] for axis in part[0]))
    before = tuple(perm[axis] for part in order for axis in part[0])
    axes = [axis for part in order for axis in part[1]]
    after = tuple(axes.index(axis) for axis in range(len(target)))
    if after == tuple(range(len(target))):
        return None
    dims = [target[axis] for axis in axes]
    if alone and perm[0] == 0:
        dims[0] = 0
    return Split(before, tuple(dims), after)

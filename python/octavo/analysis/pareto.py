# SPDX-License-Identifier: Apache-2.0
"""Dominance, fronts and crowding of points of which less is better in every coordinate.

Fronts and crowding as in NSGA-II (Deb et al., IEEE Trans. Evol. Comp. 6(2), 2002).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["crowding", "dominates", "fronts", "pareto_front", "survivors"]

Point = Sequence[float]


def dominates(a: Point, b: Point) -> bool:
    """Is `a` nowhere worse than `b` and somewhere better?"""
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def fronts(points: Sequence[Point]) -> list[list[int]]:
    """Indices in layers: what nothing dominates, what only those dominate, and so on."""
    left = list(range(len(points)))
    found = []
    while left:
        front = [
            i for i in left if not any(dominates(points[j], points[i]) for j in left if j != i)
        ]
        found.append(front)
        left = [i for i in left if i not in set(front)]
    return found


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that nothing dominates, by the last coordinate; of equal points the
    first."""
    first = {tuple(point): index for index, point in reversed(list(enumerate(points)))}
    kept = sorted(first.values())
    front = [i for i in kept if not any(dominates(points[j], points[i]) for j in kept if j != i)]
    return sorted(front, key=lambda i: (tuple(points[i])[-1], i))


def crowding(points: Sequence[Point]) -> NDArray[np.float64]:
    """Distance of each point to its neighbours on its front, relative to the front's extent; inf
    for the ends."""
    count = len(points)
    found = np.zeros(count)
    if count == 0:
        return found
    table = np.asarray(points, np.float64)
    for column in table.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        found[order[[0, -1]]] = np.inf
        if span > 0.0 and np.isfinite(span):
            found[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return found


def survivors(points: Sequence[Point], count: int) -> list[int]:
    """The `count` best indices: front by front, of the last one the least crowded."""
    kept: list[int] = []
    for front in fronts(points):
        room = count - len(kept)
        if len(front) > room:
            lonely = crowding([points[i] for i in front])
            order = sorted(range(len(front)), key=lambda i: (-lonely[i], i))
            front = [front[i] for i in order[:room]]
        kept += front
        if len(kept) >= count:
            break
    return kept

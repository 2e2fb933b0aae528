# SPDX-License-Identifier: Apache-2.0
"""Seeded evolution of genomes: tournaments, crossover of runs of layers, mutation of single ones.

All randomness comes from one generator, so that the same results lead to the same children.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from octavo.analysis.pareto import crowding, fronts
from octavo.analysis.search_space import Genome, Space

__all__ = ["children"]

#: Chances of a child to be crossed, and to change a setting of the whole recipe.
_CROSS, _SETTING = 0.5, 0.2


def _ranks(points: Sequence[Sequence[float]]) -> list[tuple[int, float]]:
    """(front, minus crowding) per point; the lower the better."""
    found = [(0, 0.0)] * len(points)
    for number, front in enumerate(fronts(points)):
        lonely = crowding([points[i] for i in front])
        for i, distance in zip(front, lonely, strict=True):
            found[i] = (number, -float(distance))
    return found


class _Breeder:
    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        self.space = space
        self.rng = rng

    def pick(self, ranks: Sequence[tuple[int, float]]) -> int:
        """The better of two."""
        a, b = (int(i) for i in self.rng.integers(len(ranks), size=2))
        return a if ranks[a] <= ranks[b] else b

    def cross(self, mother: Genome, father: Genome) -> Genome:
        """The mother with a run of the father's layers, and maybe his settings."""
        count = len(mother.layers)
        start, end = sorted(int(i) for i in self.rng.integers(count + 1, size=2))
        layers = (*mother.layers[:start], *father.layers[start:end], *mother.layers[end:])
        base = father if self.rng.random() < 0.5 else mother
        return replace(base, layers=layers)

    def mutate(self, genome: Genome) -> Genome:
        """One to three layers, or a run of neighbours, in another precision; maybe a setting."""
        layers = list(genome.layers)
        free = [i for i, choices in enumerate(self.space.choices) if len(choices) > 1]
        if free and self.rng.random() < 0.3:
            start = int(self.rng.choice(free))
            choice = int(self.rng.integers(len(self.space.choices[start])))
            for i in range(start, min(len(layers), start + int(self.rng.integers(2, 6)))):
                layers[i] = choice if choice < len(self.space.choices[i]) else layers[i]
        elif free:
            for i in self.rng.choice(free, size=min(len(free), int(self.rng.integers(1, 4)))):
                layers[i] = int(self.rng.integers(len(self.space.choices[i])))
        changed = replace(genome, layers=tuple(layers))
        return self.setting(changed) if self.rng.random() < _SETTING else changed

    def setting(self, genome: Genome) -> Genome:
        """Another setting of the whole recipe."""
        space, rng = self.space, self.rng
        return (
            lambda: replace(genome, ranges=int(rng.integers(len(space.ranges)))),
            lambda: replace(genome, weight_ranges=str(rng.choice(("mse", "minmax")))),
            lambda: replace(
                genome, equalize=space.equalize[int(rng.integers(len(space.equalize)))]
            ),
            lambda: replace(genome, smooth=space.smooth[int(rng.integers(len(space.smooth)))]),
        )[int(rng.integers(4))]()


def children(
    space: Space,
    parents: Sequence[Genome],
    points: Sequence[Sequence[float]],
    count: int,
    rng: np.random.Generator,
    known: Callable[[Genome], bool],
) -> list[Genome]:
    """Up to `count` new genomes that are not `known`; fewer where the space runs out. `points` are
    the parents' objectives, of which less is better."""
    breeder, ranks = _Breeder(space, rng), _ranks(points)
    found: dict[Genome, None] = {}
    for _ in range(50 * count):
        if len(found) == count:
            break
        child = parents[breeder.pick(ranks)]
        if rng.random() < _CROSS:
            child = breeder.cross(child, parents[breeder.pick(ranks)])
        child = breeder.mutate(child)
        if not known(child):
            found[child] = None
    return list(found)

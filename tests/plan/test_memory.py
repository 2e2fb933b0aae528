# SPDX-License-Identifier: Apache-2.0
"""Placement: an independent checker on random lifetimes, and the cases with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.plan.memory import ALIGNMENT, SLACK, Block, Placement, place


def check(blocks: list[Block], placement: Placement) -> None:
    """No two blocks that live in the same step share a byte; the arena holds them all."""
    for i, a in enumerate(blocks):
        start = placement.offsets[i]
        assert start % ALIGNMENT == 0
        assert start + a.size + SLACK <= placement.arena_bytes
        for j in range(i):
            b = blocks[j]
            if a.last < b.first or b.last < a.first:
                continue
            other = placement.offsets[j]
            assert start + a.size <= other or other + b.size <= start, (a, b)


@pytest.mark.parametrize("seed", range(40))
def test_random_lifetimes_never_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(int(rng.integers(1, 60))):
        first = int(rng.integers(0, 50))
        last = first + int(rng.integers(0, 12))
        blocks.append(Block(int(rng.integers(1, 5000)), first, last))
    placement = place(blocks)
    check(blocks, placement)
    assert placement.arena_bytes - SLACK >= placement.lower_bound


def test_a_chain_reaches_the_lower_bound() -> None:
    blocks = [Block(640, i, i + 1) for i in range(20)]
    placement = place(blocks)
    assert placement.lower_bound == 2 * 640
    assert placement.arena_bytes == placement.lower_bound + SLACK


def test_an_empty_plan_needs_only_the_slack() -> None:
    assert place([]) == Placement((), SLACK, 0)

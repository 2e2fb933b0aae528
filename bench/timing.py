# SPDX-License-Identifier: Apache-2.0
"""Interleaved timing: every round gives every contender a turn, so that all see the same noise."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MIN_CALLS = 3
MAX_CALLS = 500
WARM_UP_CALLS = 3
# Thread pools of ONNX Runtime and oneTBB spin for a few ms after a run, on the cores that the
# next contender needs.
SETTLE_SECONDS = 0.02


@dataclass(frozen=True)
class Timing:
    """Time per call in ms: over all calls, and (min, median) of each round."""

    min_ms: float
    median_ms: float
    calls: int
    rounds_ms: list[tuple[float, float]]


def _turn(call: Callable[[], object], calls: int) -> list[int]:
    """Nanoseconds of each of `calls` calls, after a tenth as many to refill the caches."""
    for _ in range(max(1, calls // 10)):
        call()
    clock = time.perf_counter_ns
    samples = []
    for _ in range(calls):
        start = clock()
        call()
        samples.append(clock() - start)
    return samples


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    turn_seconds: float = 0.05,
    settle: bool = False,
) -> dict[str, Timing]:
    """Time per call of each contender.

    A turn takes about `turn_seconds` (at least 3 calls); the order rotates from round to round.
    `settle` waits between turns until the spinning threads of the previous contender are parked.
    """
    calls = {}
    for name, call in contenders.items():
        for _ in range(WARM_UP_CALLS):
            call()
        start = time.perf_counter()
        call()
        estimate = max(time.perf_counter() - start, 1e-7)
        calls[name] = min(max(int(turn_seconds / estimate), MIN_CALLS), MAX_CALLS)
    samples: dict[str, list[list[int]]] = {name: [] for name in contenders}
    names = list(contenders)
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds):
            shift = turn % len(names) if names else 0
            for name in names[shift:] + names[:shift]:
                if settle:
                    time.sleep(SETTLE_SECONDS)
                samples[name].append(_turn(contenders[name], calls[name]))
    finally:
        if gc_was_enabled:
            gc.enable()
    return {name: _summary(per_round) for name, per_round in samples.items()}


def _summary(rounds: list[list[int]]) -> Timing:
    flat = [ns for one in rounds for ns in one]
    return Timing(
        min_ms=min(flat) / 1e6,
        median_ms=statistics.median(flat) / 1e6,
        calls=len(flat),
        rounds_ms=[(min(one) / 1e6, statistics.median(one) / 1e6) for one in rounds],
    )

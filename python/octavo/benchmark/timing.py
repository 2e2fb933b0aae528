# SPDX-License-Identifier: Apache-2.0
"""Interleaved timing: every round gives every contender a turn, so that all see the same noise."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Timing", "interleave", "repeat", "settle"]

MIN_CALLS = 3
MAX_CALLS = 2000
WARM_UP_CALLS = 3
TURN_SECONDS = 0.05
# Thread pools spin for some ms after a run, on the cores that the next contender needs.
QUIET_SECONDS = 0.004
QUIET_SHARE = 0.1
SETTLE_LIMIT = 0.5


@dataclass(frozen=True)
class Timing:
    """Time per call in ms: over all calls, and (min, median) of each round. `settled` is False if
    some turn began while threads of another contender were still spinning."""

    min_ms: float
    median_ms: float
    calls: int
    rounds_ms: list[tuple[float, float]]
    settled: bool = True

    @property
    def spread(self) -> float:
        """How far a round's best lies above the best of all, as a share (median over rounds): what
        a repetition of the measurement may differ by."""
        return statistics.median(low for low, _ in self.rounds_ms) / self.min_ms - 1


def settle(limit: float = SETTLE_LIMIT) -> bool:
    """Sleep until the threads of this process stop using the CPU; False if they still do after
    `limit` seconds."""
    end = time.perf_counter() + limit
    while True:
        cpu, start = time.process_time(), time.perf_counter()
        time.sleep(QUIET_SECONDS)
        now = time.perf_counter()
        if time.process_time() - cpu < QUIET_SHARE * (now - start):
            return True
        if now >= end:
            return False


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


def repeat(call: Callable[[], object], seconds: float) -> tuple[float, float, int]:
    """(min ms, median ms, calls) of repeated calls within about `seconds`, after a warm-up."""
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times), 1e3 * statistics.median(times), len(times)


def _calls_per_turn(call: Callable[[], object], turn_seconds: float) -> int:
    estimates = []
    for _ in range(WARM_UP_CALLS + 1):
        start = time.perf_counter()
        call()
        estimates.append(time.perf_counter() - start)
    return min(max(int(turn_seconds / max(min(estimates), 1e-7)), MIN_CALLS), MAX_CALLS)


def interleave(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    seed: int = 0,
    turn_seconds: float = TURN_SECONDS,
) -> dict[str, Timing]:
    """Time per call of each contender.

    A turn takes about `turn_seconds` (at least 3 calls). Each round has an order of its own, drawn
    from `seed`; a turn begins when the process has become quiet (`settle`).
    """
    order = random.Random(seed)
    calls = {name: _calls_per_turn(call, turn_seconds) for name, call in contenders.items()}
    samples: dict[str, list[list[int]]] = {name: [] for name in contenders}
    settled = dict.fromkeys(contenders, True)
    gc_was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name in order.sample(list(contenders), len(contenders)):
                settled[name] &= settle()
                samples[name].append(_turn(contenders[name], calls[name]))
    finally:
        if gc_was_enabled:
            gc.enable()
    return {name: _summary(found, settled[name]) for name, found in samples.items()}


def _summary(rounds: list[list[int]], settled: bool) -> Timing:
    flat = [ns for one in rounds for ns in one]
    return Timing(
        min_ms=min(flat) / 1e6,
        median_ms=statistics.median(flat) / 1e6,
        calls=len(flat),
        rounds_ms=[(min(one) / 1e6, statistics.median(one) / 1e6) for one in rounds],
        settled=settled,
    )

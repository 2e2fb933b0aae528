# SPDX-License-Identifier: Apache-2.0
"""Interleaving: everybody's turn in every round, in an order that a seed fixes."""

import time

import pytest

from octavo.benchmark import timing


def _order_of_turns(seed):
    order = []
    contenders = {name: lambda name=name: order.append(name) for name in "abc"}
    timings = timing.interleave(contenders, rounds=4, seed=seed, turn_seconds=0.0)
    calls = timing.MIN_CALLS + 1  # a turn has one more, to refill the caches
    measured = order[3 * (timing.WARM_UP_CALLS + 1) :]
    turns = [measured[i : i + calls] for i in range(0, len(measured), calls)]
    assert all(len(set(turn)) == 1 for turn in turns)
    return timings, "".join(turn[0] for turn in turns)


def test_every_round_gives_every_contender_one_turn():
    timings, turns = _order_of_turns(seed=1)
    assert [len(t.rounds_ms) for t in timings.values()] == [4, 4, 4]
    assert {t.calls for t in timings.values()} == {4 * timing.MIN_CALLS}
    assert all(0 < t.min_ms <= t.median_ms for t in timings.values())
    rounds = [turns[i : i + 3] for i in range(0, 12, 3)]
    assert all(sorted(one) == list("abc") for one in rounds)


def test_order_is_random_and_follows_the_seed():
    assert _order_of_turns(seed=1)[1] == _order_of_turns(seed=1)[1]
    assert len({_order_of_turns(seed)[1] for seed in range(4)}) > 1


def test_times_are_those_of_the_calls():
    found = timing.interleave(
        {"slow": lambda: time.sleep(0.004), "fast": lambda: None}, 2, turn_seconds=0.01
    )
    assert found["slow"].min_ms >= 4
    assert found["fast"].min_ms < 1


class _Machine:
    """A clock, and a process that uses some share of a CPU until it stops."""

    def __init__(self, share, busy_seconds):
        self.share, self.busy_seconds = share, busy_seconds
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return self.share * min(self.now, self.busy_seconds)

    def sleep(self, seconds):
        self.now += seconds


@pytest.mark.parametrize(
    ("share", "busy_seconds", "settled"),
    [(1.0, 0.0, True), (1.0, 0.2, True), (1.0, 9.0, False), (0.01, 9.0, True)],
)
def test_settle_waits_for_spinning_threads(monkeypatch, share, busy_seconds, settled):
    machine = _Machine(share, busy_seconds)
    monkeypatch.setattr(timing, "time", machine)
    assert timing.settle(limit=1.0) is settled
    assert settled or machine.now >= 1.0
    assert not settled or machine.now <= busy_seconds * (share > 0.1) + 2 * timing.QUIET_SECONDS


def test_spread_is_the_median_distance_of_a_rounds_best():
    found = timing.Timing(1.0, 1.2, 9, [(1.0, 1.1), (1.05, 1.2), (1.4, 1.5)])
    assert found.spread == pytest.approx(0.05)

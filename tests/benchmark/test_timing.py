# SPDX-License-Identifier: Apache-2.0
"""Interleaving: everybody's turn in every round, in an order that a seed fixes."""

import itertools
import threading
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


def test_settle_sees_a_spinning_thread():
    stop = threading.Event()

    def spin():
        while not stop.is_set():
            sum(itertools.repeat(1, 1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        assert not timing.settle(limit=0.05)
    finally:
        stop.set()
        thread.join()
    assert timing.settle(limit=2.0)


def test_spread_is_the_median_distance_of_a_rounds_best():
    found = timing.Timing(1.0, 1.2, 9, [(1.0, 1.1), (1.05, 1.2), (1.4, 1.5)])
    assert found.spread == pytest.approx(0.05)

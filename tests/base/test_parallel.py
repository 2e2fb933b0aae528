# SPDX-License-Identifier: Apache-2.0
"""The pool of threads: who takes what, late and missing workers, forks, idling."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from octavo import _core

Call = tuple[int, int, int]
Hooks = Callable[[int, int], None]


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    """set(cpus, delay_us), undone afterwards."""
    yield _core.set_parallel_test_hooks
    _core.set_parallel_test_hooks()


def covered(calls: list[Call]) -> int:
    """The end of the range that the calls cover once without a gap from 0."""
    at = 0
    for begin, end, _ in sorted(calls):
        assert begin == at
        assert end > begin
        at = end
    return at


@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 7, 8, 1000, 2**40 + 1])
def test_calls_cover_the_range_once(threads: int, tasks: int, cpus: int, hooks: Hooks) -> None:
    hooks(cpus, 0)
    calls = _core.parallel_calls(threads, tasks)
    assert covered(calls) == tasks
    assert {worker for _, _, worker in calls} <= set(range(max(1, min(threads, cpus))))


def calls_to_slices(tasks: int, wanted: list[Call]) -> bool:
    """On an undisturbed machine the same every time; one quiet moment in fifty is enough."""
    return any(
        sorted(_core.parallel_calls(2, tasks, max(8000 // tasks, 20))) == wanted for _ in range(50)
    )


def test_threads_do_their_own_short_slices_at_once(hooks: Hooks) -> None:
    hooks(2, 0)
    assert calls_to_slices(8, [(0, 4, 0), (4, 8, 1)])
    assert calls_to_slices(5, [(0, 3, 0), (3, 5, 1)])


def test_threads_do_their_own_long_slices_in_chunks(hooks: Hooks) -> None:
    hooks(2, 0)
    bounds = [0, 129, 258, 387, 516, 645, 774, 903, 1031]
    wanted = [(bounds[i], bounds[i + 1], i // 4) for i in range(8)]
    assert calls_to_slices(1031, wanted)


@pytest.mark.parametrize("threads", [-1, 0, 1])
def test_without_threads_the_caller_makes_one_call(threads: int) -> None:
    assert _core.parallel_calls(threads, 5) == [(0, 5, 0)]


def test_on_one_cpu_the_caller_makes_one_call(hooks: Hooks) -> None:
    hooks(1, 0)
    assert _core.parallel_calls(4, 100) == [(0, 100, 0)]


def test_more_threads_than_the_pool_may_have() -> None:
    assert covered(_core.parallel_calls(1000, 10_000)) == 10_000


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_caller_does_not_wait_for_workers_that_come_late(threads: int, hooks: Hooks) -> None:
    _core.parallel_sum(threads, 64)
    hooks(threads, 1_000_000)
    start = time.monotonic()
    calls = _core.parallel_calls(threads, 64)
    assert time.monotonic() - start < 0.5
    assert covered(calls) == 64
    assert {worker for _, _, worker in calls} == {0}
    # They come back to jobs long gone, and must neither touch nor delay the ones of that time.
    hooks(threads, 0)
    end = time.monotonic() + 1.1
    while time.monotonic() < end:
        assert covered(_core.parallel_calls(threads, 17)) == 17


def test_a_late_worker_takes_what_is_left(hooks: Hooks) -> None:
    # It comes after 30 ms. By itself the caller would take 80 ms for its own slice and 80 more.
    hooks(2, 30_000)
    for _ in range(20):
        calls = _core.parallel_calls(2, 8, 20_000)
        assert covered(calls) == 8
        if sorted(calls) == [(0, 4, 0), (4, 8, 1)]:
            return
    pytest.fail(f"the last of 20 attempts: {calls}")


def test_the_caller_takes_from_the_end_of_a_late_workers_slice(hooks: Hooks) -> None:
    # The caller's slice is done after 40 ms, the worker comes after 50 ms.
    hooks(2, 50_000)
    for _ in range(20):
        calls = _core.parallel_calls(2, 8, 10_000)
        assert covered(calls) == 8
        if {(0, 4, 0), (7, 8, 0)} <= set(calls) and calls[-1][0] == 4 and calls[-1][2] == 1:
            return
    pytest.fail(f"the last of 20 attempts: {calls}")


@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_nested(threads: int, cpus: int, hooks: Hooks) -> None:
    hooks(cpus, 0)
    assert _core.parallel_sum(threads, 10_001, 50) == 50 * sum(range(10_001))


@pytest.mark.parametrize("delay_us", [0, 1, 30])
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_many_small_jobs(threads: int, delay_us: int, hooks: Hooks) -> None:
    hooks(threads, delay_us)
    for tasks in (2, 7, 33):
        assert _core.parallel_sum(threads, tasks, 3000) == 3000 * sum(range(tasks))


def test_from_many_python_threads(hooks: Hooks) -> None:
    hooks(4, 0)
    expected = 300 * sum(range(5000))
    results: list[int] = []

    def work() -> None:
        results.append(_core.parallel_sum(3, 5000, 300))

    callers = [threading.Thread(target=work) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [expected] * 8


def run_python(code: str, *prefix: str, timeout: float = 60.0) -> str:
    """What the code prints, run in an interpreter of its own; it must succeed silently."""
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_fork() -> None:
    # In a fresh interpreter: forking the test process would copy whatever threads it has.
    code = """
import os, signal, threading
from octavo import _core
_core.set_parallel_test_hooks(3, 0)
expected = sum(range(1000))
stop = False
def all_work(threads):  # sooner or later, on a busy machine
    seen = set()
    for _ in range(50):
        seen |= {worker for _, _, worker in _core.parallel_calls(threads, 10 * threads, 1000)}
        if seen == set(range(threads)):
            return True
    return False
def busy():
    while not stop:
        assert _core.parallel_sum(3, 1000) == expected
caller = threading.Thread(target=busy)
for round in range(40):
    assert _core.parallel_sum(3, 1000) == expected
    if round == 20:
        caller.start()  # from here on forks happen during somebody's parallel_for
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        ok = all_work(3) and _core.parallel_sum(3, 1000) == expected
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if all_work(2) else 1)
        ok = ok and os.waitpid(grandchild, 0)[1] == 0
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
caller.join()
print("forked")
"""
    assert run_python(code, timeout=240) == "forked\n"


def test_runs_serially_when_threads_cannot_be_created() -> None:
    # A worker's stack does not fit any more, so pthread_create fails.
    code = """
import resource
from octavo import _core
_core.set_parallel_test_hooks(4, 0)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), resource.RLIM_INFINITY))
print(_core.parallel_calls(4, 8), _core.parallel_sum(4, 1000))
"""
    assert run_python(code) == f"[(0, 8, 0)] {sum(range(1000))}\n"


def test_confined_to_one_cpu() -> None:
    code = """
import os, threading
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from octavo import _core
assert _core.cpu_info()["cpus"] == 1
assert _core.parallel_calls(4, 8) == [(0, 8, 0)]
_core.set_parallel_test_hooks(3, 0)  # as if it had three: all on one
expected = 200 * sum(range(100))
results = []
callers = [
    threading.Thread(target=lambda: results.append(_core.parallel_sum(3, 100, 200)))
    for _ in range(3)
]
for caller in callers: caller.start()
for caller in callers: caller.join()
print(results == [expected] * 3)
"""
    assert run_python(code) == "True\n"


def cpu_seconds_while_asleep(seconds: float) -> float:
    before = time.process_time()
    time.sleep(seconds)
    return time.process_time() - before


def test_idle_workers_use_no_cpu(hooks: Hooks) -> None:
    hooks(8, 0)
    _core.parallel_sum(8, 1000, 100)
    time.sleep(0.05)
    assert cpu_seconds_while_asleep(0.5) < 0.02


def test_sleeping_workers_are_left_alone_when_asked(hooks: Hooks) -> None:
    hooks(2, 0)
    _core.parallel_sum(2, 64)
    time.sleep(0.2)  # spinning ends after 100 us
    assert _core.parallel_calls(2, 8, 0, wake=False) == [(0, 8, 0)]
    assert covered(_core.parallel_calls(2, 8, 5000, wake=True)) == 8
    workers = {worker for _, _, worker in _core.parallel_calls(2, 8, 5000, wake=True)}
    assert workers == {0, 1}


def test_process_exits_while_workers_spin() -> None:
    assert run_python("from octavo import _core; _core.parallel_sum(8, 1000, 10)") == ""

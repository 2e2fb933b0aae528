# SPDX-License-Identifier: Apache-2.0
"""One session, several threads and processes."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from networks import allocate, run, small_net, small_net_inputs

from octavo import _core


@pytest.mark.parametrize("threads", [1, 2])
def test_concurrent_runs(rng, threads):
    data, inputs = small_net(rng, size=40).build(), small_net_inputs(rng, size=40)
    plan = _core.Plan.from_bytes(data)
    session = _core.Session(plan, None, threads)
    want = run(data, inputs)
    failures = []

    def work():
        got = allocate(plan.outputs)
        for _ in range(200):
            for array in got:
                array.fill(0)
            session.run(inputs, got)
            if not all(np.array_equal(a, b) for a, b in zip(want, got, strict=True)):
                failures.append(1)

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_fork_while_another_run_makes_its_workspace():
    """What other threads hold at the time of a fork, nobody gives back in the child."""
    code = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from plan_bytes import Builder
from octavo import _core
b = Builder()
x = b.tensor("x", "u8", [2**26])  # takes some 20 ms to allocate, and as long to fill
b.step("fill", [], [x], [7])
b.step("fill", [], [x], [8])
plan = _core.Plan.from_bytes(b.build())
for _ in range(4):
    session = _core.Session(plan)
    runs = [threading.Thread(target=session.run, args=([], [])) for _ in range(2)]
    for run in runs:
        run.start()
    time.sleep(0.005)  # one runs, the other allocates
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        session.run([], [])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child hung"
    for run in runs:
        run.join()
"""
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)

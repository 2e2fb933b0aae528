# SPDX-License-Identifier: Apache-2.0
"""csrc/base through its bindings: threads, CRC-32, guard pages, ISA names."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError

SEED = 1234
CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 7, 8, 1000, 2**40 + 1])
def test_parallel_slices_cover_the_range_once(threads: int, tasks: int) -> None:
    slices = _core.parallel_slices(threads, tasks)
    workers = min(threads, tasks)
    assert [worker for worker, _, _ in slices] == list(range(workers))
    assert [begin for _, begin, _ in slices] == [0, *(end for _, _, end in slices)][:workers]
    assert (slices[-1][2] if slices else 0) == tasks
    lengths = [end - begin for _, begin, end in slices]
    assert lengths == sorted(lengths, reverse=True)
    assert not lengths or lengths[0] - lengths[-1] <= 1


@pytest.mark.parametrize("threads", [-1, 0])
def test_parallel_without_threads_runs_on_the_caller(threads: int) -> None:
    assert _core.parallel_slices(threads, 5) == [(0, 0, 5)]


def test_parallel_partition_does_not_change_between_calls() -> None:
    assert len({tuple(_core.parallel_slices(3, 100)) for _ in range(1000)}) == 1


def test_parallel_more_threads_than_the_pool_may_have() -> None:
    slices = _core.parallel_slices(1000, 10_000)
    assert 1 <= len(slices) <= 256
    assert sum(end - begin for _, begin, end in slices) == 10_000


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_parallel_nested(threads: int) -> None:
    assert _core.parallel_sum(threads, 10_001, 50) == 50 * sum(range(10_001))


def test_parallel_from_many_python_threads() -> None:
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


def _run_python(code: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    paths = [path for path in sys.path if path]
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_parallel_after_fork() -> None:
    # In a fresh interpreter: forking the test process would copy whatever threads it has.
    code = """
import os, threading
from octavo import _core
expected = sum(range(1000))
stop = False
def busy():
    while not stop:
        assert _core.parallel_sum(3, 1000) == expected
caller = threading.Thread(target=busy)
for round in range(40):
    assert len(_core.parallel_slices(3, 1000)) in (1, 3)
    if round == 20:
        caller.start()  # from here on forks happen during somebody's parallel_for
    child = os.fork()
    if child == 0:
        ok = len(_core.parallel_slices(3, 1000)) == 3 and _core.parallel_sum(3, 1000) == expected
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0 if len(_core.parallel_slices(2, 10)) == 2 else 1)
        ok = ok and os.waitpid(grandchild, 0)[1] == 0
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
stop = True
caller.join()
print("forked")
"""
    done = _run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "forked\n"


def test_parallel_runs_serially_when_threads_cannot_be_created() -> None:
    # A worker's stack does not fit any more, so pthread_create fails.
    code = """
import resource
from octavo import _core
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (2 << 20), resource.RLIM_INFINITY))
print(_core.parallel_slices(4, 8), _core.parallel_sum(4, 1000))
"""
    done = _run_python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"[(0, 0, 8)] {sum(range(1000))}\n"


def test_idle_workers_use_no_cpu() -> None:
    _core.parallel_sum(8, 1000, 100)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_process_exits_while_workers_spin() -> None:
    done = _run_python("from octavo import _core; _core.parallel_sum(8, 1000, 10)")
    assert (done.returncode, done.stderr) == (0, "")


def test_crc32_equals_zlib() -> None:
    rng = random.Random(SEED)
    for size in [*range(70), 4096, 100_003]:
        data = rng.randbytes(size)
        assert _core.crc32(data) == zlib.crc32(data), f"seed {SEED}, size {size}"
        start = rng.getrandbits(32)
        assert _core.crc32(data, start) == zlib.crc32(data, start), f"seed {SEED}, size {size}"
        for offset in range(1, min(size, 9)):
            part = memoryview(data)[offset:]
            assert _core.crc32(part) == zlib.crc32(part), f"seed {SEED}, size {size}"


def test_crc32_refuses_strided_memory() -> None:
    with pytest.raises(InvalidArgumentError, match="not contiguous"):
        _core.crc32(np.zeros(10, np.uint8)[::2])


@pytest.mark.parametrize("size", [0, 1, 63, 4095, 4096, 4097])
@pytest.mark.parametrize("at_start", [False, True])
def test_guard_buffer_is_ordinary_memory(size: int, at_start: bool) -> None:
    guard = _core.GuardBuffer(size, at_start)
    assert len(guard) == size
    view = np.frombuffer(guard, np.uint8) if size else np.empty(0, np.uint8)
    assert view.flags.writeable
    assert (view == 0xCD).all()
    view[:] = 7
    edge = guard.address if at_start else guard.address + size
    assert edge % os.sysconf("SC_PAGESIZE") == 0
    del guard
    assert (view == 7).all()  # the view keeps the mapping alive


@pytest.mark.parametrize("size", [1, 100, 4096])
@pytest.mark.parametrize(("at_start", "offset"), [(False, "size"), (True, "-1")])
@pytest.mark.parametrize("access", ["ctypes.string_at(p, 1)", "ctypes.memset(p, 0, 1)"])
def test_guard_page_faults(size: int, at_start: bool, offset: str, access: str) -> None:
    code = f"""
import ctypes
from octavo import _core
size = {size}
guard = _core.GuardBuffer(size, {at_start})
for p in (guard.address, guard.address + size - 1):
    {access}
print("inside", flush=True)
p = guard.address + {offset}
{access}
"""
    done = _run_python(code)
    assert done.stdout == "inside\n"
    assert done.returncode == -signal.SIGSEGV


def test_isa_list() -> None:
    rows = {row["name"]: row for row in _core.isa_list()}
    assert list(rows) == [
        "scalar",
        "avx2",
        "avxvnni",
        "avx512vnni",
        "amx",
        "neon",
        "neondot",
        "neoni8mm",
    ]
    assert rows["scalar"] == {"name": "scalar", "built": True, "supported": True}
    info = _core.cpu_info()
    best = rows[info["best_isa"]]
    assert best["built"]
    assert best["supported"]
    assert info["cpus"] == len(os.sched_getaffinity(0))
    assert info["brand"] == _core.cpu_brand() != ""


@pytest.mark.skipif(not CPUINFO.exists(), reason="NOT RUN: no /proc/cpuinfo")
def test_isa_support_agrees_with_the_kernel() -> None:
    with CPUINFO.open(encoding="ascii") as cpuinfo:
        flags = next((set(line.split()) for line in cpuinfo if line.startswith("flags")), None)
    if flags is None:
        pytest.skip("NOT RUN: not an x86 CPU")
    avx512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512vbmi"}
    rows = {row["name"]: row["supported"] for row in _core.isa_list()}
    assert rows["avx2"] == ({"avx2", "fma", "f16c", "pclmulqdq"} <= flags)
    assert rows["avxvnni"] == ({"avx2", "fma", "f16c", "pclmulqdq", "avx_vnni"} <= flags)
    assert rows["avx512vnni"] == (avx512 <= flags or _core.cpu_info()["emulated"])


def test_isa_restriction_order() -> None:
    x86 = ["scalar", "avx2", "avxvnni", "avx512vnni", "amx"]
    arm = ["scalar", "neon", "neondot", "neoni8mm"]
    for chain in (x86, arm):
        for i, cap in enumerate(chain):
            for j, row in enumerate(chain):
                assert _core.isa_allows(cap, row) == (j <= i)
    assert not _core.isa_allows("amx", "neon")
    assert not _core.isa_allows("neoni8mm", "avx2")


@pytest.mark.parametrize("name", ["", "AVX2", "avx", "avx512", "scalar ", "sse2"])
def test_unknown_isa_is_an_error(name: str) -> None:
    with pytest.raises(IsaError, match=f"unknown ISA '{name}'"):
        _core.isa_allows("amx", name)

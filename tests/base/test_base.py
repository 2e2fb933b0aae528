# SPDX-License-Identifier: Apache-2.0
"""csrc/base through its bindings (threads: test_parallel.py): CRC-32, guard pages, ISA names."""

from __future__ import annotations

import ctypes
import os
import platform
import random
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError

SEED = 1234
CPUINFO = Path("/proc/cpuinfo")


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
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
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
    assert 1 <= info["cpus"] <= len(os.sched_getaffinity(0))  # fewer under a CPU quota
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
    avxvnni = {"avx2", "fma", "f16c", "pclmulqdq", "avx_vnni"}
    emulated = _core.cpu_info()["emulated"]
    assert rows["avxvnni"] == (avxvnni <= flags or emulated)
    assert rows["avx512vnni"] == (avx512 <= flags or emulated)


@pytest.mark.skipif(platform.machine() != "aarch64", reason="NOT RUN: not an Arm CPU")
def test_isa_support_agrees_with_the_auxiliary_vector() -> None:
    getauxval = ctypes.CDLL(None).getauxval
    getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    hwcap, hwcap2 = getauxval(16), getauxval(26)
    rows = {row["name"]: row["supported"] for row in _core.isa_list()}
    dot = bool(hwcap >> 20 & 1)
    assert rows["neon"] and rows["neondot"] == dot
    assert rows["neoni8mm"] == (dot and bool(hwcap2 >> 13 & 1))


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


def test_statistics_stay_inside_their_buffers() -> None:
    rng = np.random.default_rng(SEED)
    for samples, rows, width in ((1, 1, 1), (2, 3, 5), (3, 7, 16), (1, 33, 31)):
        size = samples * rows * width
        guard = _core.GuardBuffer(4 * size)
        x = np.frombuffer(guard, np.float32)
        x[:] = rng.standard_normal(size)
        lows, highs = np.empty((2, samples), np.float32)
        assert _core.statistics_extremes(guard, samples, rows * width, lows, highs)
        parts = x.reshape(samples, -1)
        np.testing.assert_array_equal(lows, parts.min(axis=1))
        np.testing.assert_array_equal(highs, parts.max(axis=1))
        counts = np.zeros(8192, np.int64)
        _core.statistics_histogram(guard, size, 512.0, counts)
        assert counts.sum() == size
        low, high = np.full((2, width), np.inf, np.float32)
        total, squares = np.zeros((2, width))
        _core.statistics_channels(guard, samples, rows, width, low, -high, total, squares)
        np.testing.assert_array_equal(low, x.reshape(-1, width).min(axis=0))
        np.testing.assert_allclose(squares, np.square(x.reshape(-1, width), dtype=float).sum(0))


def test_statistics_refuse_buffers_that_are_too_small() -> None:
    x, counts = np.ones(12, np.float32), np.zeros(8192, np.int64)
    ends, sums = np.ones((2, 3), np.float32), np.zeros((2, 3))
    for call in (
        lambda: _core.statistics_histogram(x, 13, 1.0, counts),
        lambda: _core.statistics_histogram(x, 12, 1.0, counts[:-1]),
        lambda: _core.statistics_extremes(x, 3, 5, *ends),
        lambda: _core.statistics_extremes(x, 4, 3, *ends),
        lambda: _core.statistics_extremes(x, 3, 0, *ends),
        lambda: _core.statistics_channels(x, 2, 3, 3, *ends, *sums),
        lambda: _core.statistics_channels(x, 1, 3, 4, *ends, *sums),
    ):
        with pytest.raises(InvalidArgumentError):
            call()


def test_statistics_find_what_is_not_finite_wherever_it_stands() -> None:
    for size in (1, 2, 16, 17, 40):
        for at in range(size):
            for bad in (np.nan, np.inf, -np.inf):
                x = np.ones(size, np.float32)
                x[at] = bad
                ends = np.empty((2, 1), np.float32)
                assert not _core.statistics_extremes(x, 1, size, *ends), (size, at, bad)

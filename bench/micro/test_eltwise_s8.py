# SPDX-License-Identifier: Apache-2.0
"""Add and mul per kernel: pytest bench/micro/test_eltwise_s8.py --benchmark-columns=min,median"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, str, bool]  # name, isa, op, supported

N = 56 * 56 * 64  # one residual addition of a 224 x 224 network; 0.6 MB with both operands


@pytest.mark.parametrize("row", _core.eltwise_s8_rows(), ids=lambda row: row[0])
def test_eltwise_s8(row: Row, benchmark: BenchmarkFixture) -> None:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    a, b = np.random.default_rng(1).integers(0, 256, (2, N), dtype=np.uint8)
    c = np.empty(N, np.uint8)
    benchmark.group = "eltwise_s8"
    benchmark(_core.eltwise_s8_run, name, a, b, c, N,
              a_zero_point=128, b_zero_point=120, ka=0.73, kb=0.41, zero_point=127)  # fmt: skip
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = benchmark.stats["min"]
    benchmark.extra_info["ns_per_element"] = seconds / N * 1e9
    print(f"\n{name:<26} {seconds / N * 1e9:7.3f} ns/element  {3 * N / seconds / 1e9:6.1f} GB/s")

# SPDX-License-Identifier: Apache-2.0
"""Table lookup per kernel: pytest bench/micro/test_lut_s8.py --benchmark-columns=min,median"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, str, bool]  # name, isa, op, supported

N = 56 * 56 * 64


@pytest.mark.parametrize("row", _core.lut_s8_rows(), ids=lambda row: row[0])
def test_lut_s8(row: Row, benchmark: BenchmarkFixture) -> None:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    values = rng.integers(0, 256, N, dtype=np.uint8)
    table = rng.integers(0, 256, 256, dtype=np.uint8)
    out = np.empty(N, np.uint8)
    benchmark.group = "lut_s8"
    benchmark(_core.lut_s8_run, name, values, out, N, table)
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = benchmark.stats["min"]
    benchmark.extra_info["ns_per_element"] = seconds / N * 1e9
    print(f"\n{name:<26} {seconds / N * 1e9:7.3f} ns/element  {2 * N / seconds / 1e9:6.1f} GB/s")

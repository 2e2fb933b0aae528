# SPDX-License-Identifier: Apache-2.0
"""Products of s16 rows per kernel: pytest bench/micro/test_gemm_s16.py --benchmark-columns=min"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, int, bool]  # name, isa, nr, supported

M, K = 64, 512
REPEATS = 2000  # which the checks of one call vanish behind


@pytest.mark.parametrize("row", _core.gemm_s16_rows(), ids=lambda row: row[0])
def test_gemm_s16(row: Row, benchmark: BenchmarkFixture) -> None:
    name, isa, nr, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    a = rng.integers(-(2**15), 2**15, M * K).astype(np.int16)
    weights = rng.integers(-127, 128, (K // 2, nr, 2)).astype(np.int16)
    pairs = np.arange(K // 2, dtype=np.int32) * 2
    benchmark.group = "gemm_s16"
    benchmark(_core.gemm_s16_run, name, a, np.arange(M) * K, pairs, weights, 257, REPEATS)
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    rate = REPEATS * M * K * nr / benchmark.stats["min"] / 1e9
    benchmark.extra_info["gmacs"] = rate
    print(f"\n{name:<26} {rate:7.2f} GMAC/s")

# SPDX-License-Identifier: Apache-2.0
"""Softmax of one row: pytest bench/micro/test_softmax_s8.py --benchmark-columns=min,median

The figures include the call from Python, about 1.5 us: compare rows of one length.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, str, bool]  # name, isa, op, supported


# Classes, attention (the whole range and a row of few levels), ImageNet, a long row.
@pytest.mark.parametrize(
    ("n", "levels"), [(10, 256), (128, 256), (128, 40), (1000, 256), (65536, 256)]
)
@pytest.mark.parametrize("row", _core.softmax_s8_rows(), ids=lambda row: row[0])
def test_softmax_s8(row: Row, n: int, levels: int, benchmark: BenchmarkFixture) -> None:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    values = np.random.default_rng(1).integers(0, levels, n, dtype=np.uint8)
    table = np.rint(2.0**23 * np.exp(-0.05 * np.arange(256))).astype(np.uint32)
    out = np.empty(n, np.uint8)
    benchmark.group = f"softmax_s8 n={n} levels={levels}"
    benchmark(_core.softmax_s8_run, name, values, out, n, table, out_scale=1 / 256, zero_point=0)
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = benchmark.stats["min"]
    benchmark.extra_info["ns_per_element"] = seconds / n * 1e9
    figures = f"{seconds * 1e9:9.0f} ns  {seconds / n * 1e9:7.3f} ns/element"
    print(f"\n{name:<26} n={n:<6} levels={levels:<4} {figures}")

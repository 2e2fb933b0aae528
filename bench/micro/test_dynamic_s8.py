# SPDX-License-Identifier: Apache-2.0
"""Ranges and scaling per kernel: pytest bench/micro/test_dynamic_s8.py --benchmark-columns=min"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, bool]  # name, isa, supported

ROWS, COLUMNS = 256, 64  # what a layer scales at a time
REPEATS = 500  # which the checks of one call vanish behind


@pytest.mark.parametrize("row", _core.dynamic_s8_rows(), ids=lambda row: row[0])
@pytest.mark.parametrize("part", ["range", "scale_sums"])
def test_dynamic_s8(row: Row, part: str, benchmark: BenchmarkFixture) -> None:
    name, isa, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    x = rng.standard_normal(ROWS * COLUMNS).astype(np.float32)
    benchmark.group = f"dynamic_s8 {part}"
    if part == "range":
        benchmark(_core.dynamic_s8_range, name, x, x.size)
    else:
        sums = rng.integers(-(2**20), 2**20, x.size).astype(np.int32)
        shift = rng.integers(-1000, 1000, COLUMNS).astype(np.int32)
        scale = rng.uniform(1e-4, 1e-3, COLUMNS).astype(np.float32)
        benchmark(
            _core.dynamic_s8_scale_sums, name, sums, x, ROWS, COLUMNS, sums_stride=COLUMNS,
            out_stride=COLUMNS, zero_point=7, x_scale=0.1, weight_sums=shift, weight_scales=scale,
            bias=scale, lo=-np.inf, hi=np.inf, repeats=REPEATS,
        )  # fmt: skip
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = benchmark.stats["min"] / (1 if part == "range" else REPEATS)
    print(f"\n{name:<26} {seconds / x.size * 1e9:7.3f} ns/element")

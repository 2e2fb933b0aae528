# SPDX-License-Identifier: Apache-2.0
"""Products of two activations: pytest bench/micro/test_matmul_s8.py --benchmark-columns=min,median

One head of an attention over 128 positions: scores (keys transposed) and values. B is packed in
each call, as in a model.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, str, bool]  # name, isa, op, supported
SHAPES = {"scores": (128, 32, 128, True), "values": (128, 128, 32, False)}  # m, k, n, transposed


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("row", _core.matmul_s8_rows(), ids=lambda row: row[0])
def test_matmul_s8(row: Row, shape: str, benchmark: BenchmarkFixture) -> None:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    m, k, n, transposed = SHAPES[shape]
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 384 * 128 + 15), dtype=np.uint8)
    c = np.empty(384 * 128, np.uint8)
    strides = {"a_stride": 384 if k == 32 else k, "b_stride": 384, "c_stride": 384}
    zeros = {"a_zero_point": 128, "b_zero_point": 120, "zero_point": 128}
    benchmark.group = f"matmul_s8 {shape}"
    benchmark(
        lambda: _core.matmul_s8_run(
            name, a, b, c, m, k, n, b_transposed=transposed, scale=1e-3, **strides, **zeros
        )
    )
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = benchmark.stats["min"]
    benchmark.extra_info["GMAC_per_s"] = m * k * n / seconds / 1e9
    print(
        f"\n{name:<26} {shape:<8} {seconds * 1e9:9.0f} ns  {m * k * n / seconds / 1e9:6.1f} GMAC/s"
    )

# SPDX-License-Identifier: Apache-2.0
"""Pooling rows: pytest bench/micro/test_pool_s8.py -s --benchmark-columns=min,median

Windows of the image networks: global average, 3x3 and 2x2. Prints bytes of input per cycle.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, str, bool]  # name, isa, op, supported

WINDOWS = [(7, 7, 1024), (7, 7, 2048), (14, 14, 512), (25, 5, 64), (56, 56, 64), (3, 3, 64)]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: "x".join(map(str, w)))
@pytest.mark.parametrize("row", _core.pool_s8_rows(), ids=lambda row: row[0])
def test_pool_s8(row: Row, window: tuple[int, int, int], benchmark: BenchmarkFixture) -> None:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rows, cols, channels = window
    image = np.random.default_rng(1).integers(0, 256, window, dtype=np.uint8)
    out = np.empty(channels, np.uint8)
    quant = {"zero_sum": rows * cols * 3, "multiplier": 1 / (rows * cols), "zero_point": 3}
    arguments = (name, image, 0, cols * channels, channels, rows, cols, channels, out, 0)
    benchmark.group = "pool_s8"
    benchmark(_core.pool_s8_run, *arguments, **quant)
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = _core.pool_s8_run(*arguments, **quant, repeats=500)  # without the Python call
    per_cycle = image.size / (seconds * _core.measure_clock_ghz() * 1e9)
    benchmark.extra_info["bytes_per_cycle"] = per_cycle
    print(f"\n{name:<26} {rows}x{cols}x{channels:<6} {seconds * 1e6:8.2f} us"
          f"  {per_cycle:6.1f} bytes/cycle")  # fmt: skip

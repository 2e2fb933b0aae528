# SPDX-License-Identifier: Apache-2.0
"""Linear resizing, one output row per call: doubling, as in segmentation and detection heads.

pytest bench/micro/test_resize_s8.py -s --benchmark-columns=min,median
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

SHAPES = [(28, 256), (56, 64), (64, 21), (160, 3)]  # input width, channels
CASES = [(row, shape) for shape in SHAPES for row in _core.resize_s8_rows()]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1][0]}x{case[1][1]}-{case[0][0]}")
def test_resize_s8(
    case: tuple[tuple[str, str, str, bool], tuple[int, int]], benchmark: BenchmarkFixture
) -> None:
    (name, isa, _, supported), (width, channels) = case
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    top, bottom = rng.integers(0, 256, (2, width, channels), dtype=np.uint8)
    at = np.clip((np.arange(2 * width) + 0.5) / 2 - 0.5, 0, width - 1)
    left = at.astype(np.int32)
    right = np.minimum(left + 1, width - 1)
    weight = np.rint((at - left) * 2048).astype(np.int32)
    out = np.empty(2 * width * channels, np.uint8)

    def run(repeats: int) -> float:
        return _core.resize_s8_run(
            name, top, bottom, width, channels, 512, left, right, weight, out, channels,
            multiplier=2.0**-22, repeats=repeats,
        )  # fmt: skip

    benchmark.group = "resize_s8"
    benchmark(run, 0)
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    ns = run(2000) * 1e9 / out.size
    benchmark.extra_info.update(ns_per_output=ns)
    print(f"\n{width}x{channels} {name:<28} {ns:6.3f} ns per output")

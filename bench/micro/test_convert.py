# SPDX-License-Identifier: Apache-2.0
"""Edge conversions per kernel: pytest bench/micro/test_convert.py --benchmark-columns=min,median"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, str, bool]  # name, isa, op, supported

SIDE = 224
PIXELS = SIDE * SIDE
N = 3 * PIXELS
SCALE, ZERO_POINT = 0.0187, 114

# channels, pixel stride: packed RGB, RGB in 4-byte pixels, a feature map of 64 channels
LAYOUTS = {"rgb": (3, 3), "rgb_stride4": (3, 4), "c64": (64, 64)}


def report(benchmark: BenchmarkFixture, name: str, label: str, count: int, moved: int) -> None:
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    seconds = benchmark.stats["min"]
    benchmark.group = f"convert {label}"
    benchmark.extra_info["ns_per_element"] = seconds / count * 1e9
    print(
        f"\n{name:<20} {label:<24} {seconds * 1e6:8.1f} us  {seconds / count * 1e9:7.3f} ns/element"
        f"  {moved / seconds / 1e9:6.1f} GB/s"
    )


def usable(row: Row) -> str:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return name


def rows(op: str) -> pytest.MarkDecorator:
    chosen = [row for row in _core.convert_rows() if row[2] == op]
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row[0])


def image() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, N).astype(np.float32)


@rows("quantize")
def test_quantize(row: Row, benchmark: BenchmarkFixture) -> None:
    x, out = image(), np.empty(N, np.uint8)
    name = usable(row)
    benchmark(_core.convert_quantize, name, x, out, N, scale=SCALE, zero_point=ZERO_POINT)
    report(benchmark, name, "quantize", N, 5 * N)


@rows("quantize_chw")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_quantize_chw(row: Row, layout: str, benchmark: BenchmarkFixture) -> None:
    channels, pixel = LAYOUTS[layout]
    width = PIXELS * 3 // channels
    x, out = image(), np.empty(width * pixel, np.uint8)
    name = usable(row)
    benchmark(_core.convert_quantize_chw, name, x, width, out, pixel, width, channels,
              scale=SCALE, zero_point=ZERO_POINT)  # fmt: skip
    report(benchmark, name, f"quantize_chw {layout}", width * channels, 5 * width * channels)


@rows("dequantize")
def test_dequantize(row: Row, benchmark: BenchmarkFixture) -> None:
    q = np.random.default_rng(1).integers(0, 256, N, dtype=np.uint8)
    out = np.empty(N, np.float32)
    name = usable(row)
    benchmark(_core.convert_dequantize, name, q, out, N, scale=SCALE, zero_point=ZERO_POINT)
    report(benchmark, name, "dequantize", N, 5 * N)


@rows("flip")
def test_flip(row: Row, benchmark: BenchmarkFixture) -> None:
    q = np.random.default_rng(1).integers(0, 256, N, dtype=np.uint8)
    out = np.empty(N, np.uint8)
    name = usable(row)
    benchmark(_core.convert_flip, name, q, out, N)
    report(benchmark, name, "flip", N, 2 * N)

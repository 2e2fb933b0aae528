# SPDX-License-Identifier: Apache-2.0
"""Depthwise rows on the layers of MobileNetV1, MobileNetV2 and DS-CNN, one image row per call.

pytest bench/micro/test_dwconv_s8.py -s --benchmark-columns=min,median

Prints core cycles per 16 outputs and MAC per cycle, at a clock measured just before.
"""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

Row = tuple[str, str, int, int, int, bool, int, bool]
Shape = tuple[str, int, int, int, int]  # network, channels, input width, kernel, stride

SHAPES: list[Shape] = [
    ("ds-cnn", 64, 5, 3, 1),
    ("v1-0.25", 8, 48, 3, 1),
    ("v1", 32, 112, 3, 1),
    ("v1", 64, 112, 3, 2),
    ("v1", 128, 56, 3, 1),
    ("v1", 256, 28, 3, 1),
    ("v1", 512, 14, 3, 1),
    ("v1", 512, 14, 3, 2),
    ("v1", 1024, 7, 3, 1),
    ("v2", 96, 112, 3, 2),
    ("v2", 144, 56, 3, 1),
    ("v2", 192, 28, 3, 1),
    ("v2", 384, 14, 3, 1),
    ("v2", 960, 7, 3, 1),
    ("lite0", 240, 28, 5, 1),
    ("lite0", 96, 56, 5, 2),
    ("lite0", 672, 14, 5, 1),
]


def takes(row: Row, shape: Shape) -> bool:
    _, _, kh, _, stride, *_ = row
    return kh in (0, shape[3]) and stride in (0, shape[4])


CASES = [(row, shape) for shape in SHAPES for row in _core.dwconv_s8_rows() if takes(row, shape)]


def case_id(case: tuple[Row, Shape]) -> str:
    network, channels, width, kernel, stride = case[1]
    return f"{network}-{width}x{channels}-{kernel}x{kernel}s{stride}-{case[0][0]}"


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_dwconv_s8(case: tuple[Row, Shape], benchmark: BenchmarkFixture) -> None:
    (name, isa, *_, supported), (_, channels, width, kernel, stride) = case
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    weights = rng.laplace(size=(kernel, kernel, channels))
    layer = _core.DwconvS8(
        name,
        np.rint(weights / np.abs(weights).max(axis=(0, 1)) * 127).astype(np.int16),
        rng.integers(-1000, 1000, channels).astype(np.int32),
        rng.uniform(1e-3, 2e-3, channels).astype(np.float32),
        in_zero_point=3,
        out_zero_point=3,
        stride=stride,
    )
    row_bytes = (width + kernel - 1) * channels
    image = rng.integers(0, 256, row_bytes * kernel + 64, dtype=np.uint8)
    offsets = np.arange(kernel, dtype=np.int64) * row_bytes
    out_w = (width - 1) // stride + 1
    out = np.empty(out_w * channels, np.uint8)
    arguments = (image, offsets, channels, out, 0, channels, out_w)
    benchmark.group = "dwconv_s8"
    benchmark(layer.run, *arguments)
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    clock = _core.measure_clock_ghz() * 1e9
    outputs = out_w * channels
    cycles = layer.time(*arguments, repeats=2000) * clock  # without the Python call
    per_16, macs = cycles / (outputs / 16), kernel * kernel * outputs / cycles
    benchmark.extra_info.update(clock_ghz=clock / 1e9, cycles_per_16=per_16, mac_per_cycle=macs)
    print(f"\n{case_id(case):<58} {per_16:6.1f} cycles/16 outputs  {macs:5.1f} MAC/cycle")

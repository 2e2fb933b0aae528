# SPDX-License-Identifier: Apache-2.0
"""3x3 layers by Winograd and by the direct kernel of the same ISA, the two taking turns.

pytest bench/micro/test_winograd_s8.py -s --benchmark-columns=min,median

Prints microseconds and GMAC/s of the convolution (Winograd does a quarter of the products), as a
share of the peak of the direct product, and what part of Winograd's time the input transform takes.
One thread, everything warm in the cache: in a network the weights are not.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

PANEL = 18  # tiles

Row = tuple[str, str, int, int, bool]


class Layer(NamedTuple):
    """3x3, stride 1: height and width of the output, channels in and out."""

    size: int
    c_in: int
    c_out: int

    @property
    def macs(self) -> int:
        return self.size**2 * self.c_in * self.c_out * 9


LAYERS = {
    "resnet18_56": Layer(56, 64, 64),
    "resnet18_28": Layer(28, 128, 128),
    "resnet18_14": Layer(14, 256, 256),
    "resnet18_7": Layer(7, 512, 512),
    "squeezenet_55": Layer(55, 16, 64),
    "squeezenet_27": Layer(27, 32, 128),
    "squeezenet_13_48": Layer(13, 48, 192),
    "squeezenet_13_64": Layer(13, 64, 256),
    "resnet8_32": Layer(32, 16, 16),
    "resnet8_16": Layer(16, 32, 32),
    "resnet8_8": Layer(8, 64, 64),
}


@cache
def peak(isa: str) -> float:
    return float(_core.measure_peak(isa))


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("row", _core.winograd_s8_rows(), ids=lambda row: row[0])
def test_winograd_s8(row: Row, layer: Layer, benchmark: BenchmarkFixture) -> None:
    name, isa, *_, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    size, c_in, c_out = layer
    real = rng.laplace(size=(c_out, 9 * c_in))
    weights = np.asarray(np.rint(real / np.abs(real).max(axis=1, keepdims=True) * 127), np.int16)
    bias, multiplier = np.zeros(c_out, np.int32), np.full(c_out, 1e-3, np.float32)
    line = (size + 2) * c_in
    a = rng.integers(0, 256, (size + 2) * line + 64, dtype=np.uint8)
    c = np.empty((size * size, c_out), np.uint8)
    winograd = _core.WinogradS8(
        name, weights.reshape(c_out, 3, 3, c_in), bias, multiplier, 128, 128, panel=PANEL
    )
    image = (a, 0, line, c_in, c, 0, size * c_out, c_out, size, size)
    benchmark.group = "winograd_s8"
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        winograd.run, image, rounds=3, warmup_rounds=1
    )
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    kernel = _core.gemm_s8_select(isa, size * size, c_out, 9 * c_in)
    segments = np.arange(3) * line
    direct = _core.GemmS8(
        kernel, weights.reshape(c_out, 3, 3 * c_in), bias, multiplier, 128, segments, 128
    )
    y, x = np.mgrid[:size, :size]
    rows, c_rows = (y * line + x * c_in).ravel(), np.arange(size * size) * c_out
    repeats = 1 if isa == "scalar" else 8
    direct_s = fast_s = input_s = float("inf")
    for _ in range(4):
        direct_s = min(direct_s, direct.time(a, rows, c, c_rows, repeats))
        seconds, transform = winograd.time(*image, repeats)
        fast_s, input_s = min(fast_s, seconds), min(input_s, transform)
    rate, share = layer.macs / fast_s * 1e-9, layer.macs / fast_s * 1e-9 / peak(isa)
    benchmark.extra_info.update(gmacs=rate, peak_share=share, speedup=direct_s / fast_s)
    where = f"{name:<26} {next(k for k, v in LAYERS.items() if v == layer):<17}"
    print(
        f"\n{where} direct {direct_s * 1e6:8.1f} us, Winograd {fast_s * 1e6:8.1f} us, "
        f"{rate:6.1f} GMAC/s, {share:4.0%} of peak, input {input_s / fast_s:3.0%}, "
        f"x{direct_s / fast_s:.2f}"
    )

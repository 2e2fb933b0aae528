# SPDX-License-Identifier: Apache-2.0
"""gemm_f32 and dwconv_f32 per kernel and layer: pytest bench/micro/test_gemm_f32.py -s

Prints GMAC/s and multiply-accumulates per core cycle, at a clock measured just before: the limit of
an AVX2 core with two FMA ports is 16.
"""

from typing import NamedTuple

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core

INF = float("inf")


class Layer(NamedTuple):
    """A convolution by its output: height and width, channels in and out, kernel, stride."""

    h: int
    w: int
    c_in: int
    c_out: int
    kernel: int = 1
    stride: int = 1

    @property
    def macs(self) -> int:
        return self.h * self.w * self.c_in * self.c_out * self.kernel**2


LAYERS = {
    "resnet_stem_7x7": Layer(112, 112, 3, 64, 7, 2),
    "resnet18_56": Layer(56, 56, 64, 64, 3),
    "resnet18_14": Layer(14, 14, 256, 256, 3),
    "resnet18_7": Layer(7, 7, 512, 512, 3),
    "mobilenet_v1_512": Layer(14, 14, 512, 512),
    "mobilenet_v1_1024": Layer(7, 7, 1024, 1024),
    "mobilenet_v2_expand": Layer(56, 56, 24, 144),
    "squeezenet_expand": Layer(55, 55, 16, 64),
    "minilm_ffn": Layer(128, 1, 384, 1536),
    "kws_pointwise": Layer(25, 5, 64, 64),
    "ad_fc": Layer(1, 1, 640, 128),
    "mobilenet_v2_fc": Layer(1, 1, 1280, 1000),
}

#: channels, output width, stride of a 3x3 depthwise layer
DEPTHWISE = {
    "v1_112": (32, 112, 1),
    "v1_56": (128, 56, 1),
    "v1_14": (512, 14, 1),
    "v1_7": (1024, 7, 1),
    "v2_56_s2": (144, 28, 2),
    "ds_cnn": (64, 5, 1),
}


def report(kernel: str, layer: str, macs: float, seconds: float, clock_ghz: float) -> None:
    rate = macs / seconds * 1e-9
    print(f"\n{kernel:<28} {layer:<22} {rate:7.2f} GMAC/s {rate / clock_ghz:5.1f} MAC/cycle")


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("row", _core.gemm_f32_rows(), ids=lambda row: row[0])
def test_gemm_f32(
    row: tuple[str, str, int, int, bool], layer: Layer, benchmark: BenchmarkFixture
) -> None:
    name, isa, *_, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    rng = np.random.default_rng(1)
    pixels = layer.w * layer.stride + layer.kernel - 1  # of a padded input row
    line, run = pixels * layer.c_in, layer.kernel * layer.c_in
    weights = rng.normal(0, 0.1, (layer.c_out, layer.kernel, run)).astype(np.float32)
    bias = np.zeros(layer.c_out, np.float32)
    gemm = _core.GemmF32(name, weights, bias, np.arange(layer.kernel) * line * 4, 0.0, INF)
    lines = layer.h * layer.stride + layer.kernel - 1
    a = rng.normal(0, 1, lines * line).astype(np.float32)
    y, x = np.mgrid[: layer.h, : layer.w] * layer.stride
    a_rows = (y * line + x * layer.c_in).ravel() * 4
    c = np.empty((a_rows.size, layer.c_out), np.float32)
    arguments = (a, a_rows, c, np.arange(a_rows.size) * layer.c_out * 4)

    benchmark.group = "gemm_f32"
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        gemm.run, arguments, rounds=1, warmup_rounds=0
    )
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    clock = _core.measure_clock_ghz()
    seconds = gemm.time(*arguments, repeats=1 if isa == "scalar" else 20)
    benchmark.extra_info.update(mac_per_cycle=layer.macs / seconds / clock * 1e-9)
    label = next(k for k, v in LAYERS.items() if v == layer)
    report(name, label, layer.macs, seconds, clock)


@pytest.mark.parametrize("shape", DEPTHWISE.values(), ids=DEPTHWISE)
@pytest.mark.parametrize("row", _core.dwconv_f32_rows(), ids=lambda row: row[0])
def test_dwconv_f32(
    row: tuple[str, str, int, bool], shape: tuple[int, int, int], benchmark: BenchmarkFixture
) -> None:
    name, isa, _, supported = row
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    channels, out_w, stride = shape
    rng = np.random.default_rng(1)
    width = (out_w - 1) * stride + 3
    weights = rng.normal(0, 0.3, (channels, 3, 3)).astype(np.float32)
    layer = _core.DwconvF32(
        name, weights, np.zeros(channels, np.float32), stride, 1, lo=0.0, hi=6.0
    )
    image = rng.normal(0, 1, 3 * width * channels + 15).astype(np.float32)
    out = np.empty(out_w * channels, np.float32)
    offsets = np.arange(3) * width * channels * 4
    arguments = (image, offsets, channels * 4, out, channels * 4, out_w)
    benchmark.group = "dwconv_f32"
    benchmark(layer.run, *arguments)
    if benchmark.disabled:
        return
    clock = _core.measure_clock_ghz()
    macs = 9 * channels * out_w
    seconds = layer.time(*arguments, repeats=20 if isa == "scalar" else 300)
    benchmark.extra_info.update(mac_per_cycle=macs / seconds / clock * 1e-9)
    report(name, next(k for k, v in DEPTHWISE.items() if v == shape), macs, seconds, clock)

# SPDX-License-Identifier: Apache-2.0
"""gemm_s8 per kernel and layer: pytest bench/micro/test_gemm_s8.py --benchmark-columns=min,median

Prints GMAC/s, the share of the peak that register-only loops of the same ISA reach in this run (one
step at a time: AVX2's paired steps may exceed it), and the share of steps that AVX2 flips because
their products could saturate vpmaddubsw.
"""

from functools import cache
from typing import NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from octavo import _core


class Row(TypedDict):
    """One kernel, as `_core.gemm_s8_rows` lists them."""

    name: str
    isa: str
    supported: bool


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
    "m196_k576_n128": Layer(14, 14, 64, 128, 3),
    "mobilenet_v1_512": Layer(14, 14, 512, 512),
    "mobilenet_v1_1024": Layer(7, 7, 1024, 1024),
    "mobilenet_v2_expand": Layer(56, 56, 24, 144),
    "mobilenet_v2_project": Layer(14, 14, 384, 64),
    "mobilenet_v2_head": Layer(7, 7, 320, 1280),
    "mobilenet_v2_fc": Layer(1, 1, 1280, 1000),
    "resnet_stem_7x7": Layer(112, 112, 3, 64, 7, 2),
    "resnet18_56": Layer(56, 56, 64, 64, 3),
    "resnet18_28": Layer(28, 28, 128, 128, 3),
    "resnet18_7": Layer(7, 7, 512, 512, 3),
    "resnet50_reduce": Layer(56, 56, 256, 64),
    "resnet50_expand": Layer(56, 56, 64, 256),
    "squeezenet_squeeze": Layer(55, 55, 64, 16),
    "squeezenet_expand_3x3": Layer(27, 27, 32, 128, 3),
    "kws_pointwise": Layer(25, 5, 64, 64),
    "kws_fc": Layer(1, 1, 64, 12),
    "resnet8_16": Layer(32, 32, 16, 16, 3),
}


@cache
def peak(isa: str) -> float:
    return float(_core.measure_peak(isa))


def trained_like(rng: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.int16]:
    """Laplace weights, the largest of each channel at 127: what min-max quantization gives."""
    weights: npt.NDArray[np.float64] = rng.laplace(size=shape)
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True)
    return np.asarray(np.rint(weights / largest * 127), np.int16)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("row", _core.gemm_s8_rows(), ids=lambda row: row["name"])
def test_gemm_s8(row: Row, layer: Layer, benchmark: BenchmarkFixture) -> None:
    if not row["supported"]:
        pytest.skip(f"NOT RUN: {row['name']}: this machine lacks {row['isa']}")
    rng = np.random.default_rng(1)
    pixels = layer.w * layer.stride + layer.kernel - 1  # of a padded input row
    line, run = pixels * layer.c_in, layer.kernel * layer.c_in
    gemm = _core.GemmS8(
        row["name"],
        trained_like(rng, (layer.c_out, layer.kernel, run)),
        np.zeros(layer.c_out, np.int32),
        np.full(layer.c_out, 1e-3, np.float32),
        128,
        np.arange(layer.kernel) * line,
        128,
    )
    lines = layer.h * layer.stride + layer.kernel - 1
    a = rng.integers(0, 256, lines * line + 3, dtype=np.uint8)
    y, x = np.mgrid[: layer.h, : layer.w] * layer.stride
    a_rows = (y * line + x * layer.c_in).ravel()
    c = np.empty((a_rows.size, layer.c_out), np.uint8)
    c_rows = np.arange(a_rows.size) * layer.c_out

    benchmark.group = "gemm_s8"
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        gemm.run, (a, a_rows, c, c_rows), rounds=3, warmup_rounds=1
    )
    if benchmark.disabled:  # --benchmark-disable: only check that it runs
        return
    # The fixture's times include building the row pointers from the arrays; this one does not.
    seconds = gemm.time(a, a_rows, c, c_rows, 3 if row["isa"] == "scalar" else 30)
    rate, flipped = layer.macs / seconds * 1e-9, gemm.flipped_steps / gemm.steps
    share = rate / peak(row["isa"])
    benchmark.extra_info.update(gmacs=rate, peak_share=share, flipped_steps=flipped)
    where = f"{row['name']:<28} {next(k for k, v in LAYERS.items() if v == layer):<22}"
    print(f"\n{where} {rate:7.2f} GMAC/s {share:5.0%} of peak, {flipped:4.0%} flipped")

# SPDX-License-Identifier: Apache-2.0
"""tools/aarch64/predict.py on loops of known price."""

from __future__ import annotations

import math
import shutil

import pytest

import loop_costs
import predict
from loop_costs import CORES, Core, Costs
from loop_counts import KernelLoop
from mca import Analysis
from objects import Instruction

needs_mca = pytest.mark.skipif(
    not any(map(shutil.which, ("llvm-mca-19", "llvm-mca"))), reason="NOT RUN: needs llvm-mca"
)
A53, A72, A76, V1 = CORES
TILE = [f"sdot\tv{i}.4s, v30.16b, v31.4b[{i % 4}]" for i in range(16)]


def row(path: str, isa: str, cycles: float, *lines: str, symbol: str = "run") -> Analysis:
    body = tuple(Instruction(4 * i, line) for i, line in enumerate(lines))
    times = dict.fromkeys((core.cpu for core in CORES), cycles)
    return Analysis(KernelLoop(path, isa, symbol, body, 0), times)


def costs(core: Core, monkeypatch: pytest.MonkeyPatch) -> Costs:
    monkeypatch.setattr(loop_costs, "_tile", lambda isa: (8, 8, 4))
    monkeypatch.setattr(loop_costs, "_names", lambda family, isa: ["dwconv_s8_3x3s1_x8_neon"])
    depthwise = row("dwconv_s8/neon_3x3", "neon", 24, *TILE[:4], "str\tq0, [x0], #16", symbol="s1")
    gemm = row("gemm_s8/neon", "neon", 32, "ldp\tq30, q31, [x0], #32", *TILE)
    vector = row("gemm_s8/neon", "neon", 32, *["ldr\tq30, [x0], #16"] * 16, *TILE)
    add = row("eltwise_s8/neon", "neon", 32, "str\tq0, [x0], #16", symbol="run<Add>")
    return Costs(core, [depthwise, gemm, vector, add])


def conv(rows: int, columns: int, k: int, *, weights: int = 0) -> predict.Step:
    shapes = ((rows, 1, k),), (rows, 1, columns)
    return predict.Step("conv_s8", "gemm_s8", rows * columns * k, *shapes, weights, 0)


@needs_mca
def test_gemm_is_products_epilogue_and_overhead(monkeypatch: pytest.MonkeyPatch) -> None:
    priced = costs(A76, monkeypatch)
    cycles = predict.gemm_cycles(conv(64, 64, 1024), A76, priced)
    products = 64 * 64 * 1024 * 32 / 256
    assert products < cycles < 1.2 * products
    # 9 columns fill two blocks of 8, k = 5 two groups of 4.
    padded = predict.gemm_cycles(conv(64, 9, 5), A76, priced)
    assert padded == predict.gemm_cycles(conv(64, 16, 8), A76, priced)


@needs_mca
def test_one_row_takes_the_loop_that_reads_each_weight_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = costs(A76, monkeypatch).gemm(1)
    assert (kernel.mr, kernel.cycles_per_mac) == (1, 32 / 256)


@needs_mca
def test_memory_adds_in_order_and_overlaps_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    step = conv(64, 64, 64, weights=1 << 30)
    for core in (A53, A76):
        priced = costs(core, monkeypatch)
        warm = predict.seconds(conv(64, 64, 64), core, priced, cold_weights=False)
        cold = predict.seconds(step, core, priced, cold_weights=True)
        memory = (1 << 30) / core.bandwidth
        assert math.isclose(cold, warm + memory if core.in_order else memory)


@needs_mca
def test_winograd_where_it_is_faster_and_there_is_no_sdot(monkeypatch: pytest.MonkeyPatch) -> None:
    step = predict.Step(
        "conv_s8", "gemm_s8", 9 * 64 * 64 * 256, ((16, 16, 64),), (16, 16, 64), 0, 0
    )
    smlal = [f"smlal\tv{i}.4s, v30.4h, v7.h[{i % 4}]" for i in range(16)]
    for core, used in ((A72, True), (A76, False)):
        direct = costs(core, monkeypatch)
        fast = row("winograd_s8/neon", "neon", 8, *smlal)
        both = Costs(core, [*direct.rows, fast])
        times = [predict.seconds(step, core, c, cold_weights=False) for c in (direct, both)]
        assert (times[1] < times[0]) == used
        slow = Costs(core, [*direct.rows, row("winograd_s8/neon", "neon", 80, *smlal)])
        assert predict.seconds(step, core, slow, cold_weights=False) == times[0]


def test_a53_count() -> None:
    body = [Instruction(0, line) for line in ("ldp\tq0, q1, [x0]", *TILE, "add\tx0, x0, #32")]
    assert loop_costs.a53_count(body) == 4 + 16
    body = [Instruction(0, line) for line in ("ldr\td0, [x0]", "add\tx0, x0, #8", TILE[0])]
    assert loop_costs.a53_count(body) == 1.5


def test_steps_without_products(monkeypatch: pytest.MonkeyPatch) -> None:
    priced = costs(V1, monkeypatch)
    shape = (8, 8, 16)
    add = predict.Step("add_s8", "add_s8", 0, (shape, shape), shape, 0, 0)
    assert predict.other_cycles(add, V1, priced) == 1024 * 2
    table = predict.Step("lut_s8", "lut_s8", 0, (shape,), shape, 0, 0)
    assert predict.other_cycles(table, V1, priced) == 1024 * loop_costs.SCALAR_CYCLES


def test_depthwise_takes_its_loop_by_output(monkeypatch: pytest.MonkeyPatch) -> None:
    priced = costs(V1, monkeypatch)
    step = predict.Step("conv_s8", "dwconv_s8", 9 * 64 * 12, ((8, 8, 12),), (8, 8, 12), 0, 0)
    # 12 channels fill two blocks of 8 lanes; 24 cycles for 16 outputs.
    assert predict.dwconv_cycles(step, V1, priced) == 64 * 16 * 24 / 16


def test_texts_of_kernel_info() -> None:
    assert predict.shape("u8 1×112×112×32") == (112, 112, 32)
    assert predict.size("f32 1×10") == 40


def test_a_build_without_gemm_is_refused() -> None:
    with pytest.raises(SystemExit, match="gemm_s8"):
        Costs(A76, []).gemm(4)

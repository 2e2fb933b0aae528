# SPDX-License-Identifier: Apache-2.0
"""tools/aarch64/mca.py and the counts that it divides by."""

from __future__ import annotations

import shutil

import pytest

import mca
from loop_counts import KernelLoop, bytes_of, macs_of
from objects import Instruction

needs_mca = pytest.mark.skipif(
    not any(map(shutil.which, ("llvm-mca-19", "llvm-mca"))), reason="NOT RUN: needs llvm-mca"
)


def loop(*lines: str, path: str = "gemm_s8/neondot", isa: str = "neondot") -> KernelLoop:
    body = tuple(Instruction(4 * i, line) for i, line in enumerate(lines))
    return KernelLoop(path, isa, "tile<8, 1>", body, 0)


SDOT = [f"sdot\tv{i}.4s, v30.16b, v31.4b[{i % 4}]" for i in range(16)]
LOOP = loop("ldp\tq30, q31, [x0], #32", *SDOT, "subs\tx1, x1, #0x1", "b.ne\t0 <tile+0x0>  // b.any")


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("sdot\tv0.4s, v1.16b, v2.16b", 16),
        ("sdot\tv0.2s, v1.8b, v2.4b[1]", 8),
        ("smmla\tv0.4s, v1.16b, v2.16b", 32),
        ("smull\tv0.8h, v1.8b, v2.8b", 8),
        ("smlal2\tv0.8h, v1.16b, v2.16b", 8),
        ("smlal\tv0.4s, v1.4h, v2.h[3]", 4),
        ("fmla\tv0.4s, v1.4s, v2.s[0]", 4),
        ("mla\tv0.8h, v1.8h, v2.8h", 8),
        ("fmadd\ts0, s1, s2, s3", 1),
        ("sadalp\tv0.4s, v1.8h", 0),
        ("add\tv0.4s, v1.4s, v2.4s", 0),
        ("fmul\tv0.4s, v1.4s, v2.4s", 0),
        ("ldr\tq0, [x1]", 0),
    ],
)
def test_macs(text: str, macs: int) -> None:
    assert macs_of(Instruction(0, text)) == macs


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("ldr\tq0, [x1, #16]", 16),
        ("ldp\tq0, q1, [x1], #32", 32),
        ("stp\td8, d9, [x1]", 16),
        ("ldr\tx3, [x1, x2, lsl #3]", 8),
        ("str\twzr, [x1]", 4),
        ("ldrb\tw3, [x1]", 1),
        ("ldursh\tw3, [x1, #-2]", 2),
        ("ldrsw\tx3, [x1, x2, lsl #2]", 4),
        ("ldr\ts1, [x1]", 4),
        ("ld1\t{v0.16b}, [x1], x2", 16),
        ("ld1\t{v0.8b-v3.8b}, [x1]", 32),
        ("ld4\t{v30.16b-v1.16b}, [x1]", 64),
        ("ld1\t{v0.d}[1], [x1]", 8),
        ("ld1r\t{v0.4s}, [x1]", 4),
        ("st1\t{v0.s}[3], [x1]", 4),
        ("prfm\tpldl1keep, [x1]", 0),
        ("sdot\tv0.4s, v1.16b, v2.16b", 0),
    ],
)
def test_bytes(text: str, size: int) -> None:
    assert bytes_of(Instruction(0, text)) == size


def test_a_loop_is_counted() -> None:
    assert (LOOP.macs, LOOP.kind) == (256, "sdot")
    assert (LOOP.loaded, LOOP.stored, LOOP.branches) == (32, 0, 0)
    assert loop(*SDOT, "b.ne\t0 <x>", path="softmax_s8/neondot").macs == 0


def test_assembly_has_neither_addresses_nor_comments() -> None:
    text = mca.assembly(LOOP.body)
    assert text.splitlines()[-1] == "b.ne 0"
    assert "<" not in text
    assert "//" not in text
    assert mca.assembly([Instruction(0, "tbnz\tw2, #3, 1c <x+0x1c>")]) == "tbnz w2, #3, 0"


@needs_mca
def test_sdot_loop_reaches_the_limits() -> None:
    (row,) = mca.analyze([LOOP], mca.LIMITS)
    shares = [row.share(cpu) for cpu in ("cortex-a55", "neoverse-n1", "neoverse-v1")]
    assert row.cycles["cortex-a72"] is None
    assert all(share is not None and 0.6 < share <= 1.0 for share in shares), row.cycles
    assert "(99 %)" in mca.text_table([row])


@needs_mca
def test_one_accumulator_is_bound_by_its_latency() -> None:
    chain = loop(*["sdot\tv0.4s, v30.16b, v31.16b"] * 16, "b.ne\t0 <x>")
    (row,) = mca.analyze([chain], ["neoverse-v1"])
    share = row.share("neoverse-v1")
    assert share is not None
    assert share < 0.3


@needs_mca
def test_rows_run_on_cpus_that_have_their_instructions() -> None:
    i8mm = loop("smmla\tv0.4s, v1.16b, v2.16b", "b.ne\t0 <x>", isa="neoni8mm")
    (row,) = mca.analyze([i8mm], mca.LIMITS)
    assert [cpu for cpu, cycles in row.cycles.items() if cycles] == ["neoverse-v1"]


@needs_mca
def test_unreadable_loop_is_refused() -> None:
    with pytest.raises(SystemExit, match="neoverse-n1"):
        mca.run_mca("neoverse-n1", ["frobnicate v0.4s"])

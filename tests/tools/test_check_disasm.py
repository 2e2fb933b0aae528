# SPDX-License-Identifier: Apache-2.0
"""tools/check_disasm.py on written-out disassembly."""

from __future__ import annotations

import pytest

import check_disasm
from objects import AARCH64, parse_disassembly

HEADER = (
    "\nDisassembly of section .text:\n\n0000000000000000 <octavo::kernel(octavo::Args const&)>:\n"
)


def loops(*lines: str) -> list[check_disasm.Loop]:
    body = "\n".join(f"  {4 * i:x}:\t{line}" for i, line in enumerate(lines))
    return check_disasm.loops_of(parse_disassembly(HEADER + body + "\n"))


def test_clean_loop() -> None:
    (loop,) = loops(
        "vpxord %zmm0,%zmm0,%zmm0",
        "vmovdqu8 (%rsi),%zmm1",
        "vpdpbusd (%rdi){1to16},%zmm1,%zmm0",
        "add    $0x40,%rsi",
        "jne    4 <octavo::kernel(octavo::Args const&)+0x4>",
        "vmovdqu8 %zmm0,0x40(%rsp)",
        "ret",
    )
    assert (loop.instructions, loop.dots, loop.spills) == (4, 1, 0)
    assert check_disasm.verdict("gemm_s8", loop) == ""


@pytest.mark.parametrize(
    "spill",
    [
        "vmovdqa64 %zmm3,0x40(%rsp)",
        "vmovdqa 0x40(%rsp),%ymm3",
        "vpaddd 0x80(%rsp,%rax,8),%zmm3,%zmm3",
    ],
)
def test_stack_traffic_in_the_loop(spill: str) -> None:
    (loop,) = loops("vpdpbusd %zmm1,%zmm2,%zmm0", spill, "jne    0 <x>")
    assert loop.spills == 1
    assert "memory" in check_disasm.verdict("gemm_s8", loop)


def test_scalar_stack_traffic_is_not_a_spill() -> None:
    (loop,) = loops("vpmaddubsw %ymm1,%ymm2,%ymm0", "mov    0x8(%rsp),%rax", "jne    0 <x>")
    assert loop.spills == 0


def test_vex_encoded_dot_product() -> None:
    (loop,) = loops("{vex} vpdpbusd %ymm1,%ymm2,%ymm0", "vmovdqa %ymm0,0x20(%rsp)", "jne    0 <x>")
    assert (loop.dots, loop.spills) == (1, 1)


@pytest.mark.parametrize(
    ("prologue", "spilled"), [("mov    %rsp,%rbp", 1), ("mov    %rdi,%rbp", 0)]
)
def test_rbp_counts_where_it_holds_the_frame(prologue: str, spilled: int) -> None:
    (loop,) = loops(
        prologue, "vpdpbusd %zmm1,%zmm2,%zmm0", "vmovdqa64 -0x40(%rbp),%zmm3", "jne    4 <x>"
    )
    assert loop.spills == spilled


def test_array_of_accumulators_behind_a_pointer() -> None:
    (loop,) = loops(
        "vmovdqa64 (%rax),%zmm0",
        "vpdpbusd %zmm1,%zmm2,%zmm0",
        "vmovdqa64 %zmm0,(%rax)",
        "jne    0 <x>",
    )
    assert loop.spills == 2


def test_outputs_stored_in_the_loop_are_not_spills() -> None:
    (loop,) = loops(
        "vmovdqu (%rsi),%ymm1",
        "vpmaddwd %ymm1,%ymm2,%ymm0",
        "vmovdqu %ymm0,(%rdi)",
        "jne    0 <x>",
    )
    assert loop.spills == 0


def test_only_innermost_loops_with_dot_products_are_listed() -> None:
    (loop,) = loops(
        "vmovdqa64 0x40(%rsp),%zmm0",  # outer loop: not checked
        "vpdpbusd %zmm1,%zmm2,%zmm0",
        "jne    4 <x>",
        "vmovdqa64 %zmm0,0x40(%rsp)",
        "jne    0 <x>",
        "vpaddd %zmm1,%zmm2,%zmm0",
        "jne    14 <x>",
        "jmp    ffff <elsewhere>",
    )
    assert (loop.instructions, loop.dots, loop.spills) == (2, 1, 0)


def test_peak_loop_needs_independent_accumulators() -> None:
    (loop,) = loops("vpdpbusd %zmm1,%zmm2,%zmm0", "jne    0 <x>")
    assert "1 dot products in flight" in check_disasm.verdict("peak", loop)


def test_gemm_object_without_dot_products_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_disasm.check_family("gemm_s8/avx2", "gemm_s8", []) == 1
    assert check_disasm.check_family("pool_s8/avx2", "pool_s8", []) == 0
    assert "no loop with dot products" in capsys.readouterr().out


def test_short_name() -> None:
    symbol = "void octavo::(anonymous namespace)::tile<4, octavo::Rne>(octavo::Args const&)"
    assert check_disasm.short_name(symbol) == "tile<4, Rne>"


SDOT = "sdot\tv0.4s, v1.16b, v2.16b"
ARM_HEADER = HEADER.replace("octavo::kernel(", "void octavo::(anonymous namespace)::tile<8, 1>(")


def arm_loops(*lines: str) -> list[check_disasm.Loop]:
    body = "\n".join(f"  {4 * i:x}:\t{line}" for i, line in enumerate(lines))
    return check_disasm.loops_of(parse_disassembly(ARM_HEADER + body + "\n"), AARCH64)


@pytest.mark.parametrize(
    "jump",
    ["b.ne\t4 <x+0x4>", "b.gt\t4 <x+0x4>  // b.nfirst", "cbnz\tx2, 4 <x+0x4>", "cbz\tw2, 4 <x+0x4>",
     "tbnz\tw2, #3, 4 <x+0x4>", "tbz\tx2, #63, 4 <x+0x4>", "b\t4 <x+0x4>"],
)  # fmt: skip
def test_arm_loop_by_every_jump(jump: str) -> None:
    (loop,) = arm_loops(
        "movi\tv0.4s, #0x0",
        "ldr\tq1, [x0], #16",
        "sdot\tv0.4s, v1.16b, v2.4b[0]",
        jump,
        "str\tq0, [sp, #16]",
        "ret",
    )
    assert (loop.instructions, loop.dots, loop.spills) == (3, 1, 0)
    assert check_disasm.verdict("gemm_s8", loop) == ""


def test_arm_code_behind_a_failed_stack_check_is_not_reached_from_it() -> None:
    (loop,) = arm_loops(
        "add\tx0, x0, #0x1",
        "cbz\tx1, c <x+0xc>",
        "b.ne\t0 <x>",
        "bl\t40 <__stack_chk_fail>",
        "str\tq0, [sp, #16]",
        "b\t0 <x>",
    )
    assert (loop.instructions, loop.spills) == (3, 0)


@pytest.mark.parametrize(
    "spill",
    [
        "ldr\tq3, [sp, #64]",
        "str\tq3, [sp]",
        "ldp\tq3, q4, [sp, #32]",
        "stp\td8, d9, [sp, #96]",
        "ldr\tx6, [sp, #136]",
        "stur\tq3, [sp, #-16]",
        "ld1\t{v3.16b}, [sp]",
    ],
)
@pytest.mark.parametrize("work", ["smmla\tv0.4s, v1.16b, v2.16b", "uqadd\tv0.16b, v0.16b, v1.16b"])
def test_arm_stack_traffic_in_any_loop(spill: str, work: str) -> None:
    (loop,) = arm_loops(work, spill, "b.ne\t0 <x>")
    assert loop.spills == 1
    assert "FAIL" in check_disasm.verdict("gemm_s8", loop)
    assert check_disasm.check_family("gemm_s8/neoni8mm", "lut_s8", [loop]) == 1


@pytest.mark.parametrize(("prologue", "spilled"), [("mov\tx29, sp", 1), ("mov\tx29, x0", 0)])
def test_arm_frame_pointer(prologue: str, spilled: int) -> None:
    (loop,) = arm_loops(prologue, "ldr\tq3, [x29, #32]", "cbnz\tx1, 4 <x>")
    assert loop.spills == spilled


def test_arm_calls_and_jumps_elsewhere_make_no_loop() -> None:
    assert arm_loops("bl\t0 <x>", "b\tffff <elsewhere>", "blr\tx3", "br\tx4", "ret") == []


@pytest.mark.parametrize(("work", "failures"), [("fadd\tv0.4s, v0.4s, v1.4s", 0), (SDOT, 1)])
def test_arm_loop_with_a_call(work: str, failures: int) -> None:
    found = arm_loops(work, "ldr\tq1, [sp, #32]", "bl\t0 <memcpy>", "b.ne\t0 <x>")
    assert found[0].spills == 1
    assert check_disasm.check_family("x/neon", "x", found) == failures


def test_arm_accumulators_behind_a_pointer() -> None:
    lines = ["ldr\tq0, [x1, #16]", "fmla\tv0.4s, v1.4s, v2.s[3]", "str\tq0, [x1, #16]"]
    (loop,) = arm_loops(*lines, "b.ne\t0 <x>")
    assert (loop.dots, loop.spills) == (1, 2)
    (other,) = arm_loops(*lines[:2], "str\tq0, [x1, #32]", "b.ne\t0 <x>")
    assert other.spills == 0
    (in_place,) = arm_loops(lines[0], lines[2], "b.ne\t0 <x>")
    assert in_place.spills == 0


def test_loop_with_two_jumps_back_and_a_part_behind_the_function() -> None:
    (loop,) = arm_loops(
        "sdot\tv0.4s, v1.16b, v2.16b",  # 0: the head
        "cbz\tx1, 1c <x+0x1c>",
        "b.eq\t0 <x>",  # the short way round
        "str\tq0, [sp, #16]",  # c
        "b.ne\t0 <x>",
        "ret",
        "nop",
        "ldr\tq0, [sp, #16]",  # 1c
        "b\tc <x+0xc>",
    )
    assert (loop.instructions, loop.dots, loop.spills) == (7, 1, 2)


def test_inner_loop_of_a_loop_with_its_condition_at_the_end() -> None:
    (inner,) = arm_loops(
        "b\t10 <x+0x10>",
        "ldr\tq7, [sp]",  # 4: outer loop, not checked
        "fmla\tv0.4s, v1.4s, v2.4s",  # 8
        "cbnz\tw3, 8 <x+0x8>",
        "tbnz\tw4, #0, 4 <x+0x4>",  # 10
        "ret",
    )
    assert (inner.instructions, inner.dots, inner.spills) == (2, 1, 0)

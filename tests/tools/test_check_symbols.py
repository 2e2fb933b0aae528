# SPDX-License-Identifier: Apache-2.0
"""tools/check_symbols.py on objects compiled here with the faults it is there to find."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import check_symbols
from objects import Instruction, Symbol

needs_toolchain = pytest.mark.skipif(
    platform.machine() != "x86_64" or not all(map(shutil.which, ("c++", "nm", "objdump"))),
    reason="NOT RUN: needs an x86-64 C++ compiler and binutils",
)

LEAK = """
template <class T> T smaller(T a, T b) { return a < b ? a : b; }
int leak(int a, int b) { return smaller(a, b); }
"""
HIDDEN = """
namespace { template <class T> T smaller(T a, T b) { return a < b ? a : b; } }
int no_leak(int a, int b) { return smaller(a, b); }
"""
NEW = "int* make() { return new int[4]; }"
WIDE = """
typedef float v8 __attribute__((vector_size(32)));
void add(v8* a, v8* b) { *a += *b; }
"""
WIDER = """
typedef float v16 __attribute__((vector_size(64)));
void add(v16* a, v16* b) { *a += *b; }
"""


ARM_CXX = "aarch64-linux-gnu-g++"
needs_arm_toolchain = pytest.mark.skipif(
    not all(map(shutil.which, (ARM_CXX, "aarch64-linux-gnu-nm", "aarch64-linux-gnu-objdump"))),
    reason="NOT RUN: needs the aarch64 cross compiler and binutils",
)
SDOT = """
#include <arm_neon.h>
int32x4_t f(int32x4_t s, int8x16_t a, int8x16_t b) { return vdotq_s32(s, a, b); }
"""
SMMLA = SDOT.replace("vdotq_s32", "vmmlaq_s32")


def compiled(build: Path, name: str, source: str, *flags: str, cxx: str = "c++") -> Path:
    cc = build / name.removesuffix(".o")
    target = build / "CMakeFiles/octavo_micro.dir/csrc" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    cc.parent.mkdir(parents=True, exist_ok=True)
    cc.write_text(source, encoding="utf-8")
    subprocess.run([cxx, "-O0", "-fPIC", *flags, "-c", str(cc), "-o", str(target)], check=True)
    return target


@needs_toolchain
@pytest.mark.parametrize(
    ("name", "source", "flags", "problem"),
    [
        ("kernels/x/avx2.cc.o", LEAK, ["-mavx2"], "weak symbol"),
        ("kernels/x/scalar.cc.o", NEW, [], "needs libstdc++"),
        ("kernels/x/scalar.cc.o", WIDE, ["-mavx2"], "AVX instruction"),
        ("kernels/x/select.cc.o", WIDE, ["-mavx2"], "AVX instruction"),
        ("base/crc32.cc.o", WIDER, ["-mavx512f"], "AVX instruction"),
        ("kernels/x/avx2_wide.cc.o", WIDER, ["-mavx512f"], "AVX-512 instruction"),
    ],
)
def test_fault_is_found(
    tmp_path: Path, name: str, source: str, flags: list[str], problem: str
) -> None:
    problems = check_symbols.check_object(compiled(tmp_path, name, source, *flags))
    assert problems
    assert all(problem in p for p in problems)


@needs_toolchain
@pytest.mark.parametrize(
    ("name", "source", "flags"),
    [
        ("kernels/x/avx2.cc.o", HIDDEN, ["-mavx2"]),
        ("kernels/x/avx2.cc.o", WIDE, ["-mavx2"]),
        ("kernels/x/avx512vnni.cc.o", WIDER, ["-mavx512f"]),
        ("kernels/x/pack.cc.o", LEAK + NEW, []),  # baseline code may use the library
        ("base/avx2.cc.o", LEAK, []),  # ISA names mean something in kernels/ only
    ],
)
def test_sound_object(tmp_path: Path, name: str, source: str, flags: list[str]) -> None:
    assert check_symbols.check_object(compiled(tmp_path, name, source, *flags)) == []


@needs_arm_toolchain
@pytest.mark.parametrize(
    ("name", "source", "problem"),
    [
        ("kernels/x/neon.cc.o", SDOT, "dotprod instruction"),
        ("kernels/x/neon_wide.cc.o", SMMLA, "i8mm instruction"),
        ("kernels/x/neondot.cc.o", SDOT, ""),
        ("kernels/x/neondot.cc.o", SMMLA, "i8mm instruction"),
        ("kernels/x/neoni8mm.cc.o", SMMLA, ""),
        ("kernels/x/neoni8mm.cc.o", LEAK + SMMLA, "weak symbol"),
        ("kernels/x/neon.cc.o", NEW, "needs libstdc++"),
        ("kernels/x/pack.cc.o", SDOT, "dotprod instruction"),
    ],
)
def test_arm_objects(tmp_path: Path, name: str, source: str, problem: str) -> None:
    target = compiled(
        tmp_path, name, source, "-march=armv8.2-a+dotprod+i8mm", "-flax-vector-conversions",
        cxx=ARM_CXX,
    )  # fmt: skip
    problems = check_symbols.check_object(target)
    assert bool(problems) == bool(problem)
    assert all(problem in p for p in problems)


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("memcpy", True),
        ("__memcpy_chk", True),
        ("__stack_chk_fail", True),
        ("_GLOBAL_OFFSET_TABLE_", True),
        ("_ZN6octavo15select_gemm_s8E", True),
        ("_Znwm", False),
        ("_ZdlPvm", False),
        ("_ZNSt6vectorIiE9push_backEv", False),
        ("_ZNKSt9exception4whatEv", False),
        ("_ZSt17__throw_bad_allocv", False),
        ("_ZTVN10__cxxabiv117__class_type_infoE", False),
        ("__cxa_throw", False),
        ("__gxx_personality_v0", False),
    ],
)
def test_undefined_symbols(name: str, fine: bool) -> None:
    assert (check_symbols.symbol_problems([Symbol("U", name)]) == []) == fine
    assert check_symbols.symbol_problems([Symbol("T", name)]) == []


@pytest.mark.parametrize(
    ("isa", "text", "fine"),
    [
        (None, "movaps %xmm0,%xmm1", True),
        (None, "verw 0x8(%rsp)", True),
        (None, "vmovaps %xmm0,%xmm1", False),
        (None, "vzeroupper", False),
        (None, "kmovq %rax,%k1", False),
        ("scalar", "vaddss %xmm0,%xmm1,%xmm2", False),
        ("avx2", "vpmaddubsw (%rax),%ymm1,%ymm2", True),
        ("avx2", "vpaddd %ymm16,%ymm1,%ymm2", False),
        ("avx2", "{vex} vpdpbusd %ymm1,%ymm2,%ymm3", False),
        ("avx2", "vpaddd (%rax){1to8},%ymm1,%ymm2", False),
        ("avxvnni", "{vex} vpdpbusd %ymm1,%ymm2,%ymm3", True),
        ("avxvnni", "vpdpbusd %zmm1,%zmm2,%zmm3", False),
        ("avx512vnni", "vpdpbusd %zmm1,%zmm2,%zmm3", True),
        (None, "sdot\tv0.4s, v1.16b, v2.16b", False),
        ("scalar", "smmla\tv0.4s, v1.16b, v2.16b", False),
        ("neon", "smlal\tv0.8h, v1.8b, v2.8b", True),
        ("neon", "sdot\tv0.4s, v1.16b, v2.16b", False),
        ("neon", "udot\tv0.2s, v1.8b, v2.4b[1]", False),
        ("neon", "smmla\tv0.4s, v1.16b, v2.16b", False),
        ("neondot", "sdot\tv0.4s, v1.16b, v2.4b[3]", True),
        ("neondot", "smmla\tv0.4s, v1.16b, v2.16b", False),
        ("neondot", "usdot\tv0.4s, v1.16b, v2.16b", False),
        ("neoni8mm", "smmla\tv0.4s, v1.16b, v2.16b", True),
    ],
)
def test_instructions(isa: str | None, text: str, fine: bool) -> None:
    problems = check_symbols.instruction_problems(isa, [("f", [Instruction(0, text)])])
    assert (problems == []) == fine


def test_exports() -> None:
    table = [Symbol("T", name) for name in ("PyInit__core", "octavo_load", "_ZNSt6vectorE", "foo")]
    assert check_symbols.export_problems(table) == ["exports _ZNSt6vectorE", "exports foo"]


def test_missing_build_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no object files"):
        check_symbols.main([str(tmp_path)])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a micro-kernel keeps accumulators in memory instead of registers.

    python tools/check_disasm.py build/release

GCC silently leaves arrays of accumulators on the stack (31-52 % of peak instead of ~97 %, at any -O
level). So in the avx2, avxvnni and avx512vnni objects every innermost loop that contains a
dot-product or fused multiply-add instruction must be free of ymm/zmm accesses to the stack, and of
vectors loaded from and stored to the same address (an array reached through a pointer). Prints one
row per loop.

The peak measurement has the opposite trap: equal accumulators are merged into one, and the loop
measures latency. Its loops need enough independent dot products.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from objects import Instruction, build_objects, disassemble, isa_of

CHECKED_ISAS = ("avx2", "avxvnni", "avx512vnni")
# Families that are nothing but dot products: finding none would mean this check went blind.
MUST_HAVE_DOTS = ("dwconv_f32", "gemm_f32", "gemm_s8", "peak", "winograd_s8")
# Two ports times a latency of 4-5 cycles: fewer dot products in flight cannot reach the peak.
MIN_DOTS = {"peak": 10}

DOT = re.compile(
    r"^(?:\{vex\}\s+)?(?:vpdpbusds?|vpdpwssds?|vpmaddubsw|vpmaddwd|vfmadd(?:132|213|231)ps)\s"
)
JUMP = re.compile(r"^(?:notrack\s+)?j[a-z]+\s+(?:0x)?(?P<target>[0-9a-f]+)\b")
WIDE = re.compile(r"%[yz]mm\d")
WIDE_STORE = re.compile(r"^v\w+\s+%[yz]mm\d+,(?P<address>[^,%]*\(.*\))(?:\{%k\d\})?$")
SAVES_FRAME = re.compile(r"^mov\s+%rsp,%rbp$|^lea\s+.*\(%rsp\),%rbp$")


@dataclass(frozen=True)
class Loop:
    """An innermost loop with dot products in it."""

    symbol: str
    instructions: int
    dots: int
    spills: int


def innermost_loops(body: list[Instruction]) -> list[list[Instruction]]:
    """Bodies of the loops (a jump back, its target included) that contain no other loop."""
    start = body[0].address
    spans = set()
    for instruction in body:
        jump = JUMP.match(instruction.text)
        if jump and start <= int(jump["target"], 16) <= instruction.address:
            spans.add((int(jump["target"], 16), instruction.address))
    loops = []
    for first, last in sorted(spans):
        if not any((a, b) != (first, last) and first <= a and b <= last for a, b in spans):
            loops.append([i for i in body if first <= i.address <= last])
    return loops


def stack_operand(body: list[Instruction]) -> re.Pattern[str]:
    """Memory operands on the stack. %rbp counts only where it holds the frame, since -O3 otherwise
    uses it as an ordinary pointer."""
    frame = any(SAVES_FRAME.match(i.text) for i in body)
    return re.compile(r"\(%(?:rsp|rbp)\b" if frame else r"\(%rsp\b")


def spills(loop: list[Instruction], stack: re.Pattern[str]) -> int:
    """Wide instructions on the stack, or on an address that the loop both reads and writes."""
    stores = [match["address"] for i in loop if (match := WIDE_STORE.match(i.text))]
    rewritten = {a for a in stores if any(f"{a}," in i.text for i in loop if WIDE.search(i.text))}
    return sum(
        1
        for i in loop
        if WIDE.search(i.text) and (stack.search(i.text) or any(a in i.text for a in rewritten))
    )


def dot_loops(symbol: str, body: list[Instruction]) -> list[Loop]:
    stack = stack_operand(body)
    loops = []
    for loop in innermost_loops(body):
        dots = sum(1 for i in loop if DOT.match(i.text))
        if dots:
            loops.append(Loop(symbol, len(loop), dots, spills(loop, stack)))
    return loops


def loops_of(functions: Iterable[tuple[str, list[Instruction]]]) -> list[Loop]:
    return [loop for symbol, body in functions for loop in dot_loops(symbol, body)]


def short_name(symbol: str) -> str:
    """The name without namespaces, result type and parameters.

    >>> short_name("void octavo::(anonymous namespace)::tile<4, octavo::Rne>(octavo::Args const&)")
    'tile<4, Rne>'
    """
    name = symbol.replace("(anonymous namespace)::", "").replace("octavo::", "")
    return name.split("(", 1)[0].removeprefix("void ")


def verdict(family: str, loop: Loop) -> str:
    """Empty when the loop is as it should be."""
    if loop.spills:
        return "FAIL: vectors in memory"
    if loop.dots < MIN_DOTS.get(family, 1):
        return f"FAIL: {loop.dots} dot products in flight"
    return ""


def check_family(label: str, family: str, loops: list[Loop]) -> int:
    """Prints the rows of one object; returns how many failed."""
    failures = 0
    for loop in loops:
        problem = verdict(family, loop)
        row = f"{label:<24} {short_name(loop.symbol):<52} {loop.instructions:>6}"
        print(f"{row} {loop.dots:>5} {loop.spills:>6}  {problem}".rstrip())
        failures += bool(problem)
    if not loops and family in MUST_HAVE_DOTS:
        print(f"{label:<24} FAIL: no loop with dot products found")
        failures += 1
    return failures


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise SystemExit("usage: check_disasm.py build/<preset>")
    failures = 0
    print(f"{'object':<24} {'symbol':<52} {'instr':>6} {'dots':>5} {'spills':>6}")
    for path in build_objects(Path(arguments[0])):
        if isa_of(path) in CHECKED_ISAS:
            family = path.parent.name
            label = f"{family}/{path.name.removesuffix('.cc.o')}"
            failures += check_family(label, family, loops_of(disassemble(path)))
    print(f"check_disasm: {failures} problems")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

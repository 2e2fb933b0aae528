#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a micro-kernel keeps values in memory that belong in registers.

    python tools/check_disasm.py build/release        # or a cross build for aarch64

GCC silently leaves arrays of accumulators on the stack (31-52 % of peak instead of ~97 %, at any -O
level). On x86, in the avx2, avxvnni and avx512vnni objects, every innermost loop that contains a
dot-product or fused multiply-add instruction must be free of ymm/zmm accesses to the stack. On Arm
every innermost loop of the neon, neondot and neoni8mm objects must be free of loads and stores of 8
or 16 bytes on the stack, addresses included. Loops with products must not load vectors from and
store them to the same address either (an array reached through a pointer). A loop that calls a
function may keep values on the stack: they have no other place. Prints one row per loop with
products, faults or stack accesses, and a count per Arm file.

The peak measurement has the opposite trap: equal accumulators are merged into one, and the loop
measures latency. Its loops need enough independent dot products.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import loops
from objects import AARCH64, X86_64, Instruction, build_objects, disassemble, isa_of, machine_of

CHECKED_ISAS = ("avx2", "avxvnni", "avx512vnni", "neon", "neondot", "neoni8mm")
# Families that are nothing but dot products: finding none would mean this check went blind.
MUST_HAVE_DOTS = ("dwconv_f32", "gemm_f32", "gemm_s8", "peak", "winograd_s8")
# Two ports times a latency of 4-5 cycles: fewer dot products in flight cannot reach the peak.
MIN_DOTS = {"peak": 10}


@dataclass(frozen=True)
class Rules:
    """How one architecture's instructions read, and what counts as a fault there."""

    syntax: loops.Syntax
    dot: re.Pattern[str]
    wide: re.Pattern[str]  # accesses to the stack and to rewritten addresses that are faults
    store: re.Pattern[str]  # a wide store; group `address`
    load: re.Pattern[str]
    stack: re.Pattern[str]  # memory operands on the stack
    frame: re.Pattern[str]  # the same where the frame pointer holds the frame
    saves_frame: re.Pattern[str]
    call: re.Pattern[str]
    every_loop: bool  # loops without dot products are checked as well


RULES = {
    X86_64: Rules(
        loops.X86,
        dot=re.compile(
            r"^(?:\{vex\}\s+)?(?:vpdpbusds?|vpdpwssds?|vpmaddubsw|vpmaddwd|vfmadd(?:132|213|231)ps)\s"
        ),
        wide=re.compile(r"%[yz]mm\d"),
        store=re.compile(r"^v\w+\s+%[yz]mm\d+,(?P<address>[^,%]*\(.*\))(?:\{%k\d\})?$"),
        load=re.compile(r"\),"),
        stack=re.compile(r"\(%rsp\b"),
        frame=re.compile(r"\(%(?:rsp|rbp)\b"),
        saves_frame=re.compile(r"^mov\s+%rsp,%rbp$|^lea\s+.*\(%rsp\),%rbp$"),
        call=re.compile(r"^call\b"),
        every_loop=False,
    ),
    AARCH64: Rules(
        loops.AARCH64,
        dot=re.compile(
            r"^(?:[us]|us|su)dot\s|^(?:[us]|us)mmla\s|^[us]ml[as]?l2?\s+v\d+\.[248]|^fml[as]\s+v"
            r"|^mla\s+v|^[us]mull2?\s+v"
        ),
        wide=re.compile(r"^(?:ld|st)(?:n?p|u?r|1)\s+\{?\s*[qdxv]\d"),
        store=re.compile(r"^st(?:n?p|u?r)\s+[qd]\d.*?(?P<address>\[[^\]]*\])$"),
        load=re.compile(r"^ld"),
        stack=re.compile(r"\[sp\b"),
        frame=re.compile(r"\[(?:sp|x29)\b"),
        saves_frame=re.compile(r"^mov\s+x29, sp$|^add\s+x29, sp, "),
        call=re.compile(r"^blr?\s"),
        every_loop=True,
    ),
}


@dataclass(frozen=True)
class Loop:
    """An innermost loop; `spills` counts accesses to the stack and to rewritten addresses."""

    symbol: str
    instructions: int
    dots: int
    spills: int
    calls: bool = False  # memcpy for the last bytes of a row, say


def spills(loop: list[Instruction], stack: re.Pattern[str], rules: Rules, dots: int) -> int:
    """Wide instructions on the stack or, among products, on an address both read and written."""
    stores = [match["address"] for i in loop if (match := rules.store.match(i.text))]
    wide = [i.text for i in loop if rules.wide.search(i.text)]
    loads = [text for text in wide if rules.load.search(text)]
    rewritten = {a for a in stores if dots and any(a in text for text in loads)}
    return sum(1 for text in wide if stack.search(text) or any(a in text for a in rewritten))


def checked_loops(symbol: str, body: list[Instruction], rules: Rules) -> list[Loop]:
    frame = any(rules.saves_frame.match(i.text) for i in body)
    stack = rules.frame if frame else rules.stack
    found = []
    for loop in loops.innermost_loops(body, rules.syntax):
        dots = sum(1 for i in loop if rules.dot.match(i.text))
        if dots or rules.every_loop:
            calls = any(rules.call.match(i.text) for i in loop)
            found.append(Loop(symbol, len(loop), dots, spills(loop, stack, rules, dots), calls))
    return found


def loops_of(
    functions: Iterable[tuple[str, list[Instruction]]], machine: str = X86_64
) -> list[Loop]:
    rules = RULES[machine]
    return [loop for symbol, body in functions for loop in checked_loops(symbol, body, rules)]


def short_name(symbol: str) -> str:
    """The name without namespaces, result type and parameters.

    >>> short_name("void octavo::(anonymous namespace)::tile<4, octavo::Rne>(octavo::Args const&)")
    'tile<4, Rne>'
    """
    name = symbol.replace("(anonymous namespace)::", "").replace("octavo::", "")
    return name.split("(", 1)[0].removeprefix("void ")


def verdict(family: str, loop: Loop) -> str:
    """Empty when the loop is as it should be."""
    if loop.spills and loop.dots:
        return "FAIL: vectors in memory"
    if loop.spills:
        return "calls a function" if loop.calls else "FAIL: stack accesses"
    if 0 < loop.dots < MIN_DOTS.get(family, 1):
        return f"FAIL: {loop.dots} dot products in flight"
    return ""


def check_family(label: str, family: str, found: list[Loop]) -> int:
    """Prints the rows of one object; returns how many failed."""
    failures = 0
    for loop in found:
        problem = verdict(family, loop)
        if loop.dots or problem:
            row = f"{label:<24} {short_name(loop.symbol):<52} {loop.instructions:>6}"
            print(f"{row} {loop.dots:>5} {loop.spills:>6}  {problem}".rstrip())
        failures += problem.startswith("FAIL")
    if not any(loop.dots for loop in found) and family in MUST_HAVE_DOTS:
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
            family, machine = path.parent.name, machine_of(path)
            label = f"{family}/{path.name.removesuffix('.cc.o')}"
            found = loops_of(disassemble(path), machine)
            failures += check_family(label, family, found)
            if RULES[machine].every_loop:
                spilled = sum(loop.spills for loop in found)
                print(f"{label:<24} {len(found)} inner loops, {spilled} spills")
    print(f"check_disasm: {failures} problems")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

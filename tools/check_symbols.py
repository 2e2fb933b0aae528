#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Proves on the object files of a build that no instruction set leaks out of its own files.

    python tools/check_symbols.py build/release

The danger: an inline function compiled with -mavx512* is a weak symbol, the linker keeps one copy
for the whole library, and an old CPU faults in code that looks portable. So:
  * objects of ISA-named files define no weak symbols and need nothing of libstdc++;
  * every other object, and scalar, contains baseline instructions only; a lower ISA's object
    contains nothing of a higher one;
  * the extension exports PyInit__core and octavo_* alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from objects import Instruction, Symbol, build_objects, disassemble, isa_of, symbols

WEAK_KINDS = frozenset("VvWwu")
# Mangled names of namespace std, operator new/delete and the C++ ABI's run-time support.
LIBSTDCXX = re.compile(
    r"^_ZN?K?S[^_]?|^_ZT[VIS]N?(?:S|10__cxxabiv1)|^_Z(?:nw|na|dl|da)|^__cxa_|^__gxx_|^_Unwind_"
)
EXPORTS = re.compile(r"^(?:PyInit__core|octavo_\w+)$")

# VEX or EVEX: a v-mnemonic on vector or mask registers (verr, verw, vmcall have none).
VEX = re.compile(r"^v\w+\s.*%(?:[xyz]mm|k[0-7])|^k[a-z]+[bwdq]\s.*%k[0-7]|^vzero(?:upper|all)\b")
EVEX = re.compile(r"%zmm|%[xy]mm(?:1[6-9]|2\d|3[01])\b|%k[0-7]|\{(?:1to\d+|z|sae|r[nduz]-sae)\}")
VNNI_VEX = re.compile(r"^(?:\{vex\}\s+)?vpdp(?:bus|wss)ds?\s")
DOT_ARM = re.compile(r"^[us]dot\s|^usdot\s|^sudot\s")
I8MM_ARM = re.compile(r"^(?:[us]|us)mmla\s|^usdot\s|^sudot\s")

# What an object of each ISA must not contain; None is baseline code.
FORBIDDEN: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {
    None: [("AVX", VEX), ("dotprod", DOT_ARM), ("i8mm", I8MM_ARM)],
    "scalar": [("AVX", VEX), ("dotprod", DOT_ARM), ("i8mm", I8MM_ARM)],
    "avx2": [("AVX-512", EVEX), ("VNNI", VNNI_VEX)],
    "avxvnni": [("AVX-512", EVEX)],
    "avx512vnni": [],
    "neon": [("dotprod", DOT_ARM), ("i8mm", I8MM_ARM)],
    "neondot": [("i8mm", I8MM_ARM)],
    "neoni8mm": [],
}


def symbol_problems(table: Iterable[Symbol]) -> list[str]:
    """Weak symbols, and undefined ones of libstdc++, in an object of an ISA-named file."""
    problems = []
    for symbol in table:
        if symbol.kind in WEAK_KINDS:
            problems.append(f"weak symbol {symbol.name}")
        elif symbol.kind == "U" and LIBSTDCXX.match(symbol.name):
            problems.append(f"needs libstdc++: {symbol.name}")
    return problems


def instruction_problems(
    isa: str | None, functions: Iterable[tuple[str, list[Instruction]]]
) -> list[str]:
    """The first forbidden instruction of each kind in each function."""
    problems = []
    for name, body in functions:
        for label, pattern in FORBIDDEN[isa]:
            hit = next((i for i in body if pattern.search(i.text)), None)
            if hit:
                problems.append(f"{label} instruction `{hit.text}` in {name}")
    return problems


def check_object(path: Path) -> list[str]:
    isa = isa_of(path)
    problems = symbol_problems(symbols(path)) if isa else []
    return problems + instruction_problems(isa, disassemble(path))


def export_problems(table: Iterable[Symbol]) -> list[str]:
    return [f"exports {s.name}" for s in table if not EXPORTS.match(s.name.split("@")[0])]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise SystemExit("usage: check_symbols.py build/<preset>")
    build = Path(arguments[0])
    objects = build_objects(build)
    found = {str(path.relative_to(build)): check_object(path) for path in objects}
    libraries = sorted(build.glob("_core.*.so"))
    if not libraries:
        raise SystemExit(f"{build}: no _core extension; build it first (tools/build_dev.sh)")
    for library in libraries:
        found[library.name] = export_problems(symbols(library, "-D", "--defined-only"))
    count = 0
    for name, problems in found.items():
        for problem in problems:
            print(f"{name}: {problem}")
        count += len(problems)
    micro = sum(1 for path in objects if isa_of(path))
    print(f"check_symbols: {len(objects)} objects, {micro} of ISA-named files, {count} problems")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

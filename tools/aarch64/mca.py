#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Inner loops of the Arm kernels by llvm-mca: cycles per iteration, products per cycle.

    python tools/aarch64/mca.py build/aarch64 [--json | --markdown] [--all]

Needs no Arm machine, only a (cross) build and llvm-mca 19. It assumes that every load hits the L1
cache, that no branch is mispredicted and that all blocks of a loop run in every iteration; cycles
are those of 200 iterations, divided by 200. Without --all, of each function only the loop with most
products per iteration (or most bytes, where there are none) is listed, and the one for a single
row, which uses each weight once.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loop_counts import KernelLoop, kernel_loops
from loops import AARCH64 as SYNTAX
from objects import Instruction

ITERATIONS = 200
#: Multiply-accumulates per cycle of one core when nothing but the instruction itself counts, by
#: LLVM 19's scheduling models (llvm-mca on 20 independent ones). smull and smlal do 8 (on
#: int16, smlal16, 4), sdot 16, smmla 32, fmla 4, of which LLVM grants Cortex-A55 two per cycle.
#: Cortex-A72 is LLVM's A57.
LIMITS: dict[str, dict[str, int]] = {
    "cortex-a72": {"smlal": 8, "smlal16": 4, "fmla": 4},
    "cortex-a55": {"smlal": 8, "smlal16": 4, "sdot": 16, "fmla": 8},
    "neoverse-n1": {"smlal": 8, "smlal16": 4, "sdot": 32, "fmla": 8},
    "neoverse-v1": {"smlal": 16, "smlal16": 8, "sdot": 64, "smmla": 128, "fmla": 16},
}
SHORT = {"cortex-a72": "A72", "cortex-a55": "A55", "neoverse-n1": "N1", "neoverse-v1": "V1"}


@dataclass(frozen=True)
class Analysis:
    """A loop and its cycles per iteration by CPU; None where the CPU lacks its instructions."""

    loop: KernelLoop
    cycles: dict[str, float | None]

    def rate(self, cpu: str) -> float | None:
        """Multiply-accumulates per cycle."""
        cycles = self.cycles[cpu]
        return self.loop.macs / cycles if cycles and self.loop.macs else None

    def share(self, cpu: str) -> float | None:
        """Of the CPU's limit for the instruction that does the products."""
        rate, limit = self.rate(cpu), LIMITS.get(cpu, {}).get(self.loop.kind)
        return rate / limit if rate and limit else None


def find_mca() -> str:
    for name in ("llvm-mca-19", "llvm-mca"):
        if path := shutil.which(name):
            return path
    raise SystemExit("NOT RUN: llvm-mca not found (Debian package llvm-19)")


def assembly(body: Iterable[Instruction]) -> str:
    """A loop as llvm-mca reads it: no addresses, one label for all jumps."""
    lines = []
    for instruction in body:
        text = re.sub(r"\s*(?://|<).*$", "", instruction.text)
        if jump := SYNTAX.jump.match(instruction.text):
            text = instruction.text[: jump.start("target")] + "0"
        lines.append(text.replace("\t", " "))
    return "\n".join(lines)


def has_cpu(isa: str, cpu: str) -> bool:
    """Can `cpu` run this ISA's row at all?"""
    has = {"cortex-a53": 1, "cortex-a72": 1, "cortex-a55": 2, "neoverse-n1": 2}
    needs = {"neon": 1, "neondot": 2, "neoni8mm": 3}
    return needs[isa] <= has.get(cpu, 3)


def run_mca(cpu: str, bodies: Sequence[str]) -> list[float]:
    """Cycles per iteration of each body. Raises SystemExit when llvm-mca refuses one."""
    mark = "# LLVM-MCA-"
    regions = [f"{mark}BEGIN r{i}\n{body}\n{mark}END r{i}\n" for i, body in enumerate(bodies)]
    options = ["-mtriple=aarch64", f"-mcpu={cpu}", "-mattr=+aes,+crc"]
    options += [f"-iterations={ITERATIONS}", "--json"]
    done = subprocess.run(
        [find_mca(), *options], input="".join(regions), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"llvm-mca -mcpu={cpu}: {done.stderr.strip()[:2000]}")
    found = {r["Name"]: r["SummaryView"] for r in json.loads(done.stdout)["CodeRegions"]}
    return [
        found[f"r{i}"]["TotalCycles"] / found[f"r{i}"]["Iterations"] for i in range(len(bodies))
    ]


def analyze(loops: Sequence[KernelLoop], cpus: Iterable[str]) -> list[Analysis]:
    cycles: list[dict[str, float | None]] = [{} for _ in loops]
    for cpu in cpus:
        able = [i for i, loop in enumerate(loops) if has_cpu(loop.isa, cpu)]
        times = run_mca(cpu, [assembly(loops[i].body) for i in able]) if able else []
        for row in cycles:
            row[cpu] = None
        for i, time in zip(able, times, strict=True):
            cycles[i][cpu] = time
    return [Analysis(loop, row) for loop, row in zip(loops, cycles, strict=True)]


def _weight(loop: KernelLoop) -> tuple[int, bool, int]:
    return loop.macs, not loop.branches, loop.loaded + loop.stored


def main_loops(loops: Sequence[KernelLoop]) -> list[KernelLoop]:
    """Of each function the loop with most products, or most bytes; single rows apart."""
    best: dict[tuple[str, str, bool], KernelLoop] = {}
    for loop in loops:
        key = (loop.path, loop.symbol, loop.single_row)
        if key not in best or _weight(loop) > _weight(best[key]):
            best[key] = loop
    return list(best.values())


def title(loop: KernelLoop) -> str:
    """The function without its rounding policy; a lambda by the function around it."""
    name = re.sub(r",? ?FloatRneNeon(, )?", "", loop.symbol)
    name = name.removesuffix("<>")
    return name if name.count("<") == name.count(">") else name.rpartition("<")[2]


def cells(row: Analysis) -> list[str]:
    loop = row.loop
    macs = f"{loop.macs}" if loop.macs else "–"
    per_mac = f"{len(loop.body) / loop.macs:.3f}" if loop.macs else "–"
    branches = f" (+{loop.branches} jumps)" if loop.branches else ""
    head = [loop.path, f"{title(loop)} @{loop.body[0].address:x}{branches}", str(len(loop.body))]
    head += [macs, per_mac, f"{loop.loaded} · {loop.stored}"]
    for cpu in LIMITS:
        cycles, rate, share = row.cycles[cpu], row.rate(cpu), row.share(cpu)
        text = "–" if cycles is None else f"{cycles:.1f}"
        if rate is not None:
            text += f" · {rate:.1f}"
        if share is not None:
            text += f" ({100 * share:.0f} %)"
        head.append(text)
    return [*head, str(loop.spills)]


HEADER = [
    "kernel", "loop", "instr", "MAC", "instr/MAC", "bytes in · out",
    *(f"{SHORT[cpu]} cycles · MAC/cycle" for cpu in LIMITS), "stack",
]  # fmt: skip


def text_table(rows: Sequence[Analysis]) -> str:
    table = [HEADER, *map(cells, rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADER))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in table
    )


def markdown_table(rows: Sequence[Analysis]) -> str:
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for row in rows:
        line = cells(row)
        line[1] = f"`{line[1].split(' @')[0]}`"
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def summary(loops: Sequence[KernelLoop]) -> str:
    spills = sum(loop.spills for loop in loops if not loop.calls)
    calls = sum(loop.calls for loop in loops)
    text = f"{len(loops)} inner loops in all, {spills} accesses to the stack in them"
    return f"{text}; {calls} with calls left out." if calls else f"{text}."


def as_dict(row: Analysis) -> dict[str, object]:
    loop = row.loop
    return {
        "kernel": loop.path, "symbol": loop.symbol, "address": loop.body[0].address,
        "instructions": len(loop.body), "macs": loop.macs, "by": loop.kind, "loaded": loop.loaded,
        "stored": loop.stored, "branches": loop.branches, "spills": loop.spills,
        "cycles": row.cycles, "share": {cpu: row.share(cpu) for cpu in LIMITS},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--all", action="store_true", help="every inner loop, tails included")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    loops = kernel_loops(args.build)
    rows = analyze(loops if args.all else main_loops(loops), LIMITS)
    if args.json:
        print(json.dumps([as_dict(row) for row in rows], indent=1))
    else:
        print(markdown_table(rows) if args.markdown else text_table(rows))
        if not args.markdown:
            print(summary(loops))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints RUN or NOT RUN for each ISA row, from the JUnit files of kernel test runs.

    python tools/isa_coverage.py native.xml [--emulated emulated.xml]

Every kernel listed in csrc/kernels/*/kernels.inc whose ISA this build and this machine have must
have passed at least one test that carries its name; with an emulated run, so must the avxvnni and
avx512vnni kernels there. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from octavo import _core

ISAS = tuple(row["name"] for row in _core.isa_list())
# gemm_s8_4x16c4_avx2 in `test_corners[gemm_s8_4x16c4_avx2-guard_after]`
KERNEL = re.compile(rf"[a-z]\w*?_(?P<isa>{'|'.join(ISAS)})(?![a-z0-9])")


LISTED = re.compile(r"^OCTAVO_\w+\(k\w+, (?P<name>\w+)", re.MULTILINE)
# What an emulated run makes up for where the CPU lacks it.
EMULATED = ("avxvnni", "avx512vnni")
# Measures the machine, computes nothing.
NOT_ARITHMETIC = ("peak",)


def listed_families(root: Path) -> dict[str, dict[str, str]]:
    """Family -> kernel name -> ISA, from the lists that the build itself includes."""
    families: dict[str, dict[str, str]] = {}
    for path in sorted((root / "csrc/kernels").glob("*/kernels.inc")):
        family = path.parent.name
        if family in NOT_ARITHMETIC:
            continue
        families[family] = {}
        for line in LISTED.finditer(path.read_text(encoding="utf-8")):
            # Families with one set of kernels per ISA list the ISA alone.
            name = f"{family}_{line['name']}" if line["name"] in ISAS else line["name"]
            families[family][name] = name.rpartition("_")[2]
    return families


def listed_kernels(root: Path) -> dict[str, set[str]]:
    """Kernel names by ISA."""
    kernels: dict[str, set[str]] = {isa: set() for isa in ISAS}
    for family in listed_families(root).values():
        for name, isa in family.items():
            kernels[isa].add(name)
    return kernels


def passed_tests(path: Path) -> Counter[str]:
    """Number of passed tests by the kernel that their parameters name."""
    passed: Counter[str] = Counter()
    for case in ET.parse(path).iter("testcase"):
        _, bracket, parameters = case.get("name", "").partition("[")
        kernel = KERNEL.search(parameters) if bracket else None
        if kernel and not any(child.tag in {"skipped", "failure", "error"} for child in case):
            passed[kernel[0]] += 1
    return passed


def describe(kernels: set[str], passed: Counter[str]) -> tuple[bool, str]:
    """(covered, text)."""
    missing = sorted(kernel for kernel in kernels if not passed[kernel])
    if missing:
        return False, f"NOT RUN: {', '.join(missing)}"
    if not kernels:
        return True, "NOT RUN: no kernels of this row exist"
    return True, f"RUN: {len(kernels)} kernels, {sum(passed[k] for k in kernels)} tests"


def report(
    kernels: dict[str, set[str]],
    rows: list[dict[str, object]],
    native: Counter[str],
    emulated: Counter[str] | None,
) -> int:
    """Prints one line per ISA row; returns the number of rows that should have run and did not."""
    failures = 0
    for row in rows:
        isa = str(row["name"])
        covered = True
        if not row["built"]:
            text = "NOT RUN: not in this build"
        elif row["supported"]:
            covered, text = describe(kernels[isa], native)
        elif emulated is not None and isa in EMULATED:
            covered, text = describe(kernels[isa], emulated)
            text += " (emulated: this CPU lacks it)"
        else:
            text = "NOT RUN: this CPU lacks it"
        failures += not covered
        print(f"{isa:<12} {text}{'' if covered else '  FAIL'}")
    return failures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("native", type=Path)
    parser.add_argument("--emulated", type=Path)
    options = parser.parse_args(arguments)
    kernels = listed_kernels(Path(__file__).resolve().parent.parent)
    emulated = passed_tests(options.emulated) if options.emulated else None
    failures = report(kernels, _core.isa_list(), passed_tests(options.native), emulated)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints RUN or NOT RUN for each ISA row, from the JUnit files of kernel test runs.

    python tools/isa_coverage.py native.xml [--emulated emulated.xml]

Exits with 1 when a row that this build and this machine have was not covered natively, or when an
emulated run was given and did not cover AVX-512. Covered: at least one test whose name contains a
kernel of the row passed, and each kernel that appears in a test's name passed at least one.
"""

from __future__ import annotations

import argparse
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from octavo import _core

ISAS = tuple(row["name"] for row in _core.isa_list())
# gemm_s8_4x16c4_avx2 in `test_corners[gemm_s8_4x16c4_avx2-guard_after]`
KERNEL = re.compile(rf"[a-z]\w*?_(?P<isa>{'|'.join(ISAS)})(?![a-z0-9])")


@dataclass
class Coverage:
    """Passed tests by kernel, and every kernel that was collected."""

    passed: Counter[str] = field(default_factory=Counter)
    kernels: dict[str, set[str]] = field(default_factory=lambda: {isa: set() for isa in ISAS})

    def missing(self, isa: str) -> list[str]:
        return sorted(k for k in self.kernels[isa] if not self.passed[k])

    def count(self, isa: str) -> int:
        return sum(self.passed[k] for k in self.kernels[isa])


def read(path: Path) -> Coverage:
    coverage = Coverage()
    for case in ET.parse(path).iter("testcase"):
        _, bracket, parameters = case.get("name", "").partition("[")
        kernel = KERNEL.search(parameters) if bracket else None
        if kernel is None:
            continue
        coverage.kernels[kernel["isa"]].add(kernel[0])
        if not any(child.tag in {"skipped", "failure", "error"} for child in case):
            coverage.passed[kernel[0]] += 1
    return coverage


def describe(coverage: Coverage, isa: str) -> tuple[bool, str]:
    """(covered, text)."""
    missing = coverage.missing(isa)
    if not coverage.count(isa):
        return False, "NOT RUN: no kernel test of this row passed"
    if missing:
        return False, f"NOT RUN: {', '.join(missing)}"
    return True, f"RUN: {len(coverage.kernels[isa])} kernels, {coverage.count(isa)} tests"


def report(native: Coverage, emulated: Coverage | None, rows: list[dict[str, object]]) -> int:
    """Prints one line per ISA row; returns the number of rows that should have run and did not."""
    failures = 0
    for row in rows:
        isa = str(row["name"])
        if not row["built"]:
            print(f"{isa:<12} NOT RUN: not in this build")
        elif row["supported"]:
            covered, text = describe(native, isa)
            if not native.kernels[isa]:
                covered, text = True, "no kernels of this row yet"
            failures += not covered
            print(f"{isa:<12} {text}")
        elif emulated is not None and isa == "avx512vnni":
            covered, text = describe(emulated, isa)
            failures += not covered
            print(f"{isa:<12} {text} (emulated: this CPU lacks it)")
        else:
            print(f"{isa:<12} NOT RUN: this CPU lacks it")
    return failures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("native", type=Path)
    parser.add_argument("--emulated", type=Path)
    options = parser.parse_args(arguments)
    emulated = read(options.emulated) if options.emulated else None
    return 1 if report(read(options.native), emulated, _core.isa_list()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cross-ISA golden file: SHA-256 of the outputs of every operator and of small networks.

    python tools/golden.py --isa avx2            # the JSON that every ISA and machine must print
    python tools/golden.py --check               # every usable ISA against tests/golden
    python tools/golden.py --save cases.npz      # plans and inputs, for another machine:
    python tools/golden.py --cases cases.npz --check
    python tools/golden.py --write               # after a change of the norm, with its ADR

Needs NumPy only. --check exits with 1 if a byte differs. A case whose plan this machine builds
otherwise (tests/golden/built.json) has no golden outputs here: NOT RUN; more than a few fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from golden_cases import KINDS, SEEDS, Case, load, save
from octavo import _core

GOLDEN = Path(__file__).resolve().parent.parent / "tests/golden"
#: Share of the cases that may be built otherwise before it is an error.
MAY_DIFFER = 0.02
Digests = dict[str, dict[str, str]]  # kind -> case -> SHA-256


def made(kinds: list[str]) -> dict[str, list[Case]]:
    """The cases, built here."""
    return {kind: [case for seed in SEEDS for case in KINDS[kind](seed)] for kind in kinds}


def built(cases: dict[str, list[Case]]) -> Digests:
    """What goes in, by case."""
    return {kind: {case.name: case.built() for case in found} for kind, found in cases.items()}


def outputs(cases: dict[str, list[Case]], isa: str | None, threads: int) -> Digests:
    """What comes out, by case."""
    return {
        kind: {case.name: case.run(isa, threads) for case in found} for kind, found in cases.items()
    }


def usable_isas() -> list[str]:
    return [row["name"] for row in _core.isa_list() if row["built"] and row["supported"]]


def text(digests: dict[str, str]) -> str:
    return json.dumps(digests, indent=1, sort_keys=True) + "\n"


def golden(name: str) -> dict[str, str]:
    return dict(json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")))


def compare(kind: str, found: dict[str, str], same_plan: set[str]) -> tuple[int, list[str]]:
    """(cases equal, names of cases that differ) among those built as the golden ones were."""
    expected = golden(kind)
    missing = [f"{name} (no longer a case)" for name in expected.keys() - found.keys()]
    compared = [name for name in found if name in same_plan]
    different = [name for name in compared if found[name] != expected[name]]
    return len(compared) - len(different), [*sorted(missing), *different]


def check(cases: dict[str, list[Case]], isas: list[str], threads: int) -> int:
    """Prints a line per ISA; 1 if anything differs."""
    expected = golden("built")
    here = {name: digest for found in built(cases).values() for name, digest in found.items()}
    same = {name for name, digest in here.items() if expected.get(name) == digest}
    other = sorted(here.keys() - same)
    print(f"cases     {len(same)} of {len(here)} built as on the machine of tests/golden")
    for name in other:
        print(f"  NOT RUN: {name}: built otherwise here (NumPy's last bit); see --cases")
    failed = len(other) > MAY_DIFFER * len(here)
    for isa in isas:
        start = time.monotonic()
        equal, different = 0, []
        for kind, found in outputs(cases, isa, threads).items():
            count, names = compare(kind, found, same)
            equal, different = equal + count, different + names
        seconds = time.monotonic() - start
        print(f"{isa:<11} {equal} equal, {len(different)} differ ({seconds:.1f} s)")
        for name in different:
            print(f"  DIFFERS: {name}")
        failed |= bool(different)
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--isa", help="restrict the kernels (default: the best; with --check every usable one)")
    add("--threads", type=int, default=1)
    add("--only", choices=sorted(KINDS), help="one kind of cases")
    add("--cases", type=Path, metavar="NPZ", help="cases built elsewhere")
    add("--save", type=Path, metavar="NPZ", help="write the cases and exit")
    add("--check", action="store_true", help="compare with tests/golden")
    add("--write", action="store_true", help="write tests/golden")
    options = parser.parse_args(arguments)
    kinds = [options.only] if options.only else list(KINDS)
    cases = load(options.cases) if options.cases else made(kinds)
    if options.only:
        cases = {options.only: cases[options.only]}
    if options.save:
        save(options.save, cases)
        return 0
    if options.check:
        isas = [options.isa] if options.isa else usable_isas()
        return check(cases, isas, options.threads)
    digests = outputs(cases, options.isa, options.threads)
    if options.write:
        flat = {name: digest for found in built(cases).values() for name, digest in found.items()}
        for name, content in {**digests, "built": flat}.items():
            (GOLDEN / f"{name}.json").write_text(text(content), encoding="utf-8")
        return 0
    print(json.dumps(digests, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

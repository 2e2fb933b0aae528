# SPDX-License-Identifier: Apache-2.0
"""Proof of the Arm rows under emulation: cross build, then each row on CPUs that have it.

    tools/aarch64/check                 # everything, two processes at a time
    tools/aarch64/check --budget 300    # what does not fit into 300 s of running: NOT RUN

golden    the outputs of tests/golden, from plans made on this machine
networks  whole networks (MobileNetV2 among them), outputs equal to this machine's own
kernels   the sweeps of tests/kernels; the rest of these tests runs with the scalar rows
examples  tests/ops/test_core.py: every operator's examples against the norm
built     the golden cases with plans made on the target

Exits with 1 if anything differs or fails; with --strict also if something was NOT RUN. Needs the
host's own octavo importable (any build), and for the networks the extra `onnx`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WORK = ROOT / "build/aarch64/check"
sys.path.insert(0, str(ROOT / "tools"))

import isa_coverage  # noqa: E402

ROWS = ("scalar", "neon", "neondot", "neoni8mm")
#: CPU -> the rows that it has and those before it have not; neon runs on two kinds of cores.
CPUS = {
    "cortex-a53": ("scalar", "neon"),
    "cortex-a72": ("neon",),
    "cortex-a76": ("neondot",),
    "max": ("neoni8mm",),
}
PARTS = ("golden", "networks", "kernels", "examples", "built")
PASSED, FAILED, NOT_RUN = "passed", "FAILED", "NOT RUN"
#: A test that is under way when the time is over may still end.
GRACE = 60


@dataclass
class Cell:
    """What one row gave on one CPU."""

    status: str
    count: int = 0
    seconds: float = 0.0
    detail: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"{self.count:,}" if self.status == PASSED else self.status
        return f"{text} {self.seconds:.0f} s" if self.seconds else text


@dataclass(frozen=True)
class Job:
    """One process: a part on a CPU, for some of its rows."""

    part: str
    cpu: str
    rows: tuple[str, ...]


def jobs() -> list[Job]:
    """In the order of what they tell per second: a time box cuts the end."""
    found = [Job("golden", cpu, rows) for cpu, rows in CPUS.items()]
    found += [Job("networks", cpu, rows[-1:]) for cpu, rows in CPUS.items()]
    sweeps = [Job("kernels", cpu, (row,)) for cpu, rows in CPUS.items() for row in rows]
    # The longest first, and the second CPU of a row last.
    found += sorted((job for job in sweeps if job.cpu != "cortex-a72"), key=_length, reverse=True)
    found.append(Job("built", "max", ROWS[-1:]))
    found += [Job("examples", cpu, (row,)) for cpu, rows in CPUS.items() for row in rows]
    found += [job for job in sweeps if job.cpu == "cortex-a72"]
    return found


def _length(job: Job) -> int:
    return sum(len(isa_coverage.listed_kernels(ROOT)[row]) for row in job.rows)


class Check:
    """Runs jobs until `deadline` (Unix seconds) and keeps their cells by (part, row, CPU)."""

    def __init__(self) -> None:
        self.deadline = 0.0
        self.cells: dict[tuple[str, str, str], Cell] = {}
        self.expected: dict[str, str] | str = "no networks were made"

    def run(self, job: Job) -> None:
        """Fills the job's cells."""
        start = time.time()
        if start > self.deadline:
            found = {row: Cell(NOT_RUN, detail=["the time box is over"]) for row in job.rows}
        else:
            found = getattr(self, f"_{job.part}")(job)
        for row, cell in found.items():
            cell.seconds = cell.seconds or time.time() - start
            self.cells[job.part, row, job.cpu] = cell
            print(f"  {job.part:<9} {row:<9} {job.cpu:<11} {cell}", flush=True)

    def _emulated(self, job: Job, arguments: list[str]) -> tuple[int | None, str, str]:
        """(exit code or None when the time was over, stdout, stderr) of Python under qemu."""
        paths = f"{ROOT}/build/aarch64/python:{HERE}"
        environment = {
            **os.environ,
            "OCTAVO_QEMU_CPU": job.cpu,
            "OCTAVO_QEMU_PACKAGE": paths,
            "OCTAVO_DEADLINE": str(self.deadline),
        }
        command = [str(HERE / "python"), *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=max(1, self.deadline + GRACE - time.time()))
        except subprocess.TimeoutExpired:
            process.kill()
            return None, *process.communicate()
        return process.returncode, out, err

    def _golden(self, job: Job) -> dict[str, Cell]:
        cases = [] if job.part == "built" else ["--cases", str(WORK / "golden.npz")]
        code, out, err = self._emulated(job, ["tools/golden.py", "--check", *cases])
        if code is None:
            return {row: Cell(NOT_RUN, detail=["the time box is over"]) for row in job.rows}
        found = {}
        for row, equal, different, seconds in re.findall(
            r"^(\w+) +(\d+) equal, (\d+) differ \(([\d.]+) s\)", out, re.MULTILINE
        ):
            status = FAILED if int(different) else PASSED
            found[row] = Cell(status, int(equal), float(seconds))
        for row in job.rows:
            if row not in found:
                found[row] = Cell(FAILED, detail=err.splitlines()[-3:])
        found[job.rows[-1]].detail += re.findall(r"^  ((?:DIFFERS|NOT RUN): .*)", out, re.MULTILINE)
        if code and all(cell.status == PASSED for cell in found.values()):
            found[job.rows[-1]].status = FAILED  # too many cases that could not be compared
        return found

    _built = _golden

    def _networks(self, job: Job) -> dict[str, Cell]:
        (row,) = job.rows
        if isinstance(self.expected, str):
            return {row: Cell(NOT_RUN, detail=[self.expected])}
        options = ["--cases", str(WORK / "networks.npz"), "--isa", row, "--threads", "2"]
        code, out, err = self._emulated(job, ["tools/golden.py", *options])
        if code is None:
            return {row: Cell(NOT_RUN, detail=["the time box is over"])}
        if code:
            return {row: Cell(FAILED, detail=err.splitlines()[-3:])}
        found = json.loads(out)["networks"]
        different = [name for name, digest in self.expected.items() if found[name] != digest]
        return {row: Cell(FAILED if different else PASSED, len(found), detail=different)}

    def _pytest(self, job: Job, arguments: list[str]) -> tuple[Cell, Path]:
        report = WORK / f"{job.part}-{job.rows[0]}-{job.cpu}.xml"
        report.unlink(missing_ok=True)
        options = ["-m", "pytest", "-q", "-p", "timebox", "-p", "no:cacheprovider"]
        code, out, _ = self._emulated(job, [*options, f"--junitxml={report}", *arguments])
        if code is None:
            return Cell(NOT_RUN, detail=["the time box is over"]), report
        if code or not report.exists():
            return Cell(FAILED, detail=out.splitlines()[-8:]), report
        cases = list(ET.parse(report).iter("testcase"))
        late = sum("time box" in s.get("message", "") for c in cases for s in c.iter("skipped"))
        skipped = sum(any(True for _ in case.iter("skipped")) for case in cases)
        cell = Cell(PASSED, len(cases) - skipped)
        if late:
            cell.status, cell.detail = NOT_RUN, [f"the time box was over: {late} tests left"]
        return cell, report

    def _kernels(self, job: Job) -> dict[str, Cell]:
        (row,) = job.rows
        others = [isa for isa in ROWS if isa != row and isa != "scalar"]
        chosen = " and ".join([row, *(f"not {isa}" for isa in others if row in isa)])
        if row == "scalar":  # and what belongs to no row
            chosen = " and ".join(f"not {isa}" for isa in others)
        files = ["tests/kernels"] if row == "scalar" else _files(row)
        cell, report = self._pytest(job, [*files, "-k", chosen])
        if cell.status != FAILED and report.exists():
            passed = isa_coverage.passed_tests(report)
            kernels = isa_coverage.listed_kernels(ROOT)[row]
            missing = sorted(kernel for kernel in kernels if not passed[kernel])
            if not kernels:
                cell = Cell(NOT_RUN, detail=["no kernels of this row exist"])
            elif missing:
                cell.status = NOT_RUN
                cell.detail.append(f"no test of {', '.join(missing)}")
            else:
                cell.detail.append(f"{len(kernels)} kernels")
        return {row: cell}

    def _examples(self, job: Job) -> dict[str, Cell]:
        (row,) = job.rows
        cell, _ = self._pytest(job, ["tests/ops/test_core.py", "-k", f"norm and {row}]"])
        return {row: cell}


def _files(row: str) -> list[str]:
    """Tests of the families that have kernels of this row: collecting others takes seconds."""
    families = sorted(
        family
        for family, kernels in isa_coverage.listed_families(ROOT).items()
        if any(isa == row for isa in kernels.values())
    )
    return [f"tests/kernels/test_{family}.py" for family in families] or ["tests/kernels"]


def prepare(check: Check, parts: list[str]) -> None:
    """On this machine: the golden cases, the networks and their outputs."""
    environment = {**os.environ}
    if "golden" in parts:
        golden = [sys.executable, "tools/golden.py", "--save", str(WORK / "golden.npz")]
        subprocess.run(golden, cwd=ROOT, check=True, env=environment)
    if "networks" not in parts:
        return
    made = [sys.executable, str(HERE / "whole_networks.py"), str(WORK / "networks.npz")]
    done = subprocess.run(made, cwd=ROOT, env=environment, capture_output=True, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode:
        check.expected = f"tools/aarch64/whole_networks.py: {done.stderr.splitlines()[-1]}"
        return
    run = [sys.executable, "tools/golden.py", "--cases", str(WORK / "networks.npz")]
    digests = subprocess.run(run, cwd=ROOT, check=True, env=environment, capture_output=True)
    check.expected = json.loads(digests.stdout)["networks"]


def table(cells: dict[tuple[str, str, str], Cell]) -> str:
    """Rows x CPUs; a dash where the CPU lacks the row or another CPU has run it."""
    lines = [f"{'':<20}" + "".join(f"{cpu:>16}" for cpu in CPUS)]
    for part in PARTS:
        for row in ROWS:
            line = [cells.get((part, row, cpu)) for cpu in CPUS]
            if any(line):
                texts = "".join(f"{'–' if cell is None else str(cell):>16}" for cell in line)
                lines.append(f"{part:<10}{row:<10}{texts}")
    details = [
        f"{cell.status}: {part} {row} {cpu}: {line}"
        for (part, row, cpu), cell in sorted(cells.items())
        if cell.status != PASSED
        for line in cell.detail
    ]
    return "\n".join(lines + details)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/aarch64/check",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--budget", type=float, default=86400, metavar="SECONDS", help="of running tests")
    add("--only", metavar="PART", choices=PARTS, action="append", help="one part; may repeat")
    add("--jobs", type=int, default=2, help="processes at a time (default 2)")
    add("--strict", action="store_true", help="exit with 1 also if something was NOT RUN")
    add("--json", type=Path, metavar="FILE", help="write the table as JSON")
    options = parser.parse_args(argv)
    parts = options.only or list(PARTS)
    if subprocess.run([HERE / "sysroot"]).returncode:
        print("NOT RUN: everything: no sysroot for aarch64 (see above)")
        return 1 if options.strict else 0
    if subprocess.run([HERE / "build"]).returncode:
        print("FAILED: the cross build")
        return 1
    WORK.mkdir(parents=True, exist_ok=True)
    check = Check()
    prepare(check, parts)
    check.deadline = time.time() + options.budget
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(check.run, [job for job in jobs() if job.part in parts]))
    print("\n" + table(check.cells))
    if options.json:
        rows = [
            {"part": part, "row": row, "cpu": cpu, **cell.__dict__}
            for (part, row, cpu), cell in sorted(check.cells.items())
        ]
        options.json.write_text(json.dumps({"cells": rows}, indent=1) + "\n", encoding="utf-8")
    found = {cell.status for cell in check.cells.values()}
    return 1 if FAILED in found or (options.strict and NOT_RUN in found) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""tools/aarch64/check.py without qemu: what it makes of the output of the processes it starts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import check as aarch64_check
from check import FAILED, NOT_RUN, PASSED, Cell, Check, Job

GOLDEN = """cases     892 of 892 built as on the machine of tests/golden
scalar      892 equal, 0 differ (5.8 s)
neon        {equal} equal, {different} differ (5.0 s)
"""


class Faked(Check):
    """Processes print what the test wants."""

    def __init__(self, code: int | None = 0, out: str = "", report: str = "") -> None:
        super().__init__()
        self.deadline = time.time() + 100
        self.answer = (code, out, "some\nerror text")
        self.report = report
        self.commands: list[list[str]] = []

    def _emulated(self, job: Job, arguments: list[str]) -> tuple[int | None, str, str]:
        self.commands.append(arguments)
        for argument in arguments:
            if self.report and argument.startswith("--junitxml="):
                Path(argument.partition("=")[2]).write_text(self.report, encoding="utf-8")
        return self.answer


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aarch64_check, "WORK", tmp_path)


def result(check: Check, part: str, cpu: str, *rows: str) -> dict[str, Cell]:
    check.run(Job(part, cpu, rows))
    return {row: cell for (_, row, _), cell in check.cells.items()}


def test_golden_by_row() -> None:
    found = result(
        Faked(0, GOLDEN.format(equal=892, different=0)), "golden", "cortex-a53", "scalar", "neon"
    )
    assert {row: (cell.status, cell.count) for row, cell in found.items()} == {
        "scalar": (PASSED, 892),
        "neon": (PASSED, 892),
    }


def test_a_golden_difference_is_named() -> None:
    out = GOLDEN.format(equal=891, different=1) + "  DIFFERS: Conv/1x1@1\n"
    found = result(Faked(1, out), "golden", "cortex-a53", "scalar", "neon")
    assert found["scalar"].status == PASSED
    assert found["neon"].status == FAILED
    assert found["neon"].detail == ["DIFFERS: Conv/1x1@1"]


def test_a_row_that_the_cpu_should_have_and_does_not_report_fails() -> None:
    found = result(Faked(0, GOLDEN.format(equal=892, different=0)), "golden", "max", "neoni8mm")
    assert found["neoni8mm"].status == FAILED


def test_golden_that_could_not_be_compared_fails() -> None:
    out = GOLDEN.format(equal=5, different=0)
    assert result(Faked(1, out), "golden", "cortex-a53", "neon")["neon"].status == FAILED


@pytest.mark.parametrize(("digest", "status"), [("aa", PASSED), ("bb", FAILED)])
def test_networks(digest: str, status: str) -> None:
    check = Faked(0, json.dumps({"networks": {"net": digest}}))
    check.expected = {"net": "aa"}
    cell = result(check, "networks", "max", "neoni8mm")["neoni8mm"]
    assert cell.status == status
    assert cell.detail == ([] if status == PASSED else ["net"])


def test_networks_that_were_not_made_are_not_run() -> None:
    cell = result(Faked(), "networks", "max", "neoni8mm")["neoni8mm"]
    assert (cell.status, cell.detail) == (NOT_RUN, ["no networks were made"])


def junit(*cases: tuple[str, str]) -> str:
    body = "".join(f'<testcase name="{name}">{inner}</testcase>' for name, inner in cases)
    return f"<testsuites><testsuite>{body}</testsuite></testsuites>"


LATE = '<skipped message="NOT RUN: the time box is over"/>'


def sweep(monkeypatch: pytest.MonkeyPatch, *cases: tuple[str, str], code: int = 0) -> Cell:
    kernels = {"neon": {"add_s8_x32_neon", "mul_s8_x32_neon"}}
    monkeypatch.setattr(aarch64_check.isa_coverage, "listed_kernels", lambda _: kernels)
    check = Faked(code, "1 failed", junit(*cases))
    return result(check, "kernels", "cortex-a72", "neon")["neon"]


ADD = ("test_x[add_s8_x32_neon-1]", "")
MUL = ("test_x[mul_s8_x32_neon-1]", "")


def test_kernels_need_a_passed_test_each(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = sweep(monkeypatch, ADD, MUL, MUL)
    assert (cell.status, cell.count) == (PASSED, 3)
    cell = sweep(monkeypatch, ADD, (MUL[0], "<skipped/>"))
    assert cell.status == NOT_RUN and cell.detail == ["no test of mul_s8_x32_neon"]


def test_what_the_time_box_cut_off_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = sweep(monkeypatch, ADD, MUL, (MUL[0], LATE))
    assert cell.status == NOT_RUN and cell.detail[0] == "the time box was over: 1 tests left"


def test_failing_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sweep(monkeypatch, ADD, MUL, code=1).status == FAILED


def test_nothing_starts_after_the_time_box() -> None:
    check = Faked()
    check.deadline = time.time() - 1
    assert result(check, "golden", "max", "neoni8mm")["neoni8mm"].status == NOT_RUN
    assert not check.commands


def test_a_process_that_was_stopped_is_not_run() -> None:
    assert result(Faked(None), "examples", "max", "neoni8mm")["neoni8mm"].status == NOT_RUN


def test_every_row_is_swept_on_each_cpu_that_first_has_it() -> None:
    jobs = aarch64_check.jobs()
    assert len(jobs) == len(set(jobs))
    for part in ("kernels", "examples"):
        swept = {(job.cpu, row) for job in jobs if job.part == part for row in job.rows}
        wanted = {(cpu, row) for cpu, rows in aarch64_check.CPUS.items() for row in rows}
        assert swept == wanted


def test_table_names_what_did_not_run() -> None:
    cells = {
        ("golden", "neon", "cortex-a53"): Cell(PASSED, 892, 4.6),
        ("golden", "neon", "cortex-a72"): Cell(NOT_RUN, detail=["the time box is over"]),
    }
    lines = aarch64_check.table(cells).splitlines()
    assert lines[1].split() == ["golden", "neon", "892", "5", "s", "NOT", "RUN", "–", "–"]
    assert lines[2] == "NOT RUN: golden neon cortex-a72: the time box is over"

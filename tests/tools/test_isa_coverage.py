# SPDX-License-Identifier: Apache-2.0
"""tools/isa_coverage.py on written-out JUnit files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import isa_coverage

ROWS: list[dict[str, object]] = [
    {"name": "scalar", "built": True, "supported": True},
    {"name": "avx2", "built": True, "supported": True},
    {"name": "avxvnni", "built": True, "supported": False},
    {"name": "avx512vnni", "built": True, "supported": False},
    {"name": "neon", "built": False, "supported": False},
]


KERNELS = {
    "scalar": {"gemm_s8_4x4c4_scalar"},
    "avx2": {"gemm_s8_4x16c4_avx2"},
    "avxvnni": {"gemm_s8_6x16c4_avxvnni"},
    "avx512vnni": {"gemm_s8_4x64c4_avx512vnni"},
    "neon": set[str](),
}
SCALAR = ("test_x[gemm_s8_4x4c4_scalar-guard_after]", "")
AVX2 = ("test_x[guard_after-gemm_s8_4x16c4_avx2]", "")


def passed(path: Path, *cases: tuple[str, str]) -> Counter[str]:
    body = "".join(
        f'<testcase name="{name}">{f"<{outcome}/>" if outcome else ""}</testcase>'
        for name, outcome in cases
    )
    path.write_text(f"<testsuites><testsuite>{body}</testsuite></testsuites>", encoding="utf-8")
    return isa_coverage.passed_tests(path)


def test_all_rows_covered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    native = passed(tmp_path / "n.xml", SCALAR, AVX2, AVX2, ("test_unrelated", ""))
    assert isa_coverage.report(KERNELS, ROWS, native, None) == 0
    assert capsys.readouterr().out.splitlines() == [
        "scalar       RUN: 1 kernels, 1 tests",
        "avx2         RUN: 1 kernels, 2 tests",
        "avxvnni      NOT RUN: this CPU lacks it",
        "avx512vnni   NOT RUN: this CPU lacks it",
        "neon         NOT RUN: not in this build",
    ]


@pytest.mark.parametrize("outcome", ["skipped", "failure", "error"])
def test_row_that_the_machine_has_must_pass(tmp_path: Path, outcome: str) -> None:
    native = passed(tmp_path / "n.xml", SCALAR, (AVX2[0], outcome))
    assert isa_coverage.report(KERNELS, ROWS, native, None) == 1


def test_each_listed_kernel_must_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    native = passed(tmp_path / "n.xml", SCALAR, AVX2)
    kernels = {**KERNELS, "avx2": {*KERNELS["avx2"], "dwconv_s8_3x3_avx2"}}
    assert isa_coverage.report(kernels, ROWS, native, None) == 1
    assert "avx2         NOT RUN: dwconv_s8_3x3_avx2  FAIL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("ymm", "zmm", "failures"), [("", "", 0), ("", "skipped", 1), ("skipped", "", 1)]
)
def test_emulated_rows(
    tmp_path: Path, ymm: str, zmm: str, failures: int, capsys: pytest.CaptureFixture[str]
) -> None:
    native = passed(tmp_path / "n.xml", SCALAR, AVX2)
    emulated = passed(
        tmp_path / "e.xml",
        ("test_x[gemm_s8_6x16c4_avxvnni]", ymm),
        ("test_x[gemm_s8_4x64c4_avx512vnni]", zmm),
    )
    assert isa_coverage.report(KERNELS, ROWS, native, emulated) == failures
    assert "emulated" in capsys.readouterr().out


def test_kernels_are_listed_from_the_sources(tmp_path: Path) -> None:
    for family, text in {
        "gemm_s8": "// OCTAVO_GEMM_S8(isa, name)\nOCTAVO_GEMM_S8(kAvx2, gemm_s8_4x16c4_avx2, 4)\n",
        "convert": "OCTAVO_CONVERT(kAvx2, avx2)\nOCTAVO_CONVERT(kScalar, scalar)\n",
        "peak": "OCTAVO_PEAK(kAvx2, peak_maddubs_avx2)\n",
    }.items():
        (tmp_path / "csrc/kernels" / family).mkdir(parents=True)
        (tmp_path / "csrc/kernels" / family / "kernels.inc").write_text(text, encoding="utf-8")
    kernels = isa_coverage.listed_kernels(tmp_path)
    assert kernels["avx2"] == {"gemm_s8_4x16c4_avx2", "convert_avx2"}
    assert kernels["scalar"] == {"convert_scalar"}

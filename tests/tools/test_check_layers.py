# SPDX-License-Identifier: Apache-2.0
"""tools/check_layers.py on small trees that break one rule each."""

from __future__ import annotations

from pathlib import Path

import pytest

import check_layers


def write(root: Path, path: str, text: str) -> None:
    file = root / "csrc" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "line", "message"),
    [
        ("base/a.h", '#include "kernels/requant.h"', "base may not include kernels"),
        ("kernels/x/x.h", '#include "ops/op.h"', "kernels may not include ops"),
        ("ops/x.cc", '#include "runtime/plan.h"', "ops may not include runtime"),
        ("ops/x.cc", '#include "kernels/simd/x86.h"', "kernels/simd/ is for kernels"),
        ("capi/x.cc", '#include "bindings/b.h"', "capi may not include bindings"),
        ("bindings/x.cc", '#include "capi/octavo.h"', "bindings may not include capi"),
        ("base/a.cc", "#include <immintrin.h>", "intrinsics belong"),
        ("base/a.cc", "  #  include <arm_neon.h>", "intrinsics belong"),
        ("kernels/x/scalar.cc", "#include <emmintrin.h>", "intrinsics belong"),
        ("kernels/x/pack.cc", "#include <immintrin.h>", "intrinsics belong"),
        ("kernels/x/x.h", "#include <immintrin.h>", "intrinsics belong"),
        ("kernels/x/avx2.h", "#include <immintrin.h>", "intrinsics belong"),
        ("ops/x.cc", "#include <simde/x86/avx2.h>", "intrinsics belong"),
        ("runtime/x.cc", "#include <pybind11/pybind11.h>", "pybind11 belongs"),
        ("base/a.cc", '#include "a.h"', "write the path from csrc/"),
        ("extra/a.cc", "", "unknown layer 'extra'"),
    ],
)
def test_broken_rule(tmp_path: Path, path: str, line: str, message: str) -> None:
    write(tmp_path, path, f"// first line\n{line}\n")
    problems = check_layers.check(tmp_path)
    assert len(problems) == 1
    assert message in problems[0]
    assert problems[0].startswith(f"csrc/{path}:{1 if not line else 2}: ")
    assert check_layers.main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("base/a.h", '#include "base/b.h"'),
        ("base/a.h", "#include <cstdint>"),
        ("kernels/x/avx2.cc", "#include <immintrin.h>"),
        ("kernels/x/avx512vnni_wide.cc", '#include "kernels/simd/x86.h"'),
        ("kernels/x/neondot.cc", "#include <arm_neon.h>"),
        ("kernels/simd/load.h", "#include <immintrin.h>"),
        ("kernels/simd/emulate.h", "#include <simde/x86/avx512.h>"),
        ("kernels/y/y.cc", '#include "kernels/x/x.h"'),
        ("runtime/x.cc", '#include "ops/op.h"'),
        ("bindings/b.cc", "#include <pybind11/pybind11.h>"),
        ("bindings/b.cc", '#include "runtime/plan.h"'),
        ("base/a.cc", '// #include "ops/op.h"'),
    ],
)
def test_allowed(tmp_path: Path, path: str, line: str) -> None:
    write(tmp_path, path, line + "\n")
    assert check_layers.check(tmp_path) == []
    assert check_layers.main([str(tmp_path)]) == 0


def test_long_files_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "kernels/x/avx2.cc", "\n" * 251)
    write(tmp_path, "kernels/x/x.h", "\n" * 251)
    write(tmp_path, "ops/x.cc", "\n" * 301)
    assert check_layers.long_files(tmp_path) == [
        "csrc/kernels/x/avx2.cc: 251 lines, limit 250",
        "csrc/ops/x.cc: 301 lines, limit 300",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import octavo._core",
        "from octavo import _core",
        "from octavo import quant, _core as core",
        "from octavo._core import crc32",
        "from . import _core",
        "def f():\n    from ._core import crc32",
    ],
)
def test_python_users_of_the_core(tmp_path: Path, line: str) -> None:
    package = tmp_path / "python/octavo"
    for name in ("__init__.py", "session.py", "plan/build.py", "model.py", "report/table.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(f"import numpy\n{line}\n", encoding="utf-8")
    problems = check_layers.check_core_users(tmp_path)
    assert [p.split(":")[0] for p in problems] == [
        "python/octavo/model.py",
        "python/octavo/report/table.py",
    ]


def test_this_repository() -> None:
    root = Path(check_layers.__file__).resolve().parent.parent
    assert check_layers.check(root) + check_layers.check_core_users(root) == []

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the C++ layering by include lines, who imports octavo._core, and file lengths.

    python tools/check_layers.py [root]

base < kernels < ops < runtime < capi | bindings: a file includes its own layer and lower ones;
intrinsics only in kernels/simd/ and kernels/<family>/<isa>*.cc; pybind11 only in bindings/.
In Python only octavo itself, plan, session, tuning, selftest and the quantizer's observers import
octavo._core (others are import-linter's, which does not see compiled modules).
Exits with 1 when a rule is broken; lengths are reported only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

RANK = {"base": 0, "kernels": 1, "ops": 2, "runtime": 3, "capi": 4, "bindings": 4}
SIMD_ISAS = ("avx2", "avxvnni", "avx512vnni", "neon", "neondot", "neoni8mm")
INTRINSICS = re.compile(
    r"^(?:[a-z0-9]*mmintrin|immintrin|x86intrin|x86gprintrin|avx\w*intrin|arm_neon|arm_acle|arm_sve)\.h$"
    r"|^simde/"
)
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<(?P<system>[^>]+)>|"(?P<local>[^"]+)")')
# selftest runs single kernels, which no other layer can name.
CORE_USERS = (
    "__init__.py", "plan/", "quantization/observers.py", "selftest", "session.py", "tuning.py",
)  # fmt: skip
KERNEL_LINES, OTHER_LINES = 250, 300


def may_use_intrinsics(path: PurePosixPath) -> bool:
    """`path` is relative to csrc/."""
    if path.parts[0] != "kernels" or len(path.parts) < 3:
        return False
    prefix = re.split(r"[._]", path.name, maxsplit=1)[0]
    return path.parts[1] == "simd" or (path.suffix == ".cc" and prefix in SIMD_ISAS)


def check_include(path: PurePosixPath, system: str | None, local: str | None) -> str | None:
    """What is wrong with one include line of `path`, or None."""
    layer = path.parts[0]
    header = system or local or ""
    if INTRINSICS.match(header) and not may_use_intrinsics(path):
        return f"<{header}>: intrinsics belong in kernels/<family>/<isa>*.cc or kernels/simd/"
    if header.startswith("pybind11/") and layer != "bindings":
        return f"<{header}>: pybind11 belongs in bindings/"
    if local is None:
        return None
    target = PurePosixPath(local)
    if target.parts[0] not in RANK:
        return f'"{local}": write the path from csrc/, starting with a layer'
    other = target.parts[0]
    if other != layer and RANK[other] >= RANK[layer]:
        return f'"{local}": {layer} may not include {other}'
    if layer != "kernels" and target.parts[:2] == ("kernels", "simd"):
        return f'"{local}": kernels/simd/ is for kernels'
    return None


def sources(root: Path) -> Iterator[Path]:
    for path in sorted((root / "csrc").rglob("*")):
        if path.suffix in {".h", ".cc", ".inc"}:
            yield path


def check(root: Path) -> list[str]:
    """Every broken rule, as `csrc/path:line: message`."""
    problems = []
    for source in sources(root):
        path = PurePosixPath(source.relative_to(root / "csrc").as_posix())
        if path.parts[0] not in RANK:
            problems.append(f"csrc/{path}:1: unknown layer '{path.parts[0]}'")
            continue
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
            if (include := INCLUDE.match(line)) and (
                message := check_include(path, include["system"], include["local"])
            ):
                problems.append(f"csrc/{path}:{number}: {message}")
    return problems


def imports_core(tree: ast.AST) -> int | None:
    """Line of the first import of octavo._core, absolute or relative; None without one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            names.append(node.module or "")
        else:
            continue
        if any("_core" in name.split(".") for name in names):
            return node.lineno
    return None


def check_core_users(root: Path) -> list[str]:
    package = root / "python/octavo"
    problems = []
    for source in sorted(package.rglob("*.py")):
        path = source.relative_to(package).as_posix()
        if path.startswith(CORE_USERS):
            continue
        line = imports_core(ast.parse(source.read_text(encoding="utf-8"), path))
        if line is not None:
            problems.append(
                f"python/octavo/{path}:{line}: octavo._core is for plan, session, "
                "tuning, selftest and quantization/observers"
            )
    return problems


def long_files(root: Path) -> list[str]:
    """Files longer than the house limits, C++ and Python."""
    report = []
    python = [
        path for top in ("python", "tests", "tools", "bench") for path in (root / top).rglob("*.py")
    ]
    for path in [*sources(root), *sorted(python)]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = KERNEL_LINES if "kernels" in path.parts and path.suffix == ".cc" else OTHER_LINES
        if lines > limit:
            report.append(f"{path.relative_to(root).as_posix()}: {lines} lines, limit {limit}")
    return report


def main(arguments: list[str]) -> int:
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parent.parent
    for line in long_files(root):
        print(f"long: {line}")
    problems = check(root) + check_core_users(root)
    for problem in problems:
        print(problem)
    print(f"check_layers: {len(problems)} broken rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

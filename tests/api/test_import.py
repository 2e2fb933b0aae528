# SPDX-License-Identifier: Apache-2.0
"""`import octavo` needs NumPy alone, pulls in nothing heavy, and its public surface is complete."""

from __future__ import annotations

import subprocess
import sys

import octavo


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return result.stdout


def test_import_pulls_in_no_optional_package() -> None:
    heavy = ("onnx", "onnxruntime", "rich", "torch", "google.protobuf", "matplotlib", "sklearn")
    code = f"import octavo, sys; print([n for n in {heavy!r} if n in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_running_a_saved_plan_needs_neither_extras_nor_the_planner() -> None:
    code = (
        "import sys, octavo, pathlib, numpy as np\n"
        "d = pathlib.Path(octavo.__file__).parent / 'demo'\n"
        "m = octavo.load(d / 'digits_int8.octavo')\n"
        "m.compile().run(np.zeros((1, 1, 8, 8), np.float32))\n"
        "heavy = ('onnx', 'rich', 'torch', 'google.protobuf', 'octavo.ops', 'octavo.passes')\n"
        "print([n for n in heavy if n in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_public_names_resolve() -> None:
    assert octavo.__all__ == sorted(octavo.__all__)
    for name in octavo.__all__:
        assert getattr(octavo, name) is not None
    assert callable(octavo.compare) and callable(octavo.quantize)


def test_functions_survive_importing_their_modules() -> None:
    code = (
        "import octavo.comparison, octavo.quantization, octavo\n"
        "print(callable(octavo.compare), callable(octavo.quantize))"
    )
    assert run_python(code).strip() == "True True"

# SPDX-License-Identifier: Apache-2.0
"""The commands in this process, and in processes of their own without some packages."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.cli import main

#: Runs the CLI as if some packages were not installed.
_WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
sys.meta_path.insert(0, Absent())
from octavo.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    def refused(self, kind, *words):
        """Exit code 1, nothing on stdout, one line on stderr: `octavo: <kind>: ...`."""
        assert self.code == 1, self
        assert self.out == "", self
        assert self.err.startswith(f"octavo: {kind}: "), self.err
        assert self.err.count("\n") == 1, self.err
        for word in words:
            assert word in self.err


@pytest.fixture
def octavo_cli(capsys, monkeypatch):
    """octavo_cli("run", "model.onnx") -> Result."""
    monkeypatch.delenv("OCTAVO_ISA", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse: --help, usage errors
            code = end.code or 0
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def cli_environment():
    """Environment in which a new interpreter finds this package."""
    package = str(Path(octavo.__file__).parents[1])
    path = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1", "PYTHONUTF8": "1"}


@pytest.fixture
def octavo_without(cli_environment):
    """octavo_without(["onnx"], "run", "model.onnx") -> Result of a process of its own."""

    def run(absent, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT.format(absent=set(absent)), *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            env=cli_environment,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return run


def _shipped(name):
    with resources.as_file(resources.files("octavo.demo") / name) as path:
        return Path(path)


@pytest.fixture
def int8_plan():
    return _shipped("digits_int8.octavo")


@pytest.fixture
def float_plan():
    return _shipped("digits_f32.octavo")


@pytest.fixture
def int8_onnx():
    return _shipped("digits_qdq.onnx")


@pytest.fixture
def float_onnx():
    return _shipped("digits_f32.onnx")


@pytest.fixture
def digits(tmp_path):
    """Path of an .npy file with 40 real digits, float32 [40, 1, 8, 8]."""
    with np.load(_shipped("digits_heldout.npz")) as data:
        images = data["calibration_images"][:40].astype(np.float32).reshape(-1, 1, 8, 8) / 16
    path = tmp_path / "digits.npy"
    np.save(path, images)
    return path

# SPDX-License-Identifier: Apache-2.0
"""Quantized models by name, written once per test run, and the ISAs of this machine."""

import sys
from pathlib import Path

import pytest

from octavo import _core

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

ISAS = {row["name"]: row["supported"] for row in _core.isa_list() if row["built"]}


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    """Name -> path of the ONNX file; skips where the file is not on this machine."""
    import witness_models

    folder = tmp_path_factory.mktemp("models")
    known = {model.name: model for model in witness_models.MODELS}
    written = {}

    def path(name):
        if name not in written:
            try:
                written[name] = known[name].write(folder)
            except witness_models.NotAvailableError as missing:
                pytest.skip(str(missing))
        return written[name]

    return path


def pytest_generate_tests(metafunc):
    if "model_name" in metafunc.fixturenames:
        import witness_models

        metafunc.parametrize("model_name", [model.name for model in witness_models.MODELS])
    if "isa" in metafunc.fixturenames:
        metafunc.parametrize("isa", ISAS, indirect=True)


@pytest.fixture
def isa(request):
    """A built ISA; skips as NOT RUN where this CPU lacks it."""
    if not ISAS[request.param]:
        pytest.skip(f"NOT RUN: this machine lacks {request.param}")
    return request.param

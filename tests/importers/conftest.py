# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models written in the tests, and ONNX Runtime as outside witness."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
helper = onnx.helper
SHARED = Path(os.environ.get("OCTAVO_SHARED", Path(__file__).parents[3] / "shared"))


def make_model(
    nodes: Sequence[Any],
    inputs: Mapping[str, list[int | str] | tuple[str, list[int | str]]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    opset: int = 13,
) -> Any:
    """A ModelProto. An input is a list of dims (float32) or ("uint8", dims)."""
    declared = []
    for name, spec in inputs.items():
        kind, dims = spec if isinstance(spec, tuple) else ("float32", spec)
        element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        declared.append(helper.make_tensor_value_info(name, element, dims))
    stored = [
        onnx.numpy_helper.from_array(np.asarray(array), name)
        for name, array in (constants or {}).items()
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", declared, results, stored)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


@pytest.fixture
def model() -> Callable[..., Any]:
    return make_model


@pytest.fixture
def ort_run() -> Callable[..., list[np.ndarray]]:
    ort = pytest.importorskip("onnxruntime")

    def run(proto: Any, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        return ort.InferenceSession(proto.SerializeToString(), options).run(None, dict(feeds))

    return run


@pytest.fixture
def shared_model() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = SHARED / "models" / name
        if not path.is_file():
            pytest.skip(f"{name} not found below OCTAVO_SHARED ({SHARED})")
        return path

    return find

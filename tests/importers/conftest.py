# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models written in the tests, and ONNX Runtime as outside witness."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from octavo.importers.onnx import load_onnx
from octavo.ir import Graph
from octavo.passes import run_pipeline
from octavo.reference import run_int

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
helper = onnx.helper
SEED = 20240613
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


TYPES = {"u8": np.uint8, "s8": np.int8, "s32": np.int32}


@dataclass
class Build:
    """Nodes and constants of a model under construction; `x` and `x2` are inputs."""

    dims: list[int]
    type: str = "u8"
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(SEED))
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    def const(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, op: str, *inputs: str, out: str = "", **attrs: Any) -> str:
        out = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attrs))
        return out

    def params(self, scale: Any, zero_point: int, kind: str = "") -> tuple[str, str]:
        scale = np.asarray(scale, np.float32)
        points = np.full(scale.shape, zero_point, TYPES[kind or self.type])
        return self.const(scale), self.const(points)

    def q(self, x: str, scale: float, zero_point: int, kind: str = "") -> str:
        return self.op("QuantizeLinear", x, *self.params(scale, zero_point, kind))

    def dq(self, x: str, scale: Any, zero_point: int, kind: str = "", **attrs: Any) -> str:
        return self.op("DequantizeLinear", x, *self.params(scale, zero_point, kind), **attrs)

    def qdq(self, x: str, scale: float, zero_point: int) -> str:
        return self.dq(self.q(x, scale, zero_point), scale, zero_point)

    def weights(self, *dims: int, axis: int | None = None, kind: str = "s8") -> tuple[str, Any]:
        """(DequantizeLinear of random weights, their scale)."""
        zero_point = 128 if kind == "u8" else 0
        data = self.rng.integers(-63, 64, dims) + zero_point
        count = () if axis is None else (dims[axis],)
        scale = self.rng.uniform(0.001, 0.01, count).astype(np.float32)
        attrs = {} if axis is None else {"axis": axis}
        return self.dq(
            self.const(data.astype(TYPES[kind])), scale, zero_point, kind, **attrs
        ), scale

    def bias(self, channels: int, scale: Any, dequantized: bool) -> str:
        data = self.rng.integers(-3000, 3000, channels)
        if not dequantized:
            return self.const((data * 0.0007).astype(np.float32))
        scales = np.broadcast_to(np.asarray(scale, np.float32), (channels,))
        return self.op("DequantizeLinear", self.const(data.astype(np.int32)), self.const(scales),
                       axis=0)  # fmt: skip


@pytest.fixture
def sketch() -> type[Build]:
    return Build


@pytest.fixture
def model() -> Callable[..., Any]:
    return make_model


@pytest.fixture
def ort_run() -> Callable[..., list[np.ndarray]]:
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")

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
            pytest.skip(f"NOT RUN: {name} not found below OCTAVO_SHARED ({SHARED})")
        return path

    return find


@pytest.fixture
def check(ort_run: Callable[..., list[np.ndarray]]) -> Callable[..., Graph]:
    """Integer throughout, and at most `bound` output steps from ONNX Runtime, 0.1 % of the time."""

    def run(proto: Any, feeds: Mapping[str, np.ndarray], bound: int) -> Graph:
        graph = run_pipeline(load_onnx(proto))
        left = {n.op for n in graph.nodes if not graph.values[n.outputs[0]].is_8bit}
        assert left <= {"DequantizeLinear", "Transpose"}, graph.notes
        assert not graph.notes
        (name,) = graph.outputs
        y = run_int(graph, feeds)[name]
        (expected,) = ort_run(proto, feeds)
        assert y.shape == expected.shape
        stored = graph.values[graph.producers[name].inputs[0]]
        step = stored.scale if y.dtype == np.float32 else 1.0
        distance = np.rint(np.abs(y.astype(np.float64) - expected) / step)
        print(f"seed {SEED}: share equal {np.mean(distance == 0):.6f}")
        assert distance.max() <= bound
        assert np.mean(distance > 0) <= 0.001
        return graph

    return run

# SPDX-License-Identifier: Apache-2.0
"""QOperator models become QDQ, then integer ops, and equal ONNX Runtime; see test_onnx_qdq.py."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.importers.onnx import load_onnx
from octavo.passes import run_pipeline
from octavo.reference import run_int

pytestmark = pytest.mark.witness
IMAGE = [2, 3, 6, 8]


def quantized(rng: np.random.Generator, dims: list[int], kind: str = "uint8") -> np.ndarray:
    low, high = (0, 256) if kind == "uint8" else (-128, 128)
    return rng.integers(low, high, dims).astype(kind)


def test_qlinear_conv(sketch, model, check):
    b = sketch(IMAGE)
    w = b.rng.integers(-63, 64, (8, 3, 3, 3)).astype(np.int8)
    scale = b.rng.uniform(0.001, 0.01, 8).astype(np.float32)
    y = b.op(
        "QLinearConv", "x", *b.params(0.02, 120), b.const(w), b.const(scale),
        b.const(np.zeros(8, np.int8)), *b.params(0.05, 30),
        b.const(b.rng.integers(-999, 999, 8).astype(np.int32)), pads=[1, 0, 2, 1],
    )  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", IMAGE)}, [y], b.constants)
    graph = check(proto, {"x": quantized(b.rng, IMAGE)}, 0)
    assert [n.op for n in graph.nodes if n.op not in ("Transpose",)] == ["Conv"]
    assert graph.values["x"].scale == np.float32(0.02)
    assert graph.values["x"].zero_point == 120


def test_qlinear_matmul(sketch, model, check):
    b = sketch([5, 8])
    w = b.rng.integers(-63, 64, (8, 4)).astype(np.int8)
    scale = b.rng.uniform(0.001, 0.01, 4).astype(np.float32)
    y = b.op("QLinearMatMul", "x", *b.params(0.02, 120), b.const(w), b.const(scale),
             b.const(np.zeros(4, np.int8)), *b.params(0.03, 30))  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", [5, 8])}, [y], b.constants)
    check(proto, {"x": quantized(b.rng, [5, 8])}, 0)


@pytest.mark.parametrize(
    "op, attrs, bound",
    [
        ("QLinearAdd", {}, 1),
        ("QLinearMul", {}, 1),
        ("QLinearSigmoid", {}, 1),
        ("QLinearLeakyRelu", {"alpha": 0.1}, 0),
        ("QLinearGlobalAveragePool", {}, 1),
        ("QLinearAveragePool", {"kernel_shape": [2, 2]}, 1),
        ("QLinearSoftmax", {"axis": -1, "opset": 13}, 1),
        ("QLinearConcat", {"axis": 1}, 0),
    ],
)
def test_microsoft_operators(sketch, op, attrs, bound, model, check):
    b = sketch(IMAGE)
    first, second, target = (
        ("x", *b.params(0.02, 120)),
        ("x2", *b.params(0.03, 90)),
        b.params(0.04, 80),
    )
    inputs = {"x": ("uint8", IMAGE)}
    feeds = {"x": quantized(b.rng, IMAGE)}
    operands = [*first, *target]
    if op in ("QLinearAdd", "QLinearMul", "QLinearConcat"):
        inputs["x2"] = ("uint8", IMAGE)
        feeds["x2"] = quantized(b.rng, IMAGE)
        operands = [*first, *second, *target]
        if op == "QLinearConcat":
            operands = [*target, *first, *second]
    y = b.op(op, *operands, domain="com.microsoft", **attrs)
    check(model(b.nodes, inputs, [y], b.constants), feeds, bound)


def test_pool_channels_last(sketch, model, check):
    dims = [2, 6, 8, 3]
    b = sketch(dims)
    y = b.op("QLinearGlobalAveragePool", "x", *b.params(0.02, 120), *b.params(0.01, 100),
             domain="com.microsoft", channels_last=1)  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", dims)}, [y], b.constants)
    check(proto, {"x": quantized(b.rng, dims)}, 1)


@pytest.mark.parametrize("float_output", [False, True])
def test_qgemm(sketch, float_output, model, check, ort_run):
    b = sketch([5, 8])
    w = b.rng.integers(-63, 64, (4, 8)).astype(np.int8)
    scale = b.rng.uniform(0.001, 0.01, 4).astype(np.float32)
    target = ("", "") if float_output else b.params(0.03, 30)
    y = b.op(
        "QGemm", "x", *b.params(0.02, 120), b.const(w), b.const(scale),
        b.const(np.zeros(4, np.int8)), b.const(b.rng.integers(-99, 99, 4).astype(np.int32)),
        *target, domain="com.microsoft", transB=1,
    )  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", [5, 8])}, [y], b.constants)
    feeds = {"x": quantized(b.rng, [5, 8])}
    if not float_output:
        check(proto, feeds, 0)
        return
    graph = run_pipeline(load_onnx(proto))
    assert not graph.notes  # integers inside, real numbers outside
    (expected,) = ort_run(proto, feeds)
    np.testing.assert_allclose(run_int(graph, feeds)[y], expected, rtol=1e-5, atol=1e-5)

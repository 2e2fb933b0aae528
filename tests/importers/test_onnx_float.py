# SPDX-License-Identifier: Apache-2.0
"""Every float operator the importer knows, against ONNX Runtime, before and after the passes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from octavo.importers.onnx import load_onnx
from octavo.passes import run_float_pipeline, run_pipeline
from octavo.reference import run_float

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
node = onnx.helper.make_node
SEED = 20240612
RNG = np.random.default_rng(SEED)
pytestmark = pytest.mark.witness


def f32(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def i64(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


@dataclass
class Case:
    name: str
    nodes: list[Any]
    dims: list[int]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    opset: int = 13

    def __str__(self) -> str:
        return f"{self.name}-{self.opset}"


def one(name: str, op: str, dims: list[int], opset: int = 13, constants: Any = None, **attrs: Any):
    """A model of one node whose other inputs are constants, in order."""
    constants = constants or {}
    return Case(name, [node(op, ["x", *constants], ["y"], **attrs)], dims, constants, opset)


def conv(name: str, dims: list[int], weights: tuple[int, ...], bias: bool = True, **attrs: Any):
    constants = {"w": f32(*weights)}
    if bias:
        constants["b"] = f32(weights[0])
    return one(f"conv_{name}", "Conv", dims, constants=constants, **attrs)


IMAGE = [2, 6, 9, 8]
CASES = [
    conv("3x3", IMAGE, (5, 6, 3, 3), pads=[1, 1, 1, 1]),
    conv("asymmetric", IMAGE, (5, 6, 3, 2), pads=[0, 1, 2, 3], strides=[2, 1], dilations=[1, 2]),
    conv("groups", IMAGE, (4, 3, 3, 3), group=2, bias=False),
    conv("depthwise", IMAGE, (6, 1, 3, 3), group=6, auto_pad="SAME_UPPER", strides=[2, 2]),
    conv("same_lower", IMAGE, (4, 6, 2, 4), auto_pad="SAME_LOWER", strides=[1, 3]),
    conv("valid", IMAGE, (4, 6, 2, 4), auto_pad="VALID"),
    conv("1d", [2, 6, 15], (4, 6, 3), pads=[1, 2], strides=[2], dilations=[2]),
    one("max", "MaxPool", IMAGE, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    one("max_ceil", "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    one("max_ceil_pad", "MaxPool", IMAGE, kernel_shape=[2, 2], strides=[2, 3], ceil_mode=1,
        pads=[1, 1, 1, 1]),
    one("max_same", "MaxPool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    one("max_1d", "MaxPool", [2, 3, 11], kernel_shape=[3], strides=[2], pads=[1, 1]),
    one("max_dilated", "MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 3]),
    one("avg", "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
    one("avg_ceil", "AveragePool", IMAGE, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    one("avg_include", "AveragePool", IMAGE, kernel_shape=[3, 3], pads=[1, 1, 1, 1],
        count_include_pad=1),
    one("avg_1d", "AveragePool", [2, 3, 11], kernel_shape=[4], strides=[3]),
    one("gap", "GlobalAveragePool", IMAGE),
    one("gap_1d", "GlobalAveragePool", [2, 5, 7]),
    one("mean_hw", "ReduceMean", IMAGE, axes=[2, 3], keepdims=0),
    one("mean_hw_keep", "ReduceMean", IMAGE, axes=[-1, -2]),
    one("mean_nhwc", "ReduceMean", IMAGE, axes=[1, 2], keepdims=0),
    one("mean_last", "ReduceMean", [2, 7, 5], axes=[-1]),
    one("mean_axes_input", "ReduceMean", IMAGE, 18, {"axes": i64(2, 3)}, keepdims=0),
    one("mean_not_batch", "ReduceMean", [3, 4, 5, 2], axes=[0, 2], keepdims=0),
    one("gemm", "Gemm", [3, 7], constants={"w": f32(7, 4), "b": f32(4)}),
    one("gemm_scaled", "Gemm", [3, 7], constants={"w": f32(4, 7), "b": f32(1, 4)}, transB=1,
        alpha=0.5, beta=2.0),
    one("gemm_scalar_bias", "Gemm", [3, 7], constants={"w": f32(7, 4), "b": f32()}),
    one("gemm_matrix_bias", "Gemm", [3, 7], constants={"w": f32(7, 4), "b": f32(3, 4)}),
    one("matmul", "MatMul", [2, 3, 7], constants={"w": f32(7, 4)}),
    one("matmul_batched", "MatMul", [2, 3, 7], constants={"w": f32(2, 7, 4)}),
    one("relu", "Relu", IMAGE),
    one("clip_10", "Clip", IMAGE, 10, min=-0.5, max=0.5),
    one("clip", "Clip", IMAGE, constants={"lo": f32() * 0 - 0.5, "hi": f32() * 0 + 1}),
    one("clip_reversed", "Clip", IMAGE, constants={"lo": f32() * 0 + 1, "hi": f32() * 0 - 1}),
    one("leaky", "LeakyRelu", IMAGE, alpha=0.2),
    one("hard_sigmoid", "HardSigmoid", IMAGE, alpha=0.3, beta=0.4),
    one("hard_swish", "HardSwish", IMAGE, 14),
    one("sigmoid", "Sigmoid", IMAGE),
    one("tanh", "Tanh", IMAGE),
    one("exp", "Exp", IMAGE),
    one("softmax", "Softmax", IMAGE, axis=1),
    one("softmax_12", "Softmax", IMAGE, 12, axis=1),
    one("softmax_12_last", "Softmax", [3, 7], 12),
    one("batch_norm", "BatchNormalization", IMAGE, epsilon=1e-3, constants={
        "g": f32(6), "o": f32(6), "m": f32(6), "v": np.abs(f32(6)) + 0.1}),
    one("add", "Add", IMAGE, constants={"c": f32(6, 1, 1)}),
    one("sub", "Sub", IMAGE, constants={"c": f32(2, 6, 9, 8)}),
    one("mul", "Mul", IMAGE, constants={"c": f32()}),
    one("div", "Div", IMAGE, constants={"c": np.abs(f32(8)) + 1}),
    one("reshape", "Reshape", IMAGE, constants={"s": i64(0, -1, 4)}),
    one("flatten", "Flatten", IMAGE, axis=-2),
    one("squeeze", "Squeeze", [2, 1, 3, 1], constants={"a": i64(1, -1)}),
    one("squeeze_11", "Squeeze", [2, 1, 3, 1], 11, axes=[3]),
    one("unsqueeze", "Unsqueeze", [2, 3], constants={"a": i64(0, -1)}),
    one("transpose", "Transpose", IMAGE, perm=[0, 2, 3, 1]),
    one("transpose_default", "Transpose", IMAGE),
    one("slice", "Slice", IMAGE, constants={"s": i64(1, 7), "e": i64(-1, 0), "a": i64(1, 2),
        "t": i64(2, -2)}),
    one("slice_end", "Slice", IMAGE, constants={"s": i64(2), "e": i64(2**63 - 1), "a": i64(-1)}),
    one("pad", "Pad", IMAGE, constants={"p": i64(0, 1, 2, 0, 0, 0, 1, 3), "v": f32() * 0 + 2}),
    one("pad_10", "Pad", IMAGE, 10, pads=[0, 0, 1, 1, 0, 0, 1, 1]),
    one("pad_axes", "Pad", IMAGE, 18, {"p": i64(1, 2), "v": f32(), "a": i64(-2)}),
    one("dropout", "Dropout", IMAGE),
    one("identity", "Identity", IMAGE),
    one("cast", "Cast", IMAGE, to=1),
    Case("split", [node("Split", ["x"], ["a", "b", "c"], axis=1),
                   node("Concat", ["c", "a", "b"], ["y"], axis=-3)], IMAGE),
    Case("split_sizes", [node("Split", ["x", "s"], ["a", "b"], axis=2),
                         node("Concat", ["b", "a"], ["y"], axis=2)], IMAGE, {"s": i64(4, 5)}),
    Case("split_uneven", [node("Split", ["x"], ["a", "b"], axis=2, num_outputs=2),
                          node("Concat", ["b", "a"], ["y"], axis=2)], IMAGE, opset=18),
    Case("swish", [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], IMAGE),
    Case("matmul_dynamic", [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
                            node("MatMul", ["x", "t"], ["y"])], [2, 3, 4]),
    Case("gemm_dynamic", [node("Sigmoid", ["x"], ["s"]),
                          node("Gemm", ["x", "s", "b"], ["y"], transB=1)], [3, 4], {"b": f32(3)}),
]  # fmt: skip


def residual() -> Case:
    """conv, batch norm, relu, residual, squeeze and excite, pool, flatten, two linear layers."""
    statistics = {"g": f32(8), "o": f32(8), "m": f32(8), "v": np.abs(f32(8)) + 0.5}
    constants = {"w1": f32(8, 3, 3, 3), "w2": f32(8, 8, 3, 3), "w3": f32(8, 8, 1, 1),
                 "w4": f32(20, 8 * 5 * 4), "b4": f32(20), "w5": f32(20, 3), "b5": f32(3),
                 **statistics}  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", *statistics], ["n1"]),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r1"], ["a"]),
        node("Relu", ["a"], ["r2"]),
        node("GlobalAveragePool", ["r2"], ["g2"]),
        node("Conv", ["g2", "w3"], ["e"]),
        node("Sigmoid", ["e"], ["s"]),
        node("Mul", ["r2", "s"], ["p"]),
        node("MaxPool", ["p"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["q"], ["f"]),
        node("Gemm", ["f", "w4", "b4"], ["l1"], transB=1),
        node("Relu", ["l1"], ["r3"]),
        node("MatMul", ["r3", "w5"], ["l2"]),
        node("Add", ["l2", "b5"], ["y"]),
    ]
    return Case("residual", nodes, [2, 3, 10, 8], constants)


def shuffle() -> Case:
    """The channel shuffle of ShuffleNet: reshape, transpose, reshape between convolutions."""
    constants = {"w1": f32(8, 3, 1, 1), "w2": f32(4, 8, 1, 1), "s": i64(0, 2, 4, 6, 5),
                 "t": i64(0, 8, 6, 5)}  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1"], ["c"]),
        node("Reshape", ["c", "s"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["b", "t"], ["d"]),
        node("Split", ["d"], ["l", "r"], axis=1),
        node("Concat", ["r", "l"], ["e"], axis=1),
        node("Conv", ["e", "w2"], ["y"]),
    ]
    return Case("shuffle", nodes, [2, 3, 6, 5], constants)


def attention() -> Case:
    """Heads split and merged: transposes that must not be torn apart."""
    constants = {"wq": f32(8, 8), "wk": f32(8, 8), "s": i64(0, 5, 2, 4), "t": i64(0, 5, 8)}
    nodes = [
        node("MatMul", ["x", "wq"], ["q"]),
        node("MatMul", ["x", "wk"], ["k"]),
        node("Reshape", ["q", "s"], ["q4"]),
        node("Reshape", ["k", "s"], ["k4"]),
        node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
        node("MatMul", ["qt", "kt"], ["a"]),
        node("Softmax", ["a"], ["p"], axis=-1),
        node("MatMul", ["p", "qt"], ["v"]),
        node("Transpose", ["v"], ["vt"], perm=[0, 2, 1, 3]),
        node("Reshape", ["vt", "t"], ["y"]),
    ]
    return Case("attention", nodes, [2, 5, 8], constants)


def keyword() -> Case:
    """1-D convolutions with pooling, as in keyword spotting."""
    constants = {"w1": f32(6, 4, 3), "w2": f32(6, 1, 3), "w3": f32(5, 6 * 4)}
    nodes = [
        node("Conv", ["x", "w1"], ["a"], pads=[1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w2"], ["c"], pads=[1, 1], group=6),
        node("MaxPool", ["c"], ["d"], kernel_shape=[3], strides=[3]),
        node("Flatten", ["d"], ["e"]),
        node("Gemm", ["e", "w3"], ["y"], transB=1),
    ]
    return Case("keyword", nodes, [2, 4, 12], constants)


CASES += [residual(), shuffle(), attention(), keyword()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_onnxruntime(case, model, ort_run):
    proto = model(case.nodes, {"x": case.dims}, ["y"], case.constants, case.opset)
    x = np.random.default_rng(SEED).standard_normal(case.dims).astype(np.float32)
    (expected,) = ort_run(proto, {"x": x})
    graph = load_onnx(proto)
    for stage in (graph, run_float_pipeline(graph), run_pipeline(graph)):
        y = run_float(stage, {"x": x})["y"]
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * max(1, abs(expected).max()))


def test_networks_become_nhwc_with_one_transpose_per_border(model):
    for case, transposes in ((residual(), 1), (keyword(), 1), (shuffle(), 3), (attention(), 3)):
        proto = model(case.nodes, {"x": case.dims}, ["y"], case.constants, case.opset)
        graph = run_float_pipeline(load_onnx(proto))
        assert sum(n.op == "Transpose" for n in graph.nodes) == transposes, case.name
        assert not any(n.op in ("BatchNorm", "Clip", "Flatten") for n in graph.nodes), case.name


@pytest.mark.parametrize("case", [residual(), shuffle(), keyword()], ids=str)
def test_float_pipeline_keeps_the_batch_free(case, model, ort_run):
    from octavo.ops import infer_graph

    proto = model(case.nodes, {"x": ["N", *case.dims[1:]]}, ["y"], case.constants, case.opset)
    graph = load_onnx(proto)
    assert graph.dynamic == {"x": ("N", *(None,) * (len(case.dims) - 1))}
    dims = (3, *case.dims[1:])
    optimized = infer_graph(run_float_pipeline(graph), {"x": dims})
    x = np.random.default_rng(SEED).standard_normal(dims).astype(np.float32)
    (expected,) = ort_run(proto, {"x": x})
    np.testing.assert_allclose(run_float(optimized, {"x": x})["y"], expected, rtol=1e-4, atol=1e-4)

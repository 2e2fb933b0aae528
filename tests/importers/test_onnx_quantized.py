# SPDX-License-Identifier: Apache-2.0
"""QDQ and QOperator models: recognised as integer graphs, and equal to ONNX Runtime.

Weights stay within [-63, 63]: on CPUs without VNNI, ONNX Runtime multiplies u8 by s8 in 16-bit
pairs that saturate at 32767, and 2 * 255 * 63 = 32130 is the largest pair that cannot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from octavo.importers.onnx import load_onnx
from octavo.passes import run_pipeline
from octavo.quant import dequantize
from octavo.reference import run_int

onnx = pytest.importorskip("onnx")
node = onnx.helper.make_node
SEED = 20240613
pytestmark = pytest.mark.witness
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
        self.nodes.append(node(op, list(inputs), [out], **attrs))
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


def conv(b: Build, x: str, out: int, scale: float, bias: str = "dq", **attrs: Any) -> str:
    """Conv of `x`, whose scale is `scale`, with weights of 3x3 and a bias of the given kind."""
    axis = attrs.pop("axis", 0)
    w, w_scale = b.weights(out, 3, 3, 3, axis=axis, kind=attrs.pop("kind", "s8"))
    extra = [b.bias(out, np.float32(scale) * w_scale, bias == "dq")] if bias else []
    return b.op("Conv", x, w, *extra, pads=[1, 1, 1, 1], **attrs)


def conv_relu(b: Build) -> str:
    y = conv(b, b.qdq("x", 0.02, 120), 8, 0.02)
    return b.qdq(b.op("Relu", y), 0.03, 0)


def conv_s8_per_tensor_float_bias(b: Build) -> str:
    y = conv(b, b.qdq("x", 0.02, -7), 8, 0.02, "float", axis=None, strides=[2, 2])
    return b.qdq(y, 0.03, 5)


def conv_u8_weights(b: Build) -> str:
    return b.qdq(conv(b, b.qdq("x", 0.02, 120), 8, 0.02, axis=None, kind="u8"), 0.03, 99)


def conv_relu6_same_parameters(b: Build) -> str:
    y = b.qdq(conv(b, b.qdq("x", 0.02, 120), 8, 0.02, ""), 0.05, 60)
    y = b.op("Clip", y, b.const(np.float32(0)), b.const(np.float32(6)))
    return b.qdq(y, 0.05, 60)


def conv_relu_other_parameters(b: Build) -> str:
    y = b.qdq(conv(b, b.qdq("x", 0.02, 120), 8, 0.02), 0.05, 60)
    return b.qdq(b.op("Relu", y), 0.02, 0)


def residual_multi_consumer(b: Build) -> str:
    x = b.qdq("x", 0.02, 120)
    y = b.qdq(conv(b, x, 3, 0.02), 0.04, 100)
    z = b.op("Relu", b.op("Add", y, x))
    return b.qdq(z, 0.05, 0)


def pools_and_linear(b: Build) -> str:
    y = b.qdq(b.op("Relu", conv(b, b.qdq("x", 0.02, 120), 8, 0.02)), 0.03, 0)
    y = b.qdq(b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.03, 0)
    y = b.qdq(b.op("Flatten", y), 0.03, 0)
    w, scale = b.weights(10, 8 * 3 * 4, axis=0)
    y = b.op("Gemm", y, w, b.bias(10, np.float32(0.03) * scale, True), transB=1)
    return b.qdq(y, 0.05, 128)


def matmul(b: Build) -> str:
    w, _ = b.weights(8, 10, axis=1)
    return b.qdq(b.op("MatMul", b.qdq("x", 0.02, 120), w), 0.01, 128)


def concat_rescaled(b: Build) -> str:
    x = b.qdq("x", 0.02, 120)
    left = b.qdq(conv(b, x, 4, 0.02), 0.05, 100)
    right = b.qdq(conv(b, x, 4, 0.02), 0.03, 130)
    y = b.op("Concat", left, right, axis=1)
    y = b.op("Reshape", y, b.const(np.array([0, 2, 4, 6, 8])))
    y = b.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    y = b.op("Reshape", y, b.const(np.array([0, 8, 6, 8])))
    return b.qdq(y, 0.05, 110)


def unary(op: str, scale: float, zero_point: int, **attrs: Any) -> Any:
    def build(b: Build) -> str:
        return b.qdq(b.op(op, b.qdq("x", 0.05, 100), **attrs), scale, zero_point)

    build.__name__ = op.lower()
    return build


def swish(b: Build) -> str:
    x = b.qdq("x", 0.05, 100)
    return b.qdq(b.op("Mul", x, b.qdq(b.op("Sigmoid", x), 1 / 256, 0)), 0.04, 10)


def padded_slice(b: Build) -> str:
    y = b.op("Pad", b.qdq("x", 0.05, 100), b.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    y = b.op("Slice", b.qdq(y, 0.05, 100), *(b.const(np.array([n])) for n in (1, 7, 2)))
    return b.qdq(y, 0.05, 100)


IMAGE = [2, 3, 6, 8]
#: (builder, input dims, activation type, largest difference from ONNX Runtime, float ops left)
QDQ = [
    (conv_relu, IMAGE, "u8", 0),
    (conv_s8_per_tensor_float_bias, IMAGE, "s8", 0),
    (conv_u8_weights, IMAGE, "u8", 0),
    (conv_relu6_same_parameters, IMAGE, "u8", 0),
    (conv_relu_other_parameters, IMAGE, "u8", 0),
    (residual_multi_consumer, IMAGE, "u8", 1),
    (pools_and_linear, IMAGE, "u8", 0),
    (matmul, [5, 8], "u8", 0),
    (concat_rescaled, IMAGE, "u8", 0),
    (unary("Sigmoid", 1 / 256, 0), IMAGE, "u8", 1),
    (unary("LeakyRelu", 0.03, 90, alpha=0.1), IMAGE, "u8", 0),
    (unary("Tanh", 1 / 128, 128), IMAGE, "u8", 0),
    (unary("HardSigmoid", 1 / 256, 0), IMAGE, "u8", 0),
    (unary("Softmax", 1 / 256, 0, axis=-1), IMAGE, "u8", 1),
    (unary("GlobalAveragePool", 0.02, 100), IMAGE, "u8", 1),
    (unary("AveragePool", 0.0413, 90, kernel_shape=[3, 3], strides=[2, 2]), IMAGE, "u8", 1),
    (unary("ReduceMean", 0.02, 100, axes=[2, 3], keepdims=0), IMAGE, "u8", 1),
    (swish, IMAGE, "u8", 1),
    (padded_slice, IMAGE, "u8", 0),
]  # fmt: skip


@pytest.mark.parametrize(
    "build, dims, kind, bound", QDQ, ids=lambda item: getattr(item, "__name__", None)
)
def test_qdq_equals_onnxruntime(build, dims, kind, bound, model, ort_run):
    b = Build(dims, kind)
    y = build(b)
    proto = model(b.nodes, {"x": dims}, [y], b.constants)
    check(proto, {"x": b.rng.normal(0, 1.5, dims).astype(np.float32)}, bound, ort_run)


def check(proto: Any, feeds: Any, bound: int, ort_run: Any, floats: tuple[str, ...] = ()) -> Any:
    """Integer throughout, and at most `bound` output steps from ONNX Runtime, 0.1 % of the time."""
    graph = run_pipeline(load_onnx(proto))
    left = {n.op for n in graph.nodes if not graph.values[n.outputs[0]].is_8bit}
    assert left <= {"DequantizeLinear", "Transpose", *floats}, graph.notes
    assert not graph.notes or floats
    (name,) = graph.outputs
    y = run_int(graph, feeds)[name]
    (expected,) = ort_run(proto, feeds)
    assert y.shape == expected.shape
    step = 1.0
    if y.dtype == np.float32:
        stored = graph.values[graph.producers[name].inputs[0]]
        step = stored.scale
    distance = np.rint(np.abs(y.astype(np.float64) - expected) / step)
    print(f"seed {SEED}: share equal {np.mean(distance == 0):.6f}")
    assert distance.max() <= bound
    assert np.mean(distance > 0) <= 0.001 if bound else True
    return graph


def test_relu_between_equal_parameters_is_a_clamp(model):
    b = Build(IMAGE)
    proto = model(b.nodes, {"x": IMAGE}, [conv_relu6_same_parameters(b)], b.constants)
    graph = run_pipeline(load_onnx(proto))
    (layer,) = [n for n in graph.nodes if n.op == "Conv"]
    assert layer.attrs["clamp"] == (0.0, 6.0)
    assert not any(n.op == "Clip" for n in graph.nodes)


def quantized(rng: np.random.Generator, dims: list[int], kind: str = "uint8") -> np.ndarray:
    low, high = (0, 256) if kind == "uint8" else (-128, 128)
    return rng.integers(low, high, dims).astype(kind)


def test_qlinear_conv(model, ort_run):
    b = Build(IMAGE)
    w = b.rng.integers(-63, 64, (8, 3, 3, 3)).astype(np.int8)
    scale = b.rng.uniform(0.001, 0.01, 8).astype(np.float32)
    y = b.op(
        "QLinearConv", "x", *b.params(0.02, 120), b.const(w), b.const(scale),
        b.const(np.zeros(8, np.int8)), *b.params(0.05, 30),
        b.const(b.rng.integers(-999, 999, 8).astype(np.int32)), pads=[1, 0, 2, 1],
    )  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", IMAGE)}, [y], b.constants)
    graph = check(proto, {"x": quantized(b.rng, IMAGE)}, 0, ort_run)
    assert [n.op for n in graph.nodes if n.op not in ("Transpose",)] == ["Conv"]
    assert graph.values["x"].scale == np.float32(0.02)
    assert graph.values["x"].zero_point == 120


def test_qlinear_matmul(model, ort_run):
    b = Build([5, 8])
    w = b.rng.integers(-63, 64, (8, 4)).astype(np.int8)
    scale = b.rng.uniform(0.001, 0.01, 4).astype(np.float32)
    y = b.op("QLinearMatMul", "x", *b.params(0.02, 120), b.const(w), b.const(scale),
             b.const(np.zeros(4, np.int8)), *b.params(0.03, 30))  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", [5, 8])}, [y], b.constants)
    check(proto, {"x": quantized(b.rng, [5, 8])}, 0, ort_run)


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
def test_microsoft_operators(op, attrs, bound, model, ort_run):
    b = Build(IMAGE)
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
    check(model(b.nodes, inputs, [y], b.constants), feeds, bound, ort_run)


def test_pool_channels_last(model, ort_run):
    dims = [2, 6, 8, 3]
    b = Build(dims)
    y = b.op("QLinearGlobalAveragePool", "x", *b.params(0.02, 120), *b.params(0.01, 100),
             domain="com.microsoft", channels_last=1)  # fmt: skip
    proto = model(b.nodes, {"x": ("uint8", dims)}, [y], b.constants)
    check(proto, {"x": quantized(b.rng, dims)}, 1, ort_run)


@pytest.mark.parametrize("float_output", [False, True])
def test_qgemm(float_output, model, ort_run):
    b = Build([5, 8])
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
        check(proto, feeds, 0, ort_run)
        return
    graph = run_pipeline(load_onnx(proto))
    assert "used in float32" in next(iter(graph.notes.values()))
    (expected,) = ort_run(proto, feeds)
    np.testing.assert_allclose(run_int(graph, feeds)[y], expected, rtol=1e-5, atol=1e-5)


def test_weights_quantized_in_the_file_by_quantize_linear(model, ort_run):
    """QAT exporters keep float weights behind Q and DQ, transposed before the product."""
    b = Build([5, 8])
    w = b.const(b.rng.integers(-63, 64, (4, 8)).astype(np.float32) * np.float32(0.01))
    scale = np.full(4, 0.01, np.float32)
    stored = b.op("QuantizeLinear", w, *b.params(scale, 0, "s8"), axis=0)
    real = b.op("DequantizeLinear", stored, *b.params(scale, 0, "s8"), axis=0)
    x = b.qdq("x", 0.02, 120)
    y = b.qdq(b.op("MatMul", x, b.op("Transpose", real, perm=[1, 0])), 0.03, 128)
    proto = model(b.nodes, {"x": [5, 8]}, [y], b.constants)
    check(proto, {"x": b.rng.normal(0, 1.5, (5, 8)).astype(np.float32)}, 0, ort_run)


def test_reading_under_other_parameters_is_a_cast(model, ort_run):
    b = Build(IMAGE)
    stored = b.q("x", 0.05, 100)
    y = b.q(b.op("Sigmoid", b.dq(stored, 0.1, 128)), 1 / 256, 0)
    proto = model(b.nodes, {"x": IMAGE}, [y], b.constants)
    graph = check(proto, {"x": b.rng.normal(0, 2, IMAGE).astype(np.float32)}, 1, ort_run)
    assert [n.op for n in graph.nodes] == ["QuantizeLinear", "QuantCast", "Sigmoid"]


def test_bias_at_the_end_of_int32_of_a_dead_channel(model):
    """A weight scale near 0 gives a bias of -2^31, which must not push the layer to float32."""
    b = Build(IMAGE)
    data = b.rng.integers(-63, 64, (2, 3, 3, 3)).astype(np.int8)
    scale = np.array([0.01, 1e-14], np.float32)
    bias = np.array([100, -(2**31)], np.int32)
    w = b.dq(b.const(data), scale, 0, "s8", axis=0)
    shift = b.op("DequantizeLinear", b.const(bias), b.const(scale * np.float32(0.02)), axis=0)
    y = b.q(b.op("Conv", b.qdq("x", 0.02, 120), w, shift), 0.05, 0)
    graph = run_pipeline(load_onnx(model(b.nodes, {"x": IMAGE}, [y], b.constants)))
    assert graph.notes == {}
    (layer,) = [n for n in graph.nodes if n.op == "Conv"]
    stored = graph.values[layer.inputs[2]].data
    assert stored[0] == 100
    assert -(2**31) < stored[1] < -(2**31) + 2 * 63 * 27 * 255


def test_reasons_name_what_to_do(model):
    b = Build(IMAGE)
    x = b.qdq("x", 0.02, 120)
    y = b.op("Relu", b.op("Exp", conv(b, x, 4, 0.02)))
    z = b.qdq(b.op("Sub", y, b.op("Transpose", y, perm=[0, 1, 2, 3])), 0.1, 0)
    graph = run_pipeline(load_onnx(model(b.nodes, {"x": IMAGE}, [z], b.constants)))
    notes = {graph.producers[n.outputs[0]].op: graph.notes[n.name] for n in graph.nodes
             if n.name in graph.notes}  # fmt: skip
    assert notes["Conv"].endswith("put QuantizeLinear and DequantizeLinear behind it")
    assert "put QuantizeLinear and DequantizeLinear before this node" in notes["Exp"]
    assert notes["Sub"] == "Sub has no integer form"


def test_bias_out_of_int32_stays_float(model):
    b = Build(IMAGE)
    w, _ = b.weights(4, 3, 1, 1)
    y = b.q(b.op("Conv", b.qdq("x", 0.02, 120), w, b.const(np.full(4, 1e9, np.float32))), 1e7, 0)
    graph = run_pipeline(load_onnx(model(b.nodes, {"x": IMAGE}, [y], b.constants)))
    assert [reason for reason in graph.notes.values() if "exceeds int32" in reason]


def test_bias_of_another_scale_is_rounded_to_the_right_one(model):
    b = Build(IMAGE)
    w, scale = b.weights(4, 3, 1, 1, axis=0)
    data = b.rng.integers(-3000, 3000, 4).astype(np.int32)
    real = b.op("DequantizeLinear", b.const(data), b.const(np.float32(0.001)))
    y = b.q(b.op("Conv", b.qdq("x", 0.02, 120), w, real), 0.03, 0)
    graph = run_pipeline(load_onnx(model(b.nodes, {"x": IMAGE}, [y], b.constants)))
    (layer,) = [n for n in graph.nodes if n.op == "Conv"]
    bias = graph.values[layer.inputs[2]]
    product = np.float32(0.02) * scale
    np.testing.assert_array_equal(bias.affine.scale, product)
    wanted = np.rint(dequantize(data, 0.001, 0).astype(np.float64) / product.astype(np.float64))
    assert np.abs(bias.data - wanted).max() <= 1

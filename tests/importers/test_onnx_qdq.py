# SPDX-License-Identifier: Apache-2.0
"""QDQ models: recognised as integer graphs, and equal to ONNX Runtime.

Weights stay within [-63, 63]: on CPUs without VNNI, ONNX Runtime multiplies u8 by s8 in 16-bit
pairs that saturate at 32767, and 2 * 255 * 63 = 32130 is the largest pair that cannot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from octavo.importers.onnx import load_onnx
from octavo.passes import run_pipeline
from octavo.quant import dequantize

pytestmark = pytest.mark.witness


def conv(b: Any, x: str, out: int, scale: float, bias: str = "dq", **attrs: Any) -> str:
    """Conv of `x`, whose scale is `scale`, with weights of 3x3 and a bias of the given kind."""
    axis = attrs.pop("axis", 0)
    w, w_scale = b.weights(out, 3, 3, 3, axis=axis, kind=attrs.pop("kind", "s8"))
    extra = [b.bias(out, np.float32(scale) * w_scale, bias == "dq")] if bias else []
    return b.op("Conv", x, w, *extra, pads=[1, 1, 1, 1], **attrs)


def conv_relu(b: Any) -> str:
    y = conv(b, b.qdq("x", 0.02, 120), 8, 0.02)
    return b.qdq(b.op("Relu", y), 0.03, 0)


def conv_s8_per_tensor_float_bias(b: Any) -> str:
    y = conv(b, b.qdq("x", 0.02, -7), 8, 0.02, "float", axis=None, strides=[2, 2])
    return b.qdq(y, 0.03, 5)


def conv_u8_weights(b: Any) -> str:
    return b.qdq(conv(b, b.qdq("x", 0.02, 120), 8, 0.02, axis=None, kind="u8"), 0.03, 99)


def conv_relu6_same_parameters(b: Any) -> str:
    y = b.qdq(conv(b, b.qdq("x", 0.02, 120), 8, 0.02, ""), 0.05, 60)
    y = b.op("Clip", y, b.const(np.float32(0)), b.const(np.float32(6)))
    return b.qdq(y, 0.05, 60)


def conv_relu_other_parameters(b: Any) -> str:
    y = b.qdq(conv(b, b.qdq("x", 0.02, 120), 8, 0.02), 0.05, 60)
    return b.qdq(b.op("Relu", y), 0.02, 0)


def residual_multi_consumer(b: Any) -> str:
    x = b.qdq("x", 0.02, 120)
    y = b.qdq(conv(b, x, 3, 0.02), 0.04, 100)
    z = b.op("Relu", b.op("Add", y, x))
    return b.qdq(z, 0.05, 0)


def pools_and_linear(b: Any) -> str:
    y = b.qdq(b.op("Relu", conv(b, b.qdq("x", 0.02, 120), 8, 0.02)), 0.03, 0)
    y = b.qdq(b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]), 0.03, 0)
    y = b.qdq(b.op("Flatten", y), 0.03, 0)
    w, scale = b.weights(10, 8 * 3 * 4, axis=0)
    y = b.op("Gemm", y, w, b.bias(10, np.float32(0.03) * scale, True), transB=1)
    return b.qdq(y, 0.05, 128)


def matmul(b: Any) -> str:
    w, _ = b.weights(8, 10, axis=1)
    return b.qdq(b.op("MatMul", b.qdq("x", 0.02, 120), w), 0.01, 128)


def concat_rescaled(b: Any) -> str:
    x = b.qdq("x", 0.02, 120)
    left = b.qdq(conv(b, x, 4, 0.02), 0.05, 100)
    right = b.qdq(conv(b, x, 4, 0.02), 0.03, 130)
    y = b.op("Concat", left, right, axis=1)
    y = b.op("Reshape", y, b.const(np.array([0, 2, 4, 6, 8])))
    y = b.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    y = b.op("Reshape", y, b.const(np.array([0, 8, 6, 8])))
    return b.qdq(y, 0.05, 110)


def unary(op: str, scale: float, zero_point: int, **attrs: Any) -> Any:
    def build(b: Any) -> str:
        return b.qdq(b.op(op, b.qdq("x", 0.05, 100), **attrs), scale, zero_point)

    build.__name__ = op.lower()
    return build


def swish(b: Any) -> str:
    x = b.qdq("x", 0.05, 100)
    return b.qdq(b.op("Mul", x, b.qdq(b.op("Sigmoid", x), 1 / 256, 0)), 0.04, 10)


def padded_slice(b: Any) -> str:
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
def test_qdq_equals_onnxruntime(build, dims, kind, bound, model, sketch, check):
    b = sketch(dims, kind)
    y = build(b)
    proto = model(b.nodes, {"x": dims}, [y], b.constants)
    check(proto, {"x": b.rng.normal(0, 1.5, dims).astype(np.float32)}, bound)


def test_relu_between_equal_parameters_is_a_clamp(model, sketch):
    b = sketch(IMAGE)
    proto = model(b.nodes, {"x": IMAGE}, [conv_relu6_same_parameters(b)], b.constants)
    graph = run_pipeline(load_onnx(proto))
    (layer,) = [n for n in graph.nodes if n.op == "Conv"]
    assert layer.attrs["clamp"] == (0.0, 6.0)
    assert not any(n.op == "Clip" for n in graph.nodes)


def test_weights_quantized_in_the_file_by_quantize_linear(model, sketch, check):
    """QAT exporters keep float weights behind Q and DQ, transposed before the product."""
    b = sketch([5, 8])
    w = b.const(b.rng.integers(-63, 64, (4, 8)).astype(np.float32) * np.float32(0.01))
    scale = np.full(4, 0.01, np.float32)
    stored = b.op("QuantizeLinear", w, *b.params(scale, 0, "s8"), axis=0)
    real = b.op("DequantizeLinear", stored, *b.params(scale, 0, "s8"), axis=0)
    x = b.qdq("x", 0.02, 120)
    y = b.qdq(b.op("MatMul", x, b.op("Transpose", real, perm=[1, 0])), 0.03, 128)
    proto = model(b.nodes, {"x": [5, 8]}, [y], b.constants)
    check(proto, {"x": b.rng.normal(0, 1.5, (5, 8)).astype(np.float32)}, 0)


def test_reading_under_other_parameters_is_a_cast(model, sketch, check):
    b = sketch(IMAGE)
    stored = b.q("x", 0.05, 100)
    y = b.q(b.op("Sigmoid", b.dq(stored, 0.1, 128)), 1 / 256, 0)
    proto = model(b.nodes, {"x": IMAGE}, [y], b.constants)
    graph = check(proto, {"x": b.rng.normal(0, 2, IMAGE).astype(np.float32)}, 1)
    assert [n.op for n in graph.nodes] == ["QuantizeLinear", "QuantCast", "Sigmoid"]


def test_bias_at_the_end_of_int32_of_a_dead_channel(model, sketch):
    """A weight scale near 0 gives a bias of -2^31, which must not push the layer to float32."""
    b = sketch(IMAGE)
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


def test_reasons_name_what_to_do(model, sketch):
    b = sketch(IMAGE)
    x = b.qdq("x", 0.02, 120)
    y = b.op("Relu", b.op("Exp", conv(b, x, 4, 0.02)))
    z = b.qdq(b.op("Sub", y, b.op("Transpose", y, perm=[0, 1, 2, 3])), 0.1, 0)
    graph = run_pipeline(load_onnx(model(b.nodes, {"x": IMAGE}, [z], b.constants)))
    notes = {graph.producers[n.outputs[0]].op: graph.notes[n.name] for n in graph.nodes
             if n.name in graph.notes}  # fmt: skip
    assert notes["Conv"].endswith("put QuantizeLinear and DequantizeLinear behind it")
    assert "put QuantizeLinear and DequantizeLinear before this node" in notes["Exp"]
    assert notes["Sub"] == "Sub has no integer form"


def test_bias_out_of_int32_stays_float(model, sketch):
    b = sketch(IMAGE)
    w, _ = b.weights(4, 3, 1, 1)
    y = b.q(b.op("Conv", b.qdq("x", 0.02, 120), w, b.const(np.full(4, 1e9, np.float32))), 1e7, 0)
    graph = run_pipeline(load_onnx(model(b.nodes, {"x": IMAGE}, [y], b.constants)))
    assert [reason for reason in graph.notes.values() if "exceeds int32" in reason]


def test_bias_of_another_scale_is_rounded_to_the_right_one(model, sketch):
    b = sketch(IMAGE)
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

# SPDX-License-Identifier: Apache-2.0
"""The quantized models that tests and tools/witness.py run: built in code, or from shared data.

Built ones need nothing but the `onnx` extra and this repository. Shared ones lie in the folder that
the environment variable OCTAVO_SHARED names (default: ../shared beside the repository).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import octavo

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # `bench` is not installed

from bench.inputs import natural_input, random_feed  # noqa: E402
from bench.onnx_info import input_specs, output_steps  # noqa: E402

from bench import zoo  # noqa: E402

__all__ = [
    "MODELS", "NotAvailableError", "WitnessModel", "feed", "mixed_model", "output_steps",
    "qoperator_model",
]  # fmt: skip

Array = NDArray[Any]
Feed = dict[str, Array]
CALIBRATION_SEED = 1000


class NotAvailableError(Exception):
    """The model needs a file that this machine does not have; the text says which."""


@dataclass(frozen=True)
class WitnessModel:
    """`write(folder)` gives the path of the ONNX file; `big` ones take seconds in scalar code."""

    name: str
    kind: str  # QDQ or QOperator
    write: Callable[[Path], Path]
    big: bool = False


def shared_folder() -> Path:
    return Path(os.environ.get("OCTAVO_SHARED", ROOT.parent / "shared"))


def _shared(relative: str) -> Callable[[Path], Path]:
    def locate(_: Path) -> Path:
        path = shared_folder() / "models" / relative
        if not path.is_file():
            raise NotAvailableError(f"NOT RUN: no {relative} in the shared models (OCTAVO_SHARED)")
        return path

    return locate


def _quantized(name: str, model: onnx.ModelProto, calibration: list[Array], folder: Path) -> Path:
    source, target = folder / f"{name}_f32.onnx", folder / f"{name}.onnx"
    onnx.save_model(model, source)
    octavo.quantize(source, calibration).to_onnx(target)
    return target


def _zoo(name: str) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        batches = [zoo.random_input(name, CALIBRATION_SEED + i, batch=4) for i in range(2)]
        return _quantized(name, zoo.ZOO[name](), batches, folder)

    return build


def _digits(_: Path) -> Path:
    return Path(octavo.__file__).parent / "demo" / "digits_qdq.onnx"


#: Every activation function, both pools, concat, pad, slice, a squeeze-and-excite product.
_MIXED = """
<ir_version: 8, opset_import: ["" : 17]>
mixed (float[N, 3, 20, 24] x) => (float[N, 10] y) {
  stem = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x, w0, b0)
  swish = HardSwish(stem)
  pooled = MaxPool<kernel_shape = [3, 3], strides = [1, 1], pads = [1, 1, 1, 1]>(swish)
  mean = AveragePool<kernel_shape = [2, 2], pads = [0, 0, 1, 1]>(swish)
  leaky = LeakyRelu<alpha = 0.1>(mean)
  joined = Concat<axis = 1>(pooled, leaky)
  squeezed = GlobalAveragePool(joined)
  hidden = Conv(squeezed, w1, b1)
  gate = Sigmoid(hidden)
  scaled = Mul(joined, gate)
  dilated = Conv<pads = [2, 2, 2, 2], dilations = [2, 2], group = 4>(scaled, w2)
  tanh = Tanh(dilated)
  deep = Conv<strides = [2, 1], pads = [2, 2, 2, 2], group = 24>(tanh, w3, b3)
  hard = HardSigmoid<alpha = 0.3>(deep)
  sum = Add(hard, hard_shift)
  head = GlobalAveragePool(sum)
  flat = Flatten(head)
  logits = Gemm<transB = 1>(flat, w4, b4)
  y = Softmax<axis = 1>(logits)
}
"""


def mixed_model() -> onnx.ModelProto:
    """Float network with the operators that the zoo lacks; weights seeded."""
    rng = np.random.default_rng(20240607)
    model = onnx.parser.parse_model(_MIXED)
    shapes = {
        "w0": (12, 3, 3, 3), "b0": (12,), "w1": (24, 24, 1, 1), "b1": (24,), "w2": (24, 6, 3, 3),
        "w3": (24, 1, 5, 5), "b3": (24,), "hard_shift": (1, 24, 1, 1), "w4": (10, 24), "b4": (10,),
    }  # fmt: skip
    for name, shape in shapes.items():
        fan_in = int(np.prod(shape[1:])) if name.startswith("w") else 4
        data = rng.laplace(0, 1.2 / np.sqrt(fan_in), shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(data, name))
    return model


def _mixed(folder: Path) -> Path:
    batches = [natural_input((4, 3, 20, 24), CALIBRATION_SEED + i) for i in range(2)]
    return _quantized("mixed_ops", mixed_model(), batches, folder)


class _QOperators:
    """Writes QOperator nodes with their scales and zero points as initializers."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, data: Array) -> str:
        self.constants.append(numpy_helper.from_array(data, name))
        return name

    def affine(self, name: str, scale: Any, zero_point: Any, dtype: type) -> list[str]:
        return [
            self.constant(f"{name}_scale", np.asarray(scale, np.float32)),
            self.constant(f"{name}_zero", np.asarray(zero_point, dtype)),
        ]

    def weights(self, name: str, shape: tuple[int, ...], dtype: type) -> list[str]:
        """Per-channel s8, or u8 per tensor with a zero point that is not 128."""
        if dtype is np.uint8:
            data = self.rng.integers(0, 256, shape, np.uint8)
            return [self.constant(name, data), *self.affine(name, 0.004, 119, np.uint8)]
        data = self.rng.integers(-127, 128, shape, np.int8)
        scales = self.rng.uniform(0.002, 0.006, shape[0])
        return [self.constant(name, data), *self.affine(name, scales, [0] * shape[0], np.int8)]

    def node(self, op: str, inputs: list[str], output: str, **attrs: Any) -> None:
        domain = "com.microsoft" if op == "QLinearAdd" else ""
        self.nodes.append(helper.make_node(op, inputs, [output], op, domain=domain, **attrs))
        self.nodes[-1].name = f"{op}_{output}"


def qoperator_model(dtype: type) -> onnx.ModelProto:
    """QLinearConv (grouped, depthwise, strided), QLinearAdd, QLinearMatMul on u8 or s8.

    In u8 the scales of the addition are round numbers, which makes one sum in 15 an exact tie.
    """
    q = _QOperators(7 if dtype is np.uint8 else 8)
    zero, unit = (128, 1.0) if dtype is np.uint8 else (0, 0.9731)
    x = ["x_q", *q.affine("x", 4.9 / 255, zero - 20, dtype)]
    q.node("QuantizeLinear", ["x", *x[1:]], "x_q")
    a = ["a", *q.affine("a", 0.05, zero + 3, dtype)]
    bias = q.constant("a_bias", q.rng.integers(-4000, 4000, 16).astype(np.int32))
    q.node("QLinearConv", [*x, *q.weights("wa", (16, 3, 3, 3), dtype), *a[1:], bias], "a",
           kernel_shape=[3, 3], pads=[1, 1, 1, 1])  # fmt: skip
    d = ["d", *q.affine("d", 0.035 * unit, zero - 7, dtype)]
    q.node("QLinearConv", [*a, *q.weights("wd", (16, 1, 3, 3), np.int8), *d[1:]], "d",
           kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=16)  # fmt: skip
    s = ["s", *q.affine("s", 0.07 * unit**2, zero + 11, dtype)]
    q.node("QLinearAdd", [*a, *d, *s[1:]], "s")
    g = ["g", *q.affine("g", 0.16, zero, dtype)]
    q.node("QLinearConv", [*s, *q.weights("wg", (8, 8, 3, 3), dtype), *g[1:]], "g",
           kernel_shape=[3, 3], strides=[2, 2], group=2)  # fmt: skip
    shape = q.constant("flat_shape", np.array([0, -1], np.int64))
    q.node("Reshape", ["g", shape], "flat")
    y = ["y_q", *q.affine("y", 0.6, zero + 1, dtype)]
    w = [q.constant("wm", q.rng.integers(-127, 128, (8 * 7 * 7, 10), np.int8)),
         *q.affine("wm", 0.003, 0, np.int8)]  # fmt: skip
    q.node("QLinearMatMul", ["flat", *g[1:], *w, *y[1:]], "y_q")
    q.node("DequantizeLinear", y, "y")
    graph = helper.make_graph(
        q.nodes,
        f"qoperator_{np.dtype(dtype).name}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10))],
        q.constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _qoperator(dtype: type) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = folder / f"qoperator_{np.dtype(dtype).name}.onnx"
        onnx.save_model(qoperator_model(dtype), path)
        return path

    return build


MODELS = (
    WitnessModel("digits", "QDQ", _digits),
    WitnessModel("mixed_ops", "QDQ", _mixed),
    WitnessModel("qoperator_u8", "QOperator", _qoperator(np.uint8)),
    WitnessModel("qoperator_s8", "QOperator", _qoperator(np.int8)),
    WitnessModel("kws_ds_cnn", "QDQ", _zoo("kws_ds_cnn")),
    WitnessModel("resnet8", "QDQ", _zoo("resnet8")),
    WitnessModel("ad_autoencoder", "QDQ", _zoo("ad_autoencoder")),
    WitnessModel("vww_mobilenet_v1", "QDQ", _zoo("vww_mobilenet_v1_025_96")),
    WitnessModel("conv_s8s8", "QDQ", _shared("onnxruntime_tests/conv_qdq_s8s8.onnx")),
    WitnessModel(
        "conv_s8s8_channel", "QDQ", _shared("onnxruntime_tests/conv_qdq_s8s8_perchannel.onnx")
    ),
    WitnessModel("conv_u8u8", "QDQ", _shared("onnxruntime_tests/conv_qdq_u8u8.onnx")),
    WitnessModel(
        "reshape_norm", "QDQ", _shared("onnxruntime_tests/layout_transform_reshape.qdq.onnx")
    ),
    WitnessModel(
        "edgetpu_blocks",
        "QDQ",
        _shared("onnxruntime_tests/qdq_with_multi_consumer_dq_nodes.onnx"),
        big=True,
    ),
    WitnessModel("mobilenet_v2_244", "QDQ", _shared("onnxruntime_tests/model.onnx"), big=True),
    WitnessModel(
        "shufflenet_v2", "QOperator", _shared("onnx_models/shufflenet-v2-12-int8.onnx"), big=True
    ),
)


def _input_ranges(model: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    """Float input -> the real range of the QuantizeLinear that reads it."""
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    ranges = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and len(node.input) > 2:
            scale, zero = constants.get(node.input[1]), constants.get(node.input[2])
            if scale is not None and zero is not None and scale.size == 1:
                limits, z = np.iinfo(zero.dtype), int(zero.reshape(()))
                s = float(scale.reshape(()))
                ranges[node.input[0]] = ((limits.min - z) * s, (limits.max - z) * s)
    return ranges


def feed(model: onnx.ModelProto, seed: int) -> Feed:
    """One seeded input at batch 1, like a photo, spread over the 8 bits of the input."""
    ranges = _input_ranges(model)
    arrays: Feed = {}
    for index, spec in enumerate(input_specs(model)):
        array = random_feed(spec.shape, spec.dtype, seed + 7919 * index)
        if spec.name in ranges and np.issubdtype(spec.dtype, np.floating):
            low, high = ranges[spec.name]
            array = low + (array.astype(np.float64) + 2.2) / 4.9 * (high - low)
        arrays[spec.name] = np.ascontiguousarray(array, spec.dtype)
    return arrays

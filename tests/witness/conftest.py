# SPDX-License-Identifier: Apache-2.0
"""Float networks, what several quantizers make of them, and the runtimes that judge the result.

ONNX Runtime and OpenVINO multiply u8 by s8 with saturating instructions on CPUs without VNNI. ONNX
Runtime has a precise mode; for OpenVINO either its integer kernels are switched off, or weights are
halved to 7 bits, whose products cannot saturate.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT))

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")

import octavo  # noqa: E402

SEED = 20241124
#: Convolutions of both kinds, relu and relu6, addition, both pools, concat, gemm.
SMALL = """
<ir_version: 8, opset_import: ["" : 17]>
small (float[N, 3, 24, 20] x) => (float[N, 10] y) <float lo = {0.0}, float hi = {6.0}> {
  c0 = Conv<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x, w0, b0)
  r0 = Relu(c0)
  d1 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 16>(r0, w1, b1)
  r1 = Clip(d1, lo, hi)
  p1 = Conv<kernel_shape = [1, 1]>(r1, w2, b2)
  s1 = Add(p1, r0)
  m1 = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(s1)
  a1 = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(s1)
  j1 = Concat<axis = 1>(m1, a1)
  c2 = Conv<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(j1, w3, b3)
  r2 = Relu(c2)
  g = GlobalAveragePool(r2)
  f = Flatten(g)
  y = Gemm<transB = 1>(f, w4, b4)
}
"""
_SHAPES = {
    "w0": (16, 3, 3, 3), "b0": (16,), "w1": (16, 1, 3, 3), "b1": (16,), "w2": (16, 16, 1, 1),
    "b2": (16,), "w3": (24, 32, 3, 3), "b3": (24,), "w4": (10, 24), "b4": (10,),
}  # fmt: skip


def small_net():
    """The float network with seeded weights."""
    rng = np.random.default_rng(SEED)
    model = onnx.parser.parse_model(SMALL)
    for name, shape in _SHAPES.items():
        fan_in = int(np.prod(shape[1:])) if name.startswith("w") else 4
        data = rng.normal(0, 1.4 / np.sqrt(fan_in), shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
    return model


def small_images(count, seed):
    """Smooth pictures with some noise, [count, 3, 24, 20]."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (count, 3, 6, 5)).repeat(4, 2).repeat(4, 3)
    return (coarse + rng.normal(0, 0.3, coarse.shape)).astype(np.float32)


@pytest.fixture(scope="session")
def float_small(tmp_path_factory):
    """(path of the float model, calibration batches, images to compare on)."""
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save_model(small_net(), path)
    return path, [small_images(8, SEED + i) for i in range(4)], small_images(64, SEED + 9)


@pytest.fixture(scope="session")
def exported(float_small, tmp_path_factory):
    """Name -> (QDQ file written by `to_onnx`, images); skips where the network is absent."""
    folder, known = tmp_path_factory.mktemp("exported"), {}

    def load(name):
        if name not in known:
            known[name] = _digits() if name == "digits" else _quantized(name, float_small, folder)
        return known[name]

    return load


def _digits():
    folder = Path(octavo.__file__).parent / "demo"
    with np.load(folder / "digits_heldout.npz") as data:
        images = data["test_images"][:64, None].astype(np.float32)
    return folder / "digits_qdq.onnx", images


def _quantized(name, small, folder):
    path, calibration, images = small if name == "small" else _real(name)
    target = folder / f"{name}.onnx"
    octavo.quantize(path, calibration).to_onnx(target)
    return target, images


def _real(name):
    from bench import accuracy

    file, data = accuracy.SUITE[name]
    path = accuracy.SHARED / "models" / "float" / file
    if not path.is_file():
        pytest.skip(f"NOT RUN: {file} is not under OCTAVO_SHARED")
    if data is accuracy.cifar10:
        images, _, calibration = data()
        calibration = calibration[:20]
    else:
        calibration = _pictures("imagenet_calibration_300", 20)
        images = _pictures("imagenet_val_650", 4)
    return path, [calibration[at : at + 10] for at in (0, 10)], images[:4]


def _pictures(folder, count):
    from bench import accuracy

    pillow = pytest.importorskip("PIL.Image", reason="NOT RUN: Pillow is not installed")
    files = sorted((accuracy.SHARED / "data" / folder).glob("*.[jJ][pP]*[gG]"))[:count]
    pictures = [np.asarray(pillow.open(f).convert("RGB"))[1:225, 1:225] for f in files]
    return accuracy.normalized(np.stack(pictures))


@pytest.fixture(scope="session")
def openvino_run() -> Callable[..., np.ndarray]:
    """First output of OpenVINO; `integer=False` computes the QDQ file in float32."""
    ov = pytest.importorskip("openvino", reason="NOT RUN: openvino is not installed: .[bench]")
    core = ov.Core()

    def run(model, feed, integer=True):
        config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        if not integer:
            config["LP_TRANSFORMS_MODE"] = "NO"
        read = core.read_model(io.BytesIO(model.SerializeToString()))
        return core.compile_model(read, "CPU", config)(feed)[0]

    return run


def halved_weights(model):
    """A copy with weights of 7 bits (and so with other outputs): no two products saturate int16."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {c.name: c for c in copy.graph.initializer}
    read = {n.input[0] for n in copy.graph.node if n.op_type == "DequantizeLinear"}
    for name in read & set(constants):
        data = onnx.numpy_helper.to_array(constants[name])
        if data.dtype == np.int8:
            half = np.trunc(data / 2).astype(np.int8)
            constants[name].CopyFrom(onnx.numpy_helper.from_array(half, name))
    return copy


@pytest.fixture(scope="session")
def halved() -> Callable[..., onnx.ModelProto]:
    return halved_weights


@dataclass
class Tally:
    """Values compared, equal ones, and the largest difference in steps."""

    count: int = 0
    equal: int = 0
    largest: float = 0.0

    def add(self, found, expected, step=1.0):
        assert found.shape == expected.shape
        steps = np.rint(np.abs(found.astype(np.float64) - expected.astype(np.float64)) / step)
        self.count += steps.size
        self.equal += int((steps == 0).sum())
        self.largest = max(self.largest, float(steps.max()))
        return steps

    @property
    def share(self):
        return self.equal / self.count


@pytest.fixture
def tally() -> Callable[[], Tally]:
    return Tally

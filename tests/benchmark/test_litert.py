# SPDX-License-Identifier: Apache-2.0
"""LiteRT's adapter on a TFLite file built here with the schema that its package ships."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="NOT RUN: LiteRT is not installed: .[bench]")

import flatbuffers
from ai_edge_litert import schema_py_generated as tfl

from octavo.benchmark.load import measure_load
from octavo.benchmark.peers import LiteRt

WEIGHTS = np.arange(8, dtype=np.float32).reshape(2, 4)


def _tensor(name, shape, buffer):
    tensor = tfl.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
    tensor.type = tfl.TensorType.FLOAT32
    return tensor


@pytest.fixture
def tflite_path(tmp_path):
    """y[1,2] = x[1,4] · WEIGHTSᵀ in float32."""
    operator = tfl.OperatorT()
    operator.inputs, operator.outputs = [0, 1, -1], [2]
    operator.builtinOptionsType = tfl.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = tfl.FullyConnectedOptionsT()
    code = tfl.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = tfl.BuiltinOperator.FULLY_CONNECTED
    graph = tfl.SubGraphT()
    graph.tensors = [_tensor("x", [1, 4], 0), _tensor("w", [2, 4], 1), _tensor("y", [1, 2], 0)]
    graph.inputs, graph.outputs, graph.operators = [0], [2], [operator]
    constants = tfl.BufferT()
    constants.data = np.frombuffer(WEIGHTS.tobytes(), np.uint8)
    model = tfl.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [tfl.BufferT(), constants]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "linear.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path


def test_outputs_precision_and_fresh_arrays(tflite_path):
    model = LiteRt().load(tflite_path, threads=1)
    x = np.array([[1, 2, 3, 4]], np.float32)
    first = model.outputs({"x": x})["y"]
    np.testing.assert_allclose(first, x @ WEIGHTS.T)
    model.outputs({"x": 2 * x})
    np.testing.assert_allclose(first, x @ WEIGHTS.T)
    assert model.precision() == {"float32": 1}
    assert model.bind is None


def test_random_feed_has_the_types_of_the_file(tflite_path):
    feed = LiteRt().feed(tflite_path, seed=3)
    assert feed["x"].shape == (1, 4) and feed["x"].dtype == np.float32
    np.testing.assert_array_equal(feed["x"], LiteRt().feed(tflite_path, seed=3)["x"])


def test_load_figures(tflite_path):
    runtime = LiteRt()
    feed = runtime.feed(tflite_path, seed=1)
    found = measure_load(runtime, tflite_path, feed, threads=1, isa=None, repeats=1)
    assert found.import_ms > 0 and found.load_ms > 0

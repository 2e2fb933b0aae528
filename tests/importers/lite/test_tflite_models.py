# SPDX-License-Identifier: Apache-2.0
"""Real TFLite models: every integer layer is within one step of LiteRT's on LiteRT's own inputs."""

from __future__ import annotations

import numpy as np
import pytest

import octavo
from octavo import ops
from octavo.errors import UnsupportedError
from octavo.importers.tflite_file import read_file

SEED = 20241123
FLOAT = [
    "mlperf_tiny/ad01_fp32",
    "mlperf_tiny/pretrainedResnet",
    "mlperf_tiny/vww_96_float",
    "mltk/rock_paper_scissors.float32",
]
INT8 = [
    "arm_kws/cnn_s_quantized",
    "arm_kws/ds_cnn_s_quantized",
    "mlperf_tiny/ad01_int8",
    "mlperf_tiny/kws_ref_model",
    "mlperf_tiny/pretrainedResnet_quant",
    "mlperf_tiny/str_ww_ref_model",
    "mlperf_tiny/vww_96_int8",
    "mltk/audio_example1",
    "mltk/autoencoder_example",
    "mltk/image_example1",
    "mltk/keyword_spotting_mobilenetv2",
    "mltk/rock_paper_scissors",
]
#: model: what its refusal must name
REFUSED = {
    "coral/deeplabv3_mnv2_dm05_pascal_quant": "'ArgMax' .ARG_MAX.*take the largest outside",
    "coral/keras_lstm_mnist_ptq": "UNIDIRECTIONAL_SEQUENCE_LSTM.*unroll",
    "micro_wake_word/alexa": "CALL_ONCE.*without streaming",
}


class Peer:
    """LiteRT as installed (with its XNNPACK delegate), keeping every tensor."""

    def __init__(self, path):
        package = pytest.importorskip(
            "ai_edge_litert.interpreter", reason="NOT RUN: LiteRT is not installed: .[bench]"
        )
        self.interpreter = package.Interpreter(
            str(path), num_threads=1, experimental_preserve_all_tensors=True
        )
        self.interpreter.allocate_tensors()
        self.numbers = {name: at for at, name in enumerate(read_file(path.read_bytes()).tensors)}

    def run(self):
        """Runs on seeded inputs and returns them."""
        rng, feed = np.random.default_rng(SEED), {}
        for detail in self.interpreter.get_input_details():
            kind, shape = np.dtype(detail["dtype"]), tuple(detail["shape"])
            if kind == np.float32:
                x = rng.normal(0, 2, shape).astype(np.float32)
            else:
                x = rng.integers(-128, 128, shape).astype(kind)
            self.interpreter.set_tensor(detail["index"], x)
            feed[detail["name"]] = x
        self.interpreter.invoke()
        return feed

    def tensor(self, name):
        """A tensor's contents; None where LiteRT has none (fused away, or not its name)."""
        try:
            return self.interpreter.get_tensor(self.numbers[name])
        except (KeyError, ValueError):
            return None


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
@pytest.mark.parametrize("name", INT8)
def test_every_layer_is_within_one_step(name, shared_model):
    path = shared_model(f"{name}.tflite")
    graph, peer = octavo.load(path).graph, Peer(path)
    assert not graph.notes
    peer.run()
    compared = equal = 0
    for node in graph.nodes:
        inputs = [graph.values[item] if item else None for item in node.inputs]
        (y,) = graph.outputs_of(node)
        if not y.is_8bit or not inputs[0].is_8bit:
            continue
        args = [
            None if v is None else v.data if v.data is not None else peer.tensor(v.name)
            for v in inputs
        ]
        expected = peer.tensor(y.name)
        if expected is None or args[0] is None:
            continue
        (found,) = ops.get(node).int_ref(node, args, inputs, [y])
        steps = np.abs(found.astype(int) - expected.astype(int))
        assert steps.max() <= 1, node.label()
        compared += steps.size
        equal += int((steps == 0).sum())
    print(f"seed {SEED}: {compared} values, equal {equal / compared:.6f}")
    assert equal >= (0.85 if "image_example1" in name else 0.999) * compared


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
@pytest.mark.parametrize("name", FLOAT)
def test_float_outputs(name, shared_model):
    path = shared_model(f"{name}.tflite")
    peer = Peer(path)
    outputs = octavo.load(path).compile().run(peer.run())
    for key, found in outputs.items():
        np.testing.assert_allclose(found, peer.tensor(key), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name, shared_model):
    with pytest.raises(UnsupportedError, match=REFUSED[name]):
        octavo.load(shared_model(f"{name}.tflite"))


def test_int8_weights_of_a_float_model_are_made_real(shared_model):
    """LiteRT would quantize activations at run time there."""
    model = octavo.load(shared_model("mlperf_tiny/kws_ref_model_float32.tflite"))
    assert not any(value.is_8bit for value in model.graph.values.values())


def test_round_trip_and_batches(shared_model, tmp_path):
    model = octavo.load(shared_model("mlperf_tiny/kws_ref_model.tflite"))
    assert model.inputs[0].shape[0] == "N"
    model.save(tmp_path / "kws.octavo")
    x = np.random.default_rng(SEED).integers(-128, 128, (5, 49, 10, 1)).astype(np.int8)
    saved = octavo.load(tmp_path / "kws.octavo").compile(strict=True)
    together = next(iter(saved.run(x).values()))
    single = [next(iter(model.compile(strict=True).run(row[None]).values())) for row in x]
    np.testing.assert_array_equal(together, np.concatenate(single))


@pytest.mark.parametrize(
    "name", ["mlperf_tiny/kws_ref_model", "mlperf_tiny/vww_96_int8", "mltk/audio_example1"]
)
def test_becomes_an_onnx_file_of_the_same_bytes(name, shared_model, tmp_path):
    """NHWC inputs and outputs stay NHWC; ONNX Runtime in its precise mode agrees."""
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    model = octavo.load(shared_model(f"{name}.tflite"))
    model.to_onnx(tmp_path / "m.onnx")
    (info,) = model.inputs
    shape = (1, *info.shape[1:])
    x = np.random.default_rng(SEED).integers(-128, 128, shape).astype(np.int8)
    expected = next(iter(model.compile().run(x).values()))
    again = octavo.load(tmp_path / "m.onnx").compile(strict=True).run(x)
    np.testing.assert_array_equal(next(iter(again.values())), expected)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"), options)
    np.testing.assert_array_equal(session.run(None, {info.name: x})[0], expected)

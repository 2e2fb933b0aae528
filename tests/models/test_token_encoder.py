# SPDX-License-Identifier: Apache-2.0
"""An encoder with the inputs of an exported BERT: int64 tokens and an attention mask."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: onnx is not installed: .[dev]")

from bench.zoo_transformer import Encoder, EncoderBuilder  # noqa: E402

import octavo  # noqa: E402
from octavo.importers.onnx import load_onnx  # noqa: E402
from octavo.passes import run_pipeline  # noqa: E402
from octavo.reference import run_float  # noqa: E402

SIZES = Encoder(layers=2, width=36, heads=3, hidden=70, positions=21, vocabulary=50)


def sample(seed, length=21):
    """`length` tokens and padding behind them."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 50, (1, 21))
    mask = (np.arange(21) < length).astype(np.int64).reshape(1, 21)
    return {"input_ids": ids * mask, "attention_mask": mask}


@pytest.fixture(scope="module")
def float_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "float.onnx"
    onnx.save_model(EncoderBuilder("tokens", SIZES, seed=6).build(), path)
    return path


@pytest.fixture(scope="module")
def quantized(float_model):
    path = float_model.with_name("qdq.onnx")
    # no padding in the calibration data: the mask must not depend on it
    octavo.quantize(float_model, calibration=[sample(seed) for seed in range(8)]).to_onnx(path)
    return path


def cosine(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2))


def test_float_equals_onnxruntime(float_model):
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    theirs = ort.InferenceSession(str(float_model), providers=["CPUExecutionProvider"])
    session = octavo.load(float_model).compile(threads=1)
    for length in (21, 9):
        feeds = sample(3, length)
        want = theirs.run(None, feeds)[0]
        np.testing.assert_allclose(session.run(feeds)["output"], want, rtol=0, atol=2e-4)


def test_only_the_mask_and_what_it_touches_stay_float(quantized):
    graph = run_pipeline(load_onnx(quantized))
    floats = {
        node.op
        for node in graph.nodes
        if graph.values[node.outputs[0]].dtype == "f32" and node.op != "DequantizeLinear"
    }
    assert floats == {"Cast", "Sub", "Mul", "Add", "Softmax"}
    table = next(node for node in graph.nodes if node.op == "Gather")
    assert graph.values[table.inputs[0]].is_8bit


@pytest.mark.parametrize("threads", [1, 3])
def test_close_to_float_with_and_without_padding(float_model, quantized, isa, threads):
    graph = load_onnx(float_model)
    session = octavo.load(quantized).compile(isa=isa, threads=threads)
    for length in (21, 9, 1):
        feeds = sample(4, length)
        want = run_float(graph, feeds)["output"]
        have = session.run(feeds)["output"]
        assert cosine(want[:, :length], have[:, :length]) > 0.99, length


def test_same_bits_on_every_isa(quantized, isa):
    feeds = sample(5, 13)
    want = octavo.load(quantized).compile(isa="scalar", threads=1).run(feeds)["output"]
    for threads in (1, 4):
        have = octavo.load(quantized).compile(isa=isa, threads=threads).run(feeds)["output"]
        np.testing.assert_array_equal(have, want)


def test_tokens_outside_the_vocabulary_do_no_harm(quantized):
    """Taken to the nearest end: -50 is the first, 10^15 the last."""
    session = octavo.load(quantized).compile(threads=1)
    feeds = sample(6)
    wild = {**feeds, "input_ids": feeds["input_ids"].copy()}
    wild["input_ids"][0, :3] = 10**15, -(10**15), -1
    feeds["input_ids"][0, :3] = 49, 0, 49
    np.testing.assert_array_equal(session.run(wild)["output"], session.run(feeds)["output"])

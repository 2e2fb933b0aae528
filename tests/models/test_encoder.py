# SPDX-License-Identifier: Apache-2.0
"""A small encoder as exporters write it: everything in integers, the same bits on every ISA."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: onnx is not installed: .[dev]")

from bench.zoo_transformer import Encoder, EncoderBuilder  # noqa: E402

import octavo  # noqa: E402
from octavo.importers.onnx import load_onnx  # noqa: E402
from octavo.passes import run_model_pipeline, run_pipeline  # noqa: E402
from octavo.plan.lowering import lower  # noqa: E402
from octavo.reference import run_float, run_int  # noqa: E402

# Neither width, heads nor positions are multiples of a tile.
SIZES = Encoder(layers=2, width=36, heads=3, hidden=70, positions=21)


def samples(count, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, (1, 21, 36)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def float_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder") / "float.onnx"
    onnx.save_model(EncoderBuilder("encoder", SIZES, seed=5).build(), path)
    return path


@pytest.fixture(scope="module")
def quantized(float_model):
    path = float_model.with_name("qdq.onnx")
    octavo.quantize(float_model, calibration=samples(8, 1)).to_onnx(path)
    return path


def only(outputs):
    (array,) = outputs.values()
    return array


def test_written_out_forms_become_one_operator_each(float_model):
    ops = [node.op for node in run_model_pipeline(load_onnx(float_model)).nodes]
    assert "Erf" not in ops and "Div" not in ops, "Gelu and the scaling of scores are folded"
    assert ops.count("Gelu") == 2 and ops.count("Linear") == 12 and ops.count("Add") == 4


def test_folding_keeps_the_meaning(float_model):
    raw = load_onnx(float_model)
    feeds = {"input": samples(1, 2)[0]}
    want = only(run_float(raw, feeds))
    have = only(run_float(run_model_pipeline(raw), feeds))
    np.testing.assert_allclose(have, want, rtol=0, atol=2e-5)


def test_nothing_stays_float(quantized):
    graph = run_pipeline(load_onnx(quantized))
    assert not graph.notes
    edges = {"QuantizeLinear", "DequantizeLinear"}
    floats = [
        node.op
        for node in graph.nodes
        if node.op not in edges and not graph.values[node.outputs[0]].is_8bit
    ]
    assert floats == []


def test_heads_are_split_and_merged_without_copies(quantized):
    graph = run_pipeline(load_onnx(quantized))
    kinds = {step.kind for step in lower(graph).steps}
    assert "matmul_s8" in kinds and "copy" not in kinds


def test_keeping_every_value_changes_nothing(quantized):
    """Views included: with `keep_all` each tensor keeps its bytes."""
    model = octavo.load(quantized)
    x = samples(1, 6)[0]
    want = model.compile(threads=1).run({"input": x})["output"]
    have = model.compile(threads=1, keep_all=True).run({"input": x})["output"]
    np.testing.assert_array_equal(have, want)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_same_bits_as_the_norm(quantized, isa, threads):
    graph = run_pipeline(load_onnx(quantized))
    session = octavo.load(quantized).compile(isa=isa, threads=threads)
    for x in samples(3, 3):
        want = only(run_int(graph, {"input": x}))
        np.testing.assert_array_equal(session.run({"input": x})["output"], want)


def test_close_to_float(float_model, quantized):
    session = octavo.load(quantized).compile(threads=1)
    graph = load_onnx(float_model)
    for x in samples(3, 4):
        want, have = only(run_float(graph, {"input": x})), session.run({"input": x})["output"]
        cosine = np.sum(want * have) / np.sqrt(np.sum(want**2) * np.sum(have**2))
        assert cosine > 0.995


@pytest.mark.witness
def test_close_to_onnxruntime(quantized):
    """It computes Softmax, LayerNormalization and Gelu in float32: a step apart here and there."""
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    theirs = ort.InferenceSession(str(quantized), options, providers=["CPUExecutionProvider"])
    session = octavo.load(quantized).compile(threads=1)
    for x in samples(3, 5):
        want, have = theirs.run(None, {"input": x})[0], session.run({"input": x})["output"]
        cosine = np.sum(want * have) / np.sqrt(np.sum(want**2) * np.sum(have**2))
        assert cosine > 0.999

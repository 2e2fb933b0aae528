# SPDX-License-Identifier: Apache-2.0
"""Real models: those in scope go through every pass, the others are refused by name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from octavo.errors import UnsupportedError
from octavo.importers.onnx import load_onnx
from octavo.ir import verify
from octavo.passes import PIPELINE, run_float_pipeline, run_pipeline
from octavo.reference import run_float, run_int

SEED = 20240614
QUANTIZED = {
    "onnx_models/shufflenet-v2-12-int8.onnx": set(),
    "onnxruntime_tests/conv_qdq_s8s8.onnx": set(),
    "onnxruntime_tests/conv_qdq_s8s8_perchannel.onnx": set(),
    "onnxruntime_tests/conv_qdq_u8u8.onnx": set(),
    "onnxruntime_tests/layout_transform_reshape.qdq.onnx": {"Sub", "Div"},
    "onnxruntime_tests/model.onnx": set(),
    "onnxruntime_tests/qdq_with_multi_consumer_dq_nodes.onnx": {"Add", "Transpose"},
}
FLOAT = [
    "float/mobilenetv2_1.0_imagenet_f32.onnx",
    "float/resnet20_cifar10_f32.onnx",
    "float/squeezenet1.1_imagenet_f32.onnx",
]
#: model: what its refusal must name
REFUSED = {
    "float/magika_standard_v3_3.onnx": "Expand",
    "float/silero_vad_op18_ifless.onnx": "Equal",
    "onnxruntime_tests/dynamic_quantize_matmul_int8_bias.onnx": "'b_scale' is computed",
}


@pytest.mark.parametrize("name", [*FLOAT, *QUANTIZED])
def test_every_pass_leaves_a_sound_graph(name, shared_model):
    graph = load_onnx(shared_model(name))
    for function in PIPELINE:
        graph = verify(function(graph))
    again = Counter(node.op for node in run_pipeline(graph).nodes)
    assert again == Counter(node.op for node in graph.nodes), "the pipeline is not idempotent"


@pytest.mark.parametrize("name", QUANTIZED)
def test_quantized_models_run_in_integers(name, shared_model):
    graph = run_pipeline(load_onnx(shared_model(name)))
    noted = {node.op for node in graph.nodes if node.name in graph.notes}
    assert noted == QUANTIZED[name], dict(graph.notes)
    rng = np.random.default_rng(SEED)
    feeds = {n: rng.normal(size=graph.values[n].shape).astype(np.float32) for n in graph.inputs}
    for array in run_int(graph, feeds).values():
        assert np.isfinite(array).all()


@pytest.mark.witness
@pytest.mark.parametrize("name", FLOAT)
def test_float_models_equal_onnxruntime(name, shared_model, ort_run):
    import onnx

    path = shared_model(name)
    graph = load_onnx(path)
    assert list(graph.dynamic.values()) == [("N", None, None, None)]
    rng = np.random.default_rng(SEED)
    feeds = {n: rng.normal(size=graph.values[n].shape).astype(np.float32) for n in graph.inputs}
    (expected,) = ort_run(onnx.load(path), feeds)
    optimized = run_float_pipeline(graph)
    transposes = [node for node in optimized.nodes if node.op == "Transpose"]
    assert len(transposes) == 1, "one change of layout, at the input"
    for stage in (graph, optimized):
        (y,) = run_float(stage, feeds).values()
        assert np.abs(y - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name, part", REFUSED.items())
def test_models_out_of_scope_are_refused_by_name(name, part, shared_model):
    with pytest.raises(UnsupportedError, match=part):
        load_onnx(shared_model(name))

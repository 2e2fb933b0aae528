# SPDX-License-Identifier: Apache-2.0
"""`octavo compare --bisect`."""

from dataclasses import replace

import numpy as np
import pytest

import octavo


@pytest.fixture
def damaged(int8_onnx, tmp_path):
    """(file of the digits network with one layer's weights zeroed, that layer)."""
    pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    graph = octavo.load(int8_onnx).source
    node = [node for node in graph.nodes if node.op == "Conv"][1]
    name = graph.producers[node.inputs[1]].inputs[0]
    value = graph.values[name]
    zeroed = replace(value, data=np.zeros_like(value.data))
    octavo.Model(graph.with_(values={**graph.values, name: zeroed})).to_onnx(tmp_path / "bad.onnx")
    return tmp_path / "bad.onnx", node.name


def test_it_names_the_layer_and_writes_it(octavo_cli, damaged, float_onnx, digits, tmp_path):
    model, layer = damaged
    common = ("compare", model, "--reference", float_onnx, "--input", digits, "--bisect")
    result = octavo_cli(*common, "--output", tmp_path / "culprit", "--json")
    assert result.code == 0, result.err
    assert result.json["culprit"]["nodes"] == [layer]
    assert len(result.json["files"]) == 7
    text = octavo_cli(*common).out
    assert layer in text
    assert "all zero" in text


def test_no_error_is_no_failure(octavo_cli, int8_onnx, float_onnx, digits):
    common = ("compare", int8_onnx, "--reference", float_onnx, "--input", digits)
    for options in (("--bisect", "--threshold", "5"), ("--bisect", "mismatch")):
        result = octavo_cli(*common, *options)
        assert (result.code, "show no error" in result.out) == (0, True), result
    octavo_cli(*common, "--threshold", "5").refused("InvalidArgumentError", "--bisect")

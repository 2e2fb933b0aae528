# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as outside witness: outputs in 8-bit steps, and every layer on its own inputs."""

import pytest

pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
pytest.importorskip("onnxruntime", reason="NOT RUN: needs pip install onnxruntime")
pytest.importorskip("rich", reason="NOT RUN: needs pip install rich")

import numpy as np
import onnx

import witness
import witness_layers
import witness_models

pytestmark = pytest.mark.witness

SEEDS = (0, 1)
#: ONNX Runtime adds with FMA, which moves sums that lie on a rounding boundary by one. Through the
#: layers behind such an addition the difference grows.
ADDITIONS = {"Add", "QLinearAdd", "Add+Relu"}
AFTER_ADDITIONS = {"edgetpu_blocks", "mobilenet_v2_244", "qoperator_u8"}


@pytest.fixture(scope="session")
def witnesses(model_path):
    made = {}

    def compare(name):
        if name not in made:
            known = {model.name: model for model in witness_models.MODELS}
            made[name] = witness.compare(known[name], model_path(name), SEEDS)
        return made[name]

    return compare


def test_outputs(witnesses, model_name):
    row = witnesses(model_name)
    print(row.to_dict())
    if model_name in AFTER_ADDITIONS:
        assert row.differences or row.outputs.share() > 0.9
        return
    assert row.outputs.share() >= 0.999
    assert row.outputs.far == 0


def test_layers(witnesses, model_name):
    """Only additions differ, by one, and only where the real sum lies on a rounding boundary."""
    row = witnesses(model_name)
    print(row.to_dict())
    assert row.layer_count > 0 and not row.refused
    assert row.layers.far == 0
    assert set(row.differences) <= ADDITIONS
    for found in row.differences.values():
        assert found.ties == found.different and found.largest == 1
        assert found.ours <= 0.5 + witness.TIE
    if model_name != "qoperator_u8":  # its scales make one sum in 15 a tie
        assert row.layers.share() >= 0.9999


def test_pieces_cover_the_model():
    model = witness_models.qoperator_model(np.uint8)
    found = witness_layers.pieces(model)
    assert [piece.op for piece in found] == [
        "QuantizeLinear", "QLinearConv", "QLinearConv", "QLinearAdd", "QLinearConv",
        "Reshape+QLinearMatMul",
    ]  # fmt: skip
    assert set(found[3].inputs) == {"a", "d"}


def test_private_constants_leave_the_model_as_it_is(model_path):
    model = onnx.load(model_path("qoperator_u8"))
    feed = witness_models.feed(model, 3)
    copy = witness_layers.with_private_constants(model)
    onnx.checker.check_model(copy)
    names = [name for node in copy.graph.node for name in node.input]
    constants = {c.name for c in copy.graph.initializer}
    assert all(names.count(name) == 1 for name in constants)
    for a, b in zip(
        witness.onnx_runtime(model, precise=False).run(None, feed),
        witness.onnx_runtime(copy, precise=False).run(None, feed),
        strict=True,
    ):
        assert (a == b).all()

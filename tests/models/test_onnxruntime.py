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
#: ONNX Runtime adds with both zero points folded into one rounded constant, which moves sums that
#: lie on a rounding boundary by one (`test_additions_differ_by_the_folded_zero_points`). The layers
#: behind such an addition let the difference grow.
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


@pytest.mark.parametrize("name", sorted(AFTER_ADDITIONS))
@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_differ_only_where_a_layer_does(model_path, name, seed):
    known = {model.name: model for model in witness_models.MODELS}
    row = witness.compare(known[name], model_path(name), [seed])
    print(row.to_dict())
    assert row.differences or row.outputs.share() == 1.0


def test_outputs(witnesses, model_name):
    if model_name in AFTER_ADDITIONS:
        pytest.skip("settled by test_outputs_differ_only_where_a_layer_does")
    row = witnesses(model_name)
    print(row.to_dict())
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


def test_additions_differ_by_the_folded_zero_points(model_path):
    """a · ra + (b · rb + c), c = z_y - (ra · z_a + rb · z_b) rounded: exactly their sums."""
    model = onnx.load(model_path("qoperator_u8"))
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in model.graph.initializer}
    (node,) = [node for node in model.graph.node if node.op_type == "QLinearAdd"]
    names = [node.input[0], node.input[3], node.output[0]]
    scales = [np.float32(constants[node.input[i]]) for i in (1, 4, 6)]
    za, zb, zy = (int(constants[node.input[i]]) for i in (2, 5, 7))
    ra, rb = scales[0] / scales[2], scales[1] / scales[2]
    inner = np.float32(np.float64(ra) * za + np.float64(np.float32(rb * np.float32(zb))))
    constant = np.float32(zy - np.float64(inner))
    session = witness.onnx_runtime(witness_layers.with_outputs(model, names))
    for seed in range(4):
        a, b, found = session.run(names, witness_models.feed(model, seed))
        y = a.astype(np.float32) * ra + (b.astype(np.float32) * rb + constant)
        np.testing.assert_array_equal(found, np.clip(np.rint(y), 0, 255).astype(np.uint8))


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

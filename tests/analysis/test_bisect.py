# SPDX-License-Identifier: Apache-2.0
"""`octavo.bisect` finds the node that was damaged, within its bound of runs, and writes a part that
shows the error by itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from planted import FAULTS, candidates, plant
from small_nets import images

import octavo
from octavo.analysis import bisect as bisect_module
from octavo.errors import InvalidArgumentError
from octavo.quantization.recipe import Rule


def single_bound(places: int) -> int:
    return math.ceil(math.log2(places)) + 3


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault, seed, quantized_net):
    model = quantized_net(seed)
    names = candidates(model, fault)
    node = names[np.random.default_rng(100 * seed + len(fault)).integers(len(names))]
    print(f"seed {seed}: {fault} in {node}")
    found = octavo.bisect(plant(model, node, fault), images(4, 7))
    assert found is not None
    assert found.nodes == (node,)
    assert found.alone_db < found.before_db - 3
    assert found.runs <= single_bound(found.places)
    if fault != "zero point":  # it moves ranges by different amounts
        assert any(node in hint for hint in found.hints), found


def test_a_fault_between_16_bit_tensors_is_found(tmp_path):
    from small_nets import residual_net

    wide = Rule.for_nodes(["conv1", "conv2"], precision="int16")
    recipe = octavo.Recipe().with_rules(wide)
    model = octavo.quantize(residual_net(0, blocks=1), [images(16, 1)], recipe=recipe)
    found = octavo.bisect(plant(model, "conv2", "weights zeroed"), images(4, 7))
    assert found.nodes == ("conv2",)
    assert {value.dtype for value in found.part.values.values()} >= {"s16", "s8", "f32"}
    found.write(tmp_path)
    got = octavo.load(tmp_path / "culprit.octavo").compile().run(dict(found.inputs))
    for name, array in got.items():
        np.testing.assert_array_equal(array, found.outputs[name])


def test_a_wrong_input_scale_is_found_at_the_input(quantized_net):
    model = quantized_net(0)
    value = model.source.values["x/q"]
    bad = replace(value, quant=octavo.ir.Affine.per_tensor(value.scale / 50, value.zero_point))
    graph = model.source.with_(values={**model.source.values, "x/q": bad})
    found = octavo.bisect(octavo.Model(graph, reference=model.reference), images(4, 7))
    assert found.nodes == ("x/quantize",)


def test_an_error_gathered_over_many_nodes_is_said_to_be_so(quantized_net):
    data = images(4, 7)
    first = octavo.bisect(quantized_net(0), data)
    assert first.alone_db - first.whole_db <= 6.1
    found = octavo.bisect(quantized_net(0), data, threshold_db=first.whole_db + 0.3)
    assert len(found.nodes) > 1
    assert found.hints == ()
    assert found.alone_db <= first.whole_db + 0.3 < found.before_db
    assert found.runs <= found.bound == 2 * math.ceil(math.log2(found.places)) + 3


def test_a_threshold_decides_what_an_error_is(quantized_net):
    model = quantized_net(0)
    assert octavo.bisect(model, images(4, 7), threshold_db=20.0) is None
    found = octavo.bisect(plant(model, "conv5", "weights zeroed"), images(4, 7), threshold_db=25.0)
    assert found.nodes == ("conv5",)


def test_a_kernel_that_breaks_the_norm_is_found(quantized_net, monkeypatch):
    model, right = quantized_net(1), bisect_module._execute
    assert octavo.bisect(model, images(2, 7), criterion="mismatch") is None
    for culprit in ("conv2", "add6", "concat11"):

        def wrong(part, arrays, culprit=culprit):
            (node,) = [n for n in part.nodes if n.name == culprit] or [None]
            if node is None:
                return right(part, arrays)
            w = next(v for v in part.values.values() if v.is_8bit and v.name == node.outputs[0])
            moved = octavo.ir.Affine.per_tensor(w.scale * 1.01, w.zero_point)
            values = {**part.values, w.name: replace(w, quant=moved)}
            return right(part.with_(values=values), arrays)

        monkeypatch.setattr(bisect_module, "_execute", wrong)
        found = octavo.bisect(model, images(2, 7), criterion="mismatch")
        assert found.nodes == (culprit,)
        assert found.runs <= single_bound(found.places)


def test_what_is_written_shows_the_error_by_itself(quantized_net, tmp_path):
    pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    found = octavo.bisect(plant(quantized_net(2), "conv4", "scale too small"), images(3, 7))
    written = {path.name for path in found.write(tmp_path / "culprit")}
    folder = tmp_path / "culprit"
    assert written == {
        *("culprit.octavo", "culprit.onnx", "culprit.json", "README.txt"),
        *("inputs.npz", "expected.npz", "got.npz"),
    }
    inputs, got = dict(np.load(folder / "inputs.npz")), np.load(folder / "got.npz")
    for name in ("culprit.octavo", "culprit.onnx"):
        model = octavo.load(folder / name)
        assert [n.name for n in model.graph.nodes if n.op == "Conv"] == ["conv4"]
        for output, array in model.compile().run(inputs).items():
            np.testing.assert_array_equal(array, got[output], err_msg=name)
    expected = np.load(folder / "expected.npz")
    assert all(np.abs(got[n] - expected[n]).max() > 0.1 for n in expected.files)
    assert json.loads((folder / "culprit.json").read_text())["nodes"] == ["conv4"]
    assert "conv4 (Conv): alone brings" in (folder / "README.txt").read_text()


def test_bad_arguments_are_refused(quantized_net):
    with pytest.raises(InvalidArgumentError, match="sqnr, mismatch"):
        octavo.bisect(quantized_net(0), images(1, 7), criterion="best")
    with pytest.raises(InvalidArgumentError, match="other inputs or outputs"):
        other = octavo.ir.Graph(
            "other",
            (octavo.ir.Node("n", "Sigmoid", ("x",), ("z",)),),
            {n: octavo.ir.Value(n, "f32", (1, 8, 8, 3)) for n in ("x", "z")},
            ("x",),
            ("z",),
        )
        octavo.bisect(quantized_net(0), images(1, 7), reference=octavo.Model(other))


def test_faults_in_a_real_network_are_found(shared_float):
    pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    rng = np.random.default_rng(5)
    data = rng.standard_normal((4, 3, 32, 32)).astype(np.float32)
    model = octavo.quantize(shared_float("resnet20_cifar10_f32.onnx"), [data], ranges="minmax")
    for fault in ("weights zeroed", "outlier channel", "scale too small"):
        node = str(rng.choice(candidates(model, fault)))
        found = octavo.bisect(plant(model, node, fault), data[:2])
        assert found.nodes == (node,), fault
        assert found.runs <= single_bound(found.places)

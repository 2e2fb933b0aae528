# SPDX-License-Identifier: Apache-2.0
"""Rules of the diagnosis about what is no single damaged number."""

import json
from dataclasses import replace

import numpy as np
from faults import PLAIN, edit, encoder, nodes, residual, scaled
from small_nets import Net, images, residual_net

import octavo
from octavo.analysis.diagnosis import diagnose
from octavo.ir import constant, verify
from octavo.quantization.recipe import Recipe


def found(model, x, code, **more):
    return [f for f in diagnose(octavo.compare(model, x), **more).findings if f.code == code]


def test_a_range_beyond_the_fused_activation():
    net = Net(4)
    x = net.conv("x")
    net.nodes[0] = replace(net.nodes[0], attrs={**net.nodes[0].attrs, "clamp": (0.0, 0.5)})
    model = octavo.quantize(net.model(x), [images(32, 1)], recipe=PLAIN)
    assert not found(model, images(16, 2), "range_beyond_clamp")
    wide = edit(model, "conv0", "output", scaled(3.0))
    (beyond,) = found(wide, images(16, 2), "range_beyond_clamp")
    assert beyond.node == "conv0" and 0.6 < beyond.evidence["beyond"] < 0.7


def test_channels_that_never_change():
    graph = residual_net(2).source
    (node,) = [node for node in graph.nodes if node.name == "conv4"]
    weights = graph.values[node.inputs[1]].data.copy()
    weights[[1, 3]] = 0
    values = {**graph.values, node.inputs[1]: constant(node.inputs[1], weights)}
    floating = octavo.Model(verify(graph.with_(values=values)))
    model = octavo.quantize(floating, [images(32, 1)], recipe=PLAIN)
    silent = {f.node: f for f in found(model, images(16, 2), "silent_channels")}
    assert silent["conv4"].severity == "info" and silent["conv4"].evidence["constant_channels"] == 2


def test_other_data_within_the_input_range_are_drift():
    model, x = residual()
    low, high = x.min(), x.max()
    blocks = np.where(images(32, 9).mean(axis=(1, 2), keepdims=True) > 0, high, low)
    loud = np.ascontiguousarray(np.broadcast_to(blocks, (32, 8, 8, 3)) * np.float32(0.95))
    (drift,) = found(model, loud, "data_drift")
    assert drift.severity == "warning" and drift.node is None
    assert 0 < drift.evidence["outside"] <= drift.evidence["tensors"]
    assert not found(model, x, "data_drift")


def test_a_bias_near_the_end_of_int32():
    model, x = residual()
    name = nodes(model, "Conv")[2]

    def huge(value):
        data = value.data.copy()
        data[3] = 1_500_000_000
        return replace(value, data=data)

    (near,) = found(edit(model, name, "bias", huge), x, "bias_near_overflow")
    assert near.node == name and near.evidence == {"channel": 3, "bias": 1_500_000_000}


def test_a_coarse_normalization():
    model, batches = encoder()
    name = nodes(model, "LayerNorm")[0]
    coarse = edit(model, name, "output", scaled(12.0))
    noisy = {f.node for f in found(coarse, batches, "normalization_noise")}
    assert noisy == {name}


def test_the_noisiest_layers_are_named_where_no_rule_has_a_cause():
    model, x = residual()
    name = nodes(model, "Conv")[3]
    comparison = octavo.compare(edit(model, name, "output", scaled(3.9)), x)
    sums = comparison.statistics[name]
    sums.own_channel_noise = np.full(sums.channels, 0.1 * sums.own_signal / sums.channels)
    (noisy,) = [f for f in diagnose(comparison).findings if f.code == "own_noise"]
    assert noisy.node == name and noisy.severity == "warning"
    assert abs(noisy.evidence["own_db"] - 10.0) < 1e-9


def test_remedies_are_rules_that_recipes_take():
    """And they do what they are for."""
    model, x = residual()
    comparison = octavo.compare(model, x)
    for name in ("add3", "conv4"):
        sums = comparison.statistics[name]
        sums.own_channel_noise = np.full(sums.channels, 0.1 * sums.own_signal / sums.channels)
    noisy = [f for f in diagnose(comparison).findings if f.code == "own_noise"]
    assert {f.node for f in noisy} == {"add3", "conv4"}
    before = comparison.by_node()
    for finding in noisy:
        plain = {"format": "octavo-recipe", "version": 1, "equalize": False, "smooth": None}
        recipe = Recipe.from_dict({**plain, "rules": [json.loads(finding.remedy)]})
        better = octavo.quantize(octavo.Model(model.reference), [images(32, 53)], recipe=recipe)
        after = octavo.compare(better, x).by_node()[finding.node]
        assert after.precision in ("int16", "float32")
        assert after.own_db > before[finding.node].own_db + 1, finding

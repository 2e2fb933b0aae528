# SPDX-License-Identifier: Apache-2.0
"""Planted faults are named, node and kind; healthy networks raise no alarm."""

from dataclasses import replace

import numpy as np
import pytest
from faults import (
    NETS,
    PLAIN,
    changed,
    data,
    edit,
    nodes,
    one_channel,
    residual,
    rounded_away,
    scaled,
    shifted_bias,
    shuffled,
    zero_weight_points,
)
from planted import stored_name
from small_nets import Net, images, residual_net

import octavo
from octavo.analysis.diagnosis import diagnose
from octavo.errors import InvalidArgumentError
from octavo.ir import Affine, constant, verify

#: fault: (network, operators whose nth node gets it, n, where, change, codes that name it)
FAULTS = {
    "activation scale too small": (
        "residual", ("Conv",), 2, "output", scaled(0.1), {"range_too_small"}
    ),
    "activation scale too small, trained": (
        "digits", ("Conv",), 0, "output", scaled(0.2), {"range_too_small"}
    ),
    "activation scale too large": (
        "residual", ("Add",), 1, "output", scaled(40.0), {"range_too_large"}
    ),
    "activation scale too large, trained": (
        "digits", ("Conv",), 1, "output", scaled(40.0), {"range_too_large"}
    ),
    "zero point": ("residual", ("Conv",), 4, "output", scaled(1.0, 120), {"zero_point"}),
    "zero point, trained": ("digits", ("Linear",), 0, "output", scaled(1.0, -100), {"zero_point"}),
    "weight scale": ("residual", ("Conv",), 1, "weights", scaled(2.0), {"weight_scale"}),
    "weight scale, trained": ("digits", ("Conv",), 0, "weights", scaled(0.5), {"weight_scale"}),
    "weight scale of one channel": (
        "residual", ("Conv",), 3, "weights", scaled(30.0, channel=4), {"weight_scale_channel"}
    ),
    "weight scale of one channel, trained": (
        "digits", ("Conv",), 1, "weights", scaled(8.0, channel=5), {"weight_scale_channel"}
    ),
    "weight zero point": (
        "residual", ("Conv",), 5, "weights", zero_weight_points, {"weight_zero_point"}
    ),
    "weights zeroed": (
        "digits", ("Conv",), 1, "weights", data(np.zeros_like), {"weights_damaged"}
    ),
    "weights shuffled": ("residual", ("Conv",), 0, "weights", data(shuffled), {"weights_damaged"}),
    "one channel of the weights": (
        "digits", ("Conv",), 0, "weights", data(one_channel), {"weights_damaged"}
    ),
    "dead channel": ("residual", ("Conv",), 2, "weights", rounded_away, {"dead_channels"}),
    "bias shifted": ("residual", ("Conv",), 3, "bias", shifted_bias, {"bias"}),
    "bias scale": ("digits", ("Linear",), 0, "bias", scaled(30.0), {"bias"}),
    "layer norm's scale": (
        "encoder", ("LayerNorm",), 1, "output", scaled(0.2), {"range_too_small"}
    ),
    "an encoder's weights": (
        "encoder", ("Linear",), 2, "weights", scaled(3.0, channel=7), {"weight_scale_channel"}
    ),
    "a score's scale": ("encoder", ("MatMul",), 0, "output", scaled(60.0), {"range_too_large"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault):
    net, ops, index, where, change, codes = FAULTS[fault]
    model, x = NETS[net]()
    node = nodes(model, *ops)[index]
    broken = edit(model, node, where, change)
    top = diagnose(octavo.compare(broken, x)).findings[:3]
    named = [(found.node, found.code) for found in top]
    assert any(name == node and code in codes for name, code in named), (node, top)
    assert top[0].node == node, top
    assert top[0].severity in ("error", "warning")
    assert top[0].remedy and any(character.isdigit() for character in top[0].message), top[0]


@pytest.mark.parametrize("net", NETS)
def test_a_healthy_network_raises_no_alarm(net):
    model, x = NETS[net]()
    diagnosis = diagnose(octavo.compare(model, x))
    assert diagnosis.errors == (), diagnosis.errors
    assert all(found.severity in ("warning", "info") for found in diagnosis.findings)


@pytest.mark.parametrize("seed", range(4))
def test_healthy_networks_of_other_seeds(seed, quantized_net):
    diagnosis = diagnose(octavo.compare(quantized_net(seed), images(32, seed + 150)))
    assert diagnosis.errors == (), diagnosis.errors


PREPARATIONS = {
    "not divided by 255": ("digits", lambda x: x * 255, "255"),
    "divided by 255 twice": ("digits", lambda x: x / 255, "levels"),
    "scaled to -1..1": ("digits", lambda x: 2 * x - 1, "negative"),
    "no mean, no std": ("residual", lambda x: (x - x.min()) / np.ptp(x), "mean"),
    "gain of 10": ("residual", lambda x: 10 * x, "outside"),
}


@pytest.mark.parametrize("case", PREPARATIONS)
def test_wrong_preprocessing_is_named(case):
    net, function, word = PREPARATIONS[case]
    model, x = NETS[net]()
    top = diagnose(octavo.compare(model, function(x).astype(np.float32))).findings[0]
    assert top.code == "input_range" and top.severity in ("error", "warning"), top
    assert top.tensor == model.inputs[0].name
    assert word in top.message or word in top.remedy, top


def test_pixels_for_a_network_of_pixels():
    net = Net(7)
    pixels = lambda seed: 127 + 60 * images(16, seed)  # noqa: E731
    model = octavo.quantize(net.model(net.conv("x")), [np.clip(pixels(1), 0, 255)])
    top = diagnose(octavo.compare(model, np.clip(pixels(2), 0, 255) / 255)).findings[0]
    assert top.code == "input_range" and "do not divide" in top.remedy, top


def test_the_remedy_says_how_calibration_prepared_images():
    model, x = NETS["digits"]()
    spec = {"scale": 1 / 255, "mean": [0.5], "std": [0.25], "color": "gray", "layout": "NCHW"}
    comparison = octavo.compare(model, x * 255)
    top = diagnose(comparison, metadata={"preprocessing": spec}).findings[0]
    assert top.code == "input_range" and "0.003922" in top.remedy and "gray" in top.remedy
    assert "calibrated with" not in diagnose(comparison).findings[0].remedy


def test_channels_in_another_order_are_named_by_stored_means():
    net = Net(8)
    tint = np.array([1.5, 0.0, -1.5], np.float32)
    model = octavo.quantize(net.model(net.conv("x")), [images(16, 1) + tint])
    metadata = model.source.metadata
    assert metadata["calibration_inputs"]["x"]["samples"] == 16
    comparison = octavo.compare(model, (images(16, 2) + tint)[..., ::-1].copy())
    found = diagnose(comparison, metadata=metadata).findings
    (swapped,) = [f for f in found if f.code == "channel_order"]
    assert swapped.severity == "error" and swapped.tensor == "x"
    assert not [f for f in diagnose(comparison).findings if f.code == "channel_order"]
    right = diagnose(octavo.compare(model, images(16, 2) + tint), metadata=metadata)
    assert not [f for f in right.findings if f.code in ("channel_order", "input_statistics")]


@pytest.mark.parametrize(
    "change", [lambda x: 0.4 * x, lambda x: 0.5 * x + 1.2], ids=["contrast", "offset"]
)
def test_data_of_another_distribution_within_the_range_are_named(change):
    model, x = residual()
    metadata = model.source.metadata
    found = diagnose(octavo.compare(model, change(x)), metadata=metadata).findings
    assert "input_statistics" in [f.code for f in found if f.severity == "warning"], found
    sound = diagnose(octavo.compare(model, x), metadata=metadata).findings
    assert "input_statistics" not in [f.code for f in sound]
    for broken in ({"x": 3}, {"x": {"mean": "a", "std": []}}, [], {"x": {"mean": [1, 2]}}):
        diagnose(octavo.compare(model, x[:8]), metadata={"calibration_inputs": broken})


def gained(model, name, factors):
    """The float model with a node's channels (weights and bias) multiplied."""
    graph = model.source
    (node,) = [node for node in graph.nodes if node.name == name]
    values = dict(graph.values)
    for operand in node.inputs[1:]:
        old = values[operand]
        shape = (-1, *(1,) * (old.data.ndim - 1))
        values[operand] = constant(operand, old.data * factors.reshape(shape).astype(np.float32))
    return octavo.Model(verify(graph.with_(values=values)))


def test_an_outlier_channel_of_activations_is_named():
    factors = np.ones(6)
    factors[3] = 80.0
    model = octavo.quantize(
        gained(residual_net(3), "conv4", factors), [images(32, 1)], recipe=PLAIN
    )
    top = diagnose(octavo.compare(model, images(32, 2))).findings[:3]
    (found,) = [f for f in top if f.code == "activation_outlier" and f.node == "conv4"]
    assert found.evidence["channel"] == 3 and found.severity in ("error", "warning")
    assert "equalize" in found.remedy and '"int16"' in found.remedy


def test_an_outlier_channel_of_per_tensor_weights_is_named():
    factors = np.ones(6)
    factors[2] = 60.0
    floating = gained(residual_net(4), "conv2", factors)
    model = octavo.quantize(floating, [images(32, 1)], recipe=PLAIN)
    graph = model.source
    (node,) = [node for node in graph.nodes if node.name == "conv2"]
    name = stored_name(graph, node, "weights")
    real = next(n for n in floating.source.nodes if n.name == "conv2").inputs[1]
    weights = floating.source.values[real].data
    scale = np.float32(np.abs(weights).max() / 127)
    stored = np.rint(weights / scale).astype(np.int8)
    broken = changed(model, name, constant(name, stored, Affine.per_tensor(scale, 0)))
    top = diagnose(octavo.compare(broken, images(32, 2))).findings[:3]
    assert ("conv2", "weight_outlier") in [(f.node, f.code) for f in top], top
    (found,) = [f for f in top if f.code == "weight_outlier"]
    assert '"per_channel": true' in found.remedy and found.evidence["channel"] == 2


def test_a_concatenation_of_unequal_ranges_is_named():
    net = Net(5)
    x = net.conv("x")
    y = net.conv(x)
    model = net.model(net.add("Concat", (x, y), axis=3))
    small = gained(model, "conv1", np.full(6, 0.01))
    quantized = octavo.quantize(small, [images(32, 1)], recipe=PLAIN)
    top = diagnose(octavo.compare(quantized, images(32, 2))).findings[:3]
    (found,) = [f for f in top if f.code == "concat_ranges"]
    assert found.node == "concat2" and found.evidence["operand"] == "conv1"


def test_an_addition_of_unequal_partners_is_named():
    net = Net(6)
    x = net.conv("x")
    y = net.conv(net.conv(x), relu=False)
    model = net.model(net.add("Add", (x, y)))
    small = gained(model, "conv2", np.full(6, 0.002))
    quantized = octavo.quantize(small, [images(32, 1)], recipe=PLAIN)
    found = diagnose(octavo.compare(quantized, images(32, 2))).findings
    named = [f for f in found if f.code == "add_scales"]
    assert [f.node for f in named] == ["add3"] and named[0].evidence["small"] == "conv2"


def test_float_steps_say_why_and_how_long():
    model, x = residual()
    name = nodes(model, "Conv")[1]
    partly = octavo.quantize(octavo.Model(model.reference), [images(8, 1)], exclude=[name])
    comparison = octavo.compare(partly, x)
    found = {f.node: f for f in diagnose(comparison).findings if f.code == "float_step"}
    assert set(found) == set(partly.float_reasons) and name in found
    assert found[name].evidence["share_of_time"] is None and "float32" in found[name].message
    profile = partly.compile().profile(x[:1])
    timed = {f.node: f for f in diagnose(comparison, profile=profile).findings}
    assert 0 < timed[name].evidence["share_of_time"] < 1


def test_findings_are_plain_data_and_ranked():
    model, x = residual()
    broken = edit(model, nodes(model, "Conv")[1], "output", scaled(0.02))
    diagnosis = diagnose(octavo.compare(broken, x))
    rows = diagnosis.to_dict()
    assert rows[0]["code"] == "range_too_small" and rows[0]["evidence"]["saturated"] > 0.1
    severities = [("error", "warning", "info").index(row["severity"]) for row in rows]
    assert severities == sorted(severities)
    with pytest.raises(InvalidArgumentError, match="graph"):
        diagnose(replace(octavo.compare(model, x), graph=None))


def test_a_planted_fault_in_resnet20_is_named(shared_float):
    rng = np.random.default_rng(3)
    path = shared_float("resnet20_cifar10_f32.onnx")
    samples = path.parents[2] / "data" / "cifar10_calibration_512.npz"
    if not samples.is_file():
        pytest.skip("NOT RUN: the CIFAR-10 images are not under OCTAVO_SHARED")
    with np.load(samples) as arrays:
        pixels = arrays["images"][:48].astype(np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    x = np.ascontiguousarray(((pixels - mean) / std).transpose(0, 3, 1, 2), np.float32)
    model = octavo.quantize(octavo.load(path), [x[:32]], recipe=PLAIN)
    assert diagnose(octavo.compare(model, x[32:])).errors == ()
    for where, change, code in (
        ("output", scaled(0.1), "range_too_small"),
        ("weights", scaled(20.0, channel=6), "weight_scale_channel"),
        ("weights", data(np.zeros_like), "weights_damaged"),
    ):
        node = str(rng.choice(nodes(model, "Conv")))
        top = diagnose(octavo.compare(edit(model, node, where, change), x[32:])).findings[:3]
        assert (node, code) in [(f.node, f.code) for f in top], (node, top)

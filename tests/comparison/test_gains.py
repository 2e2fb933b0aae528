# SPDX-License-Identifier: Apache-2.0
"""Equalized networks are compared with the original; damaged scales are no equalization."""

import base64
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.comparison.gains import EQUALIZED_KEY, stored_gains, twin_constant
from octavo.ir import Graph, Node, Value, constant, verify
from octavo.quantization.recipe import Recipe
from octavo.reference import run_float

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "analysis"))
from planted import stored_name
from small_nets import images, residual_net

PLAIN = Recipe(equalize=False, smooth=None)
FACTORS = np.array([8.0, 0.25, 1.0, 3.0, 0.1, 20.0])


def equalized(model, first, second):
    """The same network, with the channels between two convolutions multiplied."""
    graph = model.source
    values = dict(graph.values)
    nodes = {node.name: node for node in graph.nodes}
    for name in nodes[first].inputs[1:]:
        shape = (-1, *(1,) * (values[name].data.ndim - 1))
        scaled = values[name].data * FACTORS.reshape(shape)
        values[name] = constant(name, scaled.astype(np.float32))
    weight = nodes[second].inputs[1]
    values[weight] = constant(weight, (values[weight].data / FACTORS).astype(np.float32))
    return octavo.Model(verify(graph.with_(values=values)))


@pytest.fixture(scope="module")
def networks():
    original = residual_net(3)
    other = equalized(original, "conv1", "conv2")
    x = images(8, 1)
    (a,), (b,) = (list(m.compile().run(x).values()) for m in (original, other))
    np.testing.assert_allclose(a, b, atol=1e-4)
    return original, octavo.quantize(other, [images(32, 2)], recipe=PLAIN)


def test_an_equalized_network_is_near_its_original(networks):
    original, quantized = networks
    found = octavo.compare(quantized, original, images(16, 3))
    expected = octavo.compare(quantized, images(16, 3))  # with the equalized reference
    assert list(found.gains) == ["conv1/y"]
    np.testing.assert_allclose(found.gains["conv1/y"].factor, FACTORS, rtol=0.02)
    for a, b in zip(found.layers, expected.layers, strict=True):
        assert a.sqnr_db == pytest.approx(b.sqnr_db, abs=0.7), a.node
        if b.own_db < 100:
            assert a.own_db == pytest.approx(b.own_db, abs=1.0), a.node
    assert not expected.gains


@pytest.mark.parametrize("fault", ["one channel", "all channels"])
def test_a_damaged_scale_is_no_equalization(networks, fault):
    original, quantized = networks
    graph = quantized.source
    (node,) = [node for node in graph.nodes if node.name == "conv4"]
    value = graph.values[stored_name(graph, node, "weights")]
    scale = value.affine.scale.copy()
    scale[slice(None) if fault == "all channels" else 2] *= 8
    damaged = replace(value, quant=replace(value.affine, scale=scale))
    broken = octavo.Model(graph.with_(values={**graph.values, value.name: damaged}))
    found = octavo.compare(broken, original, images(16, 3))
    assert list(found.gains) == ["conv1/y"]
    assert found.by_node()["conv4"].own_db < 10


def text(numbers, dtype):
    return base64.b64encode(np.asarray(numbers).astype(dtype).tobytes()).decode()


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_constants_follow_what_the_metadata_say(depthwise, bias):
    """x' = g x - s in front and y' = h y - t behind: the changed layer gives y' of x'."""
    rng = np.random.default_rng(4)
    inputs = outputs = 6
    shape = (6, 3, 3, 1) if depthwise else (6, 1, 1, 6)
    attrs = {"groups": inputs if depthwise else 1, "pads": (0, 0, 0, 0)}
    attrs |= {"strides": (1, 1), "dilations": (1, 1)}
    weights = constant("w", rng.standard_normal(shape).astype(np.float32))
    values = {"w": weights, "b": constant("b", rng.standard_normal(6).astype(np.float32))}
    side = 3 if depthwise else 5
    values["x"] = Value("x", "f32", (1, 5, 5, inputs))
    values["y"] = Value("y", "f32", (1, side, side, outputs))
    node = Node("conv", "Conv", ("x", "w", "b") if bias else ("x", "w"), ("y",), attrs)
    graph = verify(Graph("one", (node,), values, ("x",), ("y",)))
    powers, shifts = rng.integers(-32, 33, (2, 6)), rng.standard_normal((2, 6))
    metadata = {
        EQUALIZED_KEY: {
            "x": {"gain": text(powers[0], np.int8), "shift": text(shifts[0], np.float16)},
            "y": {"gain": text(powers[1], np.int8), "shift": text(shifts[1], np.float16)},
            "b": {"gain": "not base64!"},
            "absent": {},
        }
    }
    gains = stored_gains(graph, metadata)
    assert set(gains) == {"x", "y"}
    x = rng.standard_normal((1, 5, 5, inputs)).astype(np.float32)
    expected = gains["y"].apply(run_float(graph, {"x": x})["y"])
    w, b = (twin_constant(graph, node, place, gains) for place in (1, 2))
    moved = {**values, "w": constant("w", w), "b": constant("b", np.asarray(b, np.float32))}
    other = replace(node, inputs=("x", "w", "b"))
    changed = verify(Graph("one", (other,), moved, ("x",), ("y",)))
    found = run_float(changed, {"x": gains["x"].apply(x)})["y"]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-3)

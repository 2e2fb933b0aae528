# SPDX-License-Identifier: Apache-2.0
"""Equalization, adaptive rounding and bias correction: the function stays, the error falls."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo import ops
from octavo.ir import Node, constant
from octavo.passes import run_model_pipeline
from octavo.quantization import calibrate_model
from octavo.quantization.equalize import equalize
from octavo.quantization.equalized import equalize_again
from octavo.quantization.recipe import Recipe, Settings
from octavo.quantization.rounding import adaptive_round, nearest_round
from octavo.quantization.taps import sampled_rows, tap_means
from octavo.reference import run_float

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "analysis"))
from small_nets import images, residual_net

PLAIN = Recipe(Settings(rounding="nearest", bias_correction="none"), equalize=False, smooth=None)
CONVOLUTIONS = {
    "1x1": ((3, 5, 6, 4), (7, 1, 1, 4), {}),
    "3x3": ((2, 6, 7, 5), (9, 3, 3, 5), {"pads": (1, 0, 2, 1)}),
    "strides, dilations": (
        (2, 11, 9, 4),
        (6, 5, 3, 4),
        {"strides": (1, 2), "dilations": (2, 3), "pads": (3, 2, 4, 1)},
    ),
    "groups": ((2, 5, 5, 12), (6, 3, 3, 4), {"groups": 3, "pads": (1, 1, 1, 1)}),
    "depthwise": ((2, 7, 8, 6), (12, 3, 3, 1), {"groups": 6, "strides": (2, 2)}),
}


def uneven_channels(model: octavo.Model, first: str, second: str) -> octavo.Model:
    """The same function, with channels between two layers that differ a hundredfold."""
    graph = model.source
    nodes = {node.name: node for node in graph.nodes}
    values = dict(graph.values)
    factors = np.geomspace(0.1, 10.0, len(values[nodes[first].inputs[1]].data))
    for place in (1, 2):
        value = values[nodes[first].inputs[place]]
        column = factors.reshape(-1, *(1,) * (value.data.ndim - 1))
        values[value.name] = constant(value.name, (value.data * column).astype(np.float32))
    weight = values[nodes[second].inputs[1]]
    values[weight.name] = constant(weight.name, (weight.data / factors).astype(np.float32))
    return octavo.Model(graph.with_(values=values))


def sqnr(model: octavo.Model, quantized: octavo.Model, data: np.ndarray) -> float:
    (want,), (got,) = (tuple(m.compile().run(data).values()) for m in (model, quantized))
    return float(10 * np.log10(np.square(want).sum() / np.square(want - got).sum()))


@pytest.fixture(scope="module")
def uneven() -> octavo.Model:
    return uneven_channels(residual_net(3), "conv1", "conv2")


def test_equalization_keeps_the_function(uneven: octavo.Model) -> None:
    found = calibrate_model(uneven, [images(32, 5)])
    graph = run_model_pipeline(uneven.source)
    result = equalize(graph, found.statistics, layers=True)
    assert result.gains
    x = dict.fromkeys(graph.inputs, images(1, 6)[:1])
    before, after = run_float(graph, x, keep=True), run_float(result.graph, x, keep=True)
    for name in graph.outputs:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-4, atol=1e-4)
    for name in result.changed:
        expected = before[name] * result.gains.get(name, 1.0) - result.shifts.get(name, 0.0)
        reach = float(np.abs(expected).max())
        np.testing.assert_allclose(after[name], expected, atol=1e-4 * reach, err_msg=name)


def test_what_is_written_down_equalizes_again(uneven: octavo.Model) -> None:
    found = calibrate_model(uneven, [images(32, 5)])
    graph = run_model_pipeline(uneven.source)
    result = equalize(graph, found.statistics, layers=True)
    again = equalize_again(graph, result.metadata()).graph
    x = dict.fromkeys(graph.inputs, images(1, 6)[:1])
    one, two = run_float(result.graph, x, keep=True), run_float(again, x, keep=True)
    for name in result.changed:  # shifts are written in 11 bits
        reach = float(np.abs(one[name]).max())
        np.testing.assert_allclose(two[name], one[name], atol=2e-3 * reach, err_msg=name)


def test_equalization_helps_where_channels_differ(uneven: octavo.Model) -> None:
    data, test = [images(32, 5)], images(16, 6)
    plain = sqnr(uneven, octavo.quantize(uneven, data, recipe=PLAIN), test)
    better = octavo.quantize(uneven, data, recipe=replace(PLAIN, equalize=True))
    assert sqnr(uneven, better, test) > plain + 3.0


@pytest.mark.parametrize("seed", range(4))
def test_adaptive_rounding_has_less_error_than_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, outputs, k = int(rng.integers(1, 4)), 5, int(rng.integers(3, 150))
    rows = rng.standard_normal((groups, 400, 6)) @ rng.standard_normal((groups, 6, k))
    rows += 0.1 * rng.standard_normal(rows.shape) + 3.0  # a mean is the bias's business
    w = rng.standard_normal((groups, outputs, k))
    scales = np.abs(w).max(axis=2) / 20.0
    errors = []
    for q in (adaptive_round(w, scales, rows), nearest_round(w.reshape(-1, k), scales.ravel())):
        assert q.dtype == np.int8
        left = w - q.reshape(w.shape) * scales[:, :, None]
        errors.append(
            float(np.square((rows - rows.mean(1, keepdims=True)) @ left.transpose(0, 2, 1)).sum())
        )
    assert errors[0] < 0.6 * errors[1]


def test_adaptive_rounding_leaves_what_is_on_the_grid() -> None:
    rng = np.random.default_rng(1)
    q = rng.integers(-127, 128, (2, 4, 9)).astype(np.int8)
    scales = np.full((2, 4), 0.5)
    rows = rng.standard_normal((2, 50, 9))
    np.testing.assert_array_equal(adaptive_round(q * 0.5, scales, rows), q)
    np.testing.assert_array_equal(adaptive_round(q * 0.5, scales, np.zeros((2, 1, 9))), q)


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_tap_means_times_weights_are_mean_outputs(case: str) -> None:
    shape, weights, attrs = CONVOLUTIONS[case]
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, 256, shape).astype(np.uint8), rng.standard_normal(weights)
    node = Node("n", "Conv", ("x", "w"), ("y",), attrs)
    groups = attrs.get("groups", 1)
    zero = 7
    real = x.astype(np.float32) - zero
    (y,) = ops.get(node).float_ref(node, [real, w.astype(np.float32)])
    means = tap_means(node, x, weights[1:3], zero) - zero
    got = means @ w.reshape(groups, weights[0] // groups, -1).transpose(0, 2, 1)
    got = got.transpose(1, 0, 2).reshape(shape[0], -1)
    np.testing.assert_allclose(got, y.mean(axis=(1, 2)), rtol=1e-4, atol=1e-2)
    rows = sampled_rows(node, [x, x], weights[1:3], 10**6, zero, 0)
    assert rows.dtype == np.uint8
    np.testing.assert_allclose(rows.mean(axis=1), means.mean(axis=1) + zero, rtol=1e-5)
    assert sampled_rows(node, [x, x], weights[1:3], 12, zero, 0).shape[1] == 12


@pytest.mark.parametrize("bias_correction", ["analytic", "sequential"])
def test_bias_correction_takes_the_mean_error_away(bias_correction: str) -> None:
    model, data = residual_net(5), [images(64, 5)]
    crude = PLAIN.with_defaults(weight_ranges="minmax", per_channel=False)
    told = crude.with_defaults(bias_correction=bias_correction)
    errors = []
    (want,) = model.compile().run(data[0]).values()
    for recipe in (crude, told):
        (got,) = octavo.quantize(model, data, recipe=recipe).compile().run(data[0]).values()
        errors.append(float(np.abs((got - want).mean(axis=0)).sum()))
    assert errors[1] < 0.7 * errors[0]


def test_the_default_recipe_is_better_than_plain_rounding() -> None:
    test = images(64, 9)
    gains = []
    for seed in range(3):
        model, data = residual_net(seed), [images(64, seed + 20)]
        better, plain = (octavo.quantize(model, data, recipe=r) for r in (Recipe(), PLAIN))
        assert not better.float_reasons
        gains.append(sqnr(model, better, test) - sqnr(model, plain, test))
    assert np.mean(gains) > 1.0, gains


def test_without_samples_nothing_is_walked() -> None:
    model, data = residual_net(0), [images(32, 3)]
    stages: list[str] = []
    octavo.quantize(
        model,
        data,
        recipe=PLAIN.with_defaults(bias_correction="analytic"),
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert "optimize" not in stages
    octavo.quantize(model, data, progress=lambda stage, done, total: stages.append(stage))
    assert "optimize" in stages


@pytest.mark.parametrize("factor", [0.0, 1e-20, 1e6])
def test_data_of_any_size_is_survived(uneven: octavo.Model, factor: float) -> None:
    data = (factor * images(8, 1)).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        quantized = octavo.quantize(uneven, [data])
    (want,), (got,) = (tuple(m.compile().run(data).values()) for m in (uneven, quantized))
    assert np.isfinite(got).all()
    assert np.square(got - want).sum() <= 0.05 * np.square(want).sum() + 1e-6

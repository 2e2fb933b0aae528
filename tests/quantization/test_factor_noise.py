# SPDX-License-Identifier: Apache-2.0
"""The expected error of factors: against errors that are really made, and the descent on it."""

from __future__ import annotations

import numpy as np
import pytest

from octavo import ops
from octavo.ir import Graph, Node, Value, constant, verify
from octavo.quantization.channel_ranges import ChannelRanges
from octavo.quantization.channels import Channels
from octavo.quantization.factor_noise import FactorNoise, descend

C, OUT, K = 24, 32, 40
PLAIN = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "groups": 1}


def _net(rng: np.random.Generator, kernel: int = 1, depthwise: bool = False) -> Graph:
    """x -> Conv -> y -> Conv -> z; with a residual sum y + Conv(y) in between for kernel 1."""
    spread = np.exp(rng.normal(0.0, 0.7, C))
    values = {"x": Value("x", "f32", (1, 6, 6, K))}
    nodes = []

    def conv(x: str, y: str, w: np.ndarray, **attrs: int) -> None:
        values[f"w{y}"] = constant(f"w{y}", w.astype(np.float32))
        add("Conv", (x, f"w{y}"), y, {**PLAIN, **attrs})

    def add(op: str, inputs: tuple[str, ...], y: str, attrs: dict[str, object]) -> None:
        node = Node(f"n{y}", op, inputs, (y,), attrs)
        (shape,) = ops.get(node).infer(node, [values[name] for name in inputs])
        values[y] = Value(y, "f32", shape)
        nodes.append(node)

    conv("x", "y", rng.standard_normal((C, 1, 1, K)) * spread[:, None, None, None] / K**0.5)
    last = "y"
    if kernel == 1 and not depthwise:
        conv("y", "a", 0.5 * rng.standard_normal((C, 1, 1, C)) / C**0.5)
        add("Add", ("y", "a"), "s", {})
        last = "s"
    if depthwise:
        conv(last, "z", rng.standard_normal((2 * C, 3, 3, 1)), groups=C)
    else:
        conv(last, "z", rng.standard_normal((OUT, kernel, kernel, C)))
    return verify(Graph("net", tuple(nodes), values, ("x",), ("z",)))


def _forward(graph: Graph, x: np.ndarray, changed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All values in float64; `changed` weights, and rounding steps [C] of tensors."""
    found = {"x": x}
    for node in graph.nodes:
        name = node.outputs[0]
        if node.op == "Add":
            y = found[node.inputs[0]] + found[node.inputs[1]]
        else:
            w = changed.get(node.inputs[1], graph.values[node.inputs[1]].data.astype(np.float64))
            source = found[node.inputs[0]]
            kh, kw = w.shape[1:3]
            size = source.shape[1] - kh + 1
            y = np.zeros((len(source), size, size, len(w)))
            for i in range(kh):
                for j in range(kw):
                    part = source[:, i : i + size, j : j + size]
                    if w.shape[3] == 1 < source.shape[3]:
                        y += np.repeat(part, len(w) // source.shape[3], axis=3) * w[:, i, j, 0]
                    else:
                        y += part @ w[:, i, j].T
        found[name] = np.rint(y / changed[name]) * changed[name] if name in changed else y
    return found


def _seen(found: dict[str, np.ndarray]) -> dict[str, ChannelRanges]:
    ranges = {}
    for name, x in found.items():
        rows = x.reshape(-1, x.shape[-1])
        square = np.square(rows).mean(axis=0)
        ranges[name] = ChannelRanges(rows.min(axis=0), rows.max(axis=0), square, rows.mean(axis=0))
    return ranges


def _readers(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.inputs[0] in ("y", "s") and node.op == "Conv"]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_error_that_rounding_makes(seed: int, depthwise: bool) -> None:
    rng = np.random.default_rng(seed)
    graph = _net(rng, kernel=3, depthwise=depthwise)
    x = rng.standard_normal((60, 6, 6, K))
    right = _forward(graph, x, {})
    ranges, channels = _seen(right), Channels.of(graph)
    noise = FactorNoise(graph, channels, ranges, _readers(graph))
    gain = np.exp(rng.normal(0.0, 0.5, channels.count))
    g = gain[channels.ids["y"]]
    changed = {"y": (ranges["y"].span * g).max() / 255.0 / g}
    w = graph.values["wz"].data.astype(np.float64)
    if not depthwise:
        steps = np.abs(w / g).max(axis=(1, 2, 3), keepdims=True) / 127.0
        changed["wz"] = np.rint(w / g / steps) * steps * g
    error = _forward(graph, x, changed)["z"] - right["z"]
    measured = float(np.square(error).sum() / np.square(right["z"]).sum())
    assert noise(gain) == pytest.approx(measured, rel=0.15), f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_a_residual_sum_hands_on_the_error_of_what_it_reads(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = _net(rng)
    right = _forward(graph, rng.standard_normal((40, 6, 6, K)), {})
    ranges, channels = _seen(right), Channels.of(graph)
    ones = np.ones(channels.count)
    parts = [
        FactorNoise(graph, channels, {n: ranges[n] for n in names}, readers)(ones)
        for names, readers in (
            (("y", "s"), _readers(graph)),
            (("y", "s", "a"), _readers(graph)),
            (("s",), _readers(graph)[1:]),
        )
    ]
    effect = np.square(graph.values["wz"].data.astype(np.float64)).sum(axis=(0, 1, 2))
    signal = float(effect @ ranges["s"].square)
    step = float(ranges["a"].span.max()) / 255.0
    assert parts[1] - parts[0] == pytest.approx(step**2 / 12.0 * float(effect.sum()) / signal)
    assert parts[2] < parts[0]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_descent_finds_less_within_its_limits(seed: int, kernel: int) -> None:
    rng = np.random.default_rng(seed)
    graph = _net(rng, kernel=kernel)
    ranges = _seen(_forward(graph, rng.standard_normal((40, 6, 6, K)), {}))
    channels = Channels.of(graph)
    noise = FactorNoise(graph, channels, ranges, _readers(graph))
    start, free = np.ones(channels.count), rng.random(channels.count) < 0.8
    most = np.where(rng.random(channels.count) < 0.3, 1.0, 4.0)
    found = descend(noise, start, free, most)
    assert noise(found) < 0.9 * noise(start), f"seed {seed}"
    np.testing.assert_array_equal(found[~free], 1.0)
    assert np.all(found <= most * (1.0 + 1e-9))
    np.testing.assert_array_equal(found, descend(noise, start, free, most))


def test_the_slope_is_that_of_the_error_where_no_maximum_is_shared() -> None:
    """One channel far above the others rules each maximum, so that smoothing changes nothing."""
    rng = np.random.default_rng(5)
    graph = _net(rng, kernel=3)
    values = dict(graph.values)
    for name, axis in (("wy", 0), ("wz", 3)):
        data = values[name].data.copy()
        np.moveaxis(data, axis, 0)[3] *= 4.0
        values[name] = constant(name, data)
    graph = graph.with_(values=values)
    ranges = _seen(_forward(graph, rng.standard_normal((40, 6, 6, K)), {}))
    channels = Channels.of(graph)
    noise = FactorNoise(graph, channels, ranges, _readers(graph))
    x = rng.normal(0.0, 0.02, channels.count)
    slope = noise.slope(np.exp(x))
    for place in channels.ids["y"][:6]:
        step = np.zeros_like(x)
        step[place] = 1e-4
        up, down = noise(np.exp(x + step)), noise(np.exp(x - step))
        measured = (up - down) / 2e-4 / noise(np.exp(x))
        assert slope[place] == pytest.approx(measured, abs=0.02), place


def test_dead_channels_and_pruned_outputs_do_not_stop_the_descent() -> None:
    rng = np.random.default_rng(7)
    graph = _net(rng, kernel=3)
    values = dict(graph.values)
    for name, axis, rows in (("wy", 0, (0, 5)), ("wz", 0, (1, 2, 3)), ("wz", 3, (6,))):
        data = values[name].data.copy()
        np.moveaxis(data, axis, 0)[list(rows)] = 0.0
        values[name] = constant(name, data)
    graph = graph.with_(values=values)
    ranges = _seen(_forward(graph, rng.standard_normal((40, 6, 6, K)), {}))
    channels = Channels.of(graph)
    noise = FactorNoise(graph, channels, ranges, _readers(graph))
    ones = np.ones(channels.count)
    with np.errstate(all="raise", under="ignore"):
        found = descend(noise, ones, ones > 0.0, 4.0 * ones)
    assert np.isfinite(found).all()
    assert noise(found) < 0.9 * noise(ones)


def test_large_layers_are_judged_by_some_of_their_outputs(monkeypatch) -> None:
    rng = np.random.default_rng(8)
    graph = _net(rng, kernel=3)
    ranges = _seen(_forward(graph, rng.standard_normal((40, 6, 6, K)), {}))
    channels = Channels.of(graph)
    whole = FactorNoise(graph, channels, ranges, _readers(graph))
    monkeypatch.setattr("octavo.quantization.factor_noise._MOST_WEIGHTS", 8 * C)
    part = FactorNoise(graph, channels, ranges, _readers(graph))
    gain = np.exp(rng.normal(0.0, 0.3, channels.count))
    assert part(gain) != whole(gain)
    assert part(gain) == pytest.approx(whole(gain), rel=0.1)

# SPDX-License-Identifier: Apache-2.0
"""Adaptive rounding and bias correction: weights and biases that make up for quantization.

Analytic correction takes back the mean of what rounding the weights adds, (w - q) E[x], with E[x]
from calibration (Nagel et al. 2019, section 4.2). Sequential correction walks through the network
with some samples: each layer sees its quantized inputs, and gets back the mean that rounding its
weights adds there plus the *median over samples* of what the quantized inputs themselves shift.
The mean would not do: it is ruled by the few samples that a range clips, and would move all others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Affine, Graph, Node, Value, constant, free_name
from octavo.quant import multiplier
from octavo.quantization.calibration import Cutter, Progress
from octavo.quantization.channels import LAYERS, groups_of
from octavo.quantization.insert import fit_bias, integer_bias
from octavo.quantization.observers import Statistics
from octavo.quantization.parameters import TensorRange
from octavo.quantization.ranges import weight_scales
from octavo.quantization.recipe import Settings
from octavo.quantization.replay import Replay
from octavo.quantization.rounding import adaptive_round, nearest_round
from octavo.quantization.runner import GraphRunner
from octavo.quantization.taps import sampled_rows, tap_means

__all__ = ["Adjusted", "adjust"]

Array = NDArray[Any]
F64 = NDArray[np.float64]
_TOGETHER = 16
#: The front of the walk takes at most this; it decides how many samples walk.
_FRONT_BYTES = 192 << 20
_ROWS, _MOST_ROWS = 2048, 8192
#: Beyond this the K x K linear algebra takes longer than it is worth: such layers round to nearest.
_MOST_K = 2400


@dataclass
class Adjusted:
    """The graph with corrected biases, and the s8 weights [O, ...] and scales [O] of layers by
    node name."""

    graph: Graph
    weights: dict[str, tuple[NDArray[np.int8], NDArray[np.float32]]] = field(default_factory=dict)


@dataclass
class _Layer:
    """A layer at work: weights [G, O/G, K], bias [O], scales [O]."""

    node: Node
    told: Settings
    shape: tuple[int, ...]
    w: F64
    bias: F64
    scales: NDArray[np.float32]
    q: NDArray[np.int8]

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.shape[1:-1]

    def outputs(self, means: F64, weights: F64) -> F64:
        """Mean outputs [n, O] for inputs' means [G, n, K] (no bias)."""
        y = means @ weights.transpose(0, 2, 1)
        return np.asarray(y.transpose(1, 0, 2).reshape(y.shape[1], -1))

    @property
    def rounded(self) -> F64:
        """What the integers mean, as `w`."""
        column = self.scales.astype(np.float64).reshape(len(self.w), -1, 1)
        return self.q.reshape(self.w.shape) * column


def _layer(graph: Graph, node: Node, told: Settings, in_scale: float) -> _Layer:
    data = np.asarray(graph.values[node.inputs[1]].data, np.float32)
    bias = np.zeros(len(data))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.asarray(graph.values[node.inputs[2]].data, np.float64)
    scales = weight_scales(data, told.weight_ranges, per_channel=told.per_channel)
    scales = fit_bias(scales, bias, in_scale)
    w = data.astype(np.float64).reshape(groups_of(node), len(data) // groups_of(node), -1)
    return _Layer(node, told, data.shape, w, bias, scales, nearest_round(data, scales))


def _chosen(samples: Sequence[Mapping[str, Array]]) -> list[Mapping[str, Array]]:
    """The samples of the most frequent shape."""
    shapes: dict[Any, list[Mapping[str, Array]]] = {}
    for sample in samples:
        key = tuple(sorted((name, array.shape) for name, array in sample.items()))
        shapes.setdefault(key, []).append(sample)
    return max(shapes.values(), key=len, default=[])


class _Adjuster:
    def __init__(
        self,
        graph: Graph,
        nodes: Sequence[Node],
        ranges: Mapping[str, TensorRange],
        settings: Mapping[str, Settings],
        progress: Progress | None,
    ) -> None:
        self.graph = graph
        self.ranges = ranges
        self.settings = settings
        self.progress = progress
        self.layers = {
            node.name
            for node in nodes
            if node.op in LAYERS and settings[node.name].precision == "int8"
        }
        self.found = Adjusted(graph)
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes = {node.name: node for node in graph.nodes}

    def layer(self, node: Node) -> _Layer:
        in_scale = float(self.ranges[node.inputs[0]].affine.scale)
        return _layer(self.graph, node, self.settings[node.name], in_scale)

    def keep(self, layer: _Layer) -> None:
        """Takes over a layer's weights and bias."""
        node = self.nodes[layer.node.name]
        self.found.weights[node.name] = (layer.q.reshape(layer.shape), layer.scales)
        name = node.inputs[2] if len(node.inputs) > 2 else ""
        if not name or len(self.graph.consumers[name]) > 1:
            name = free_name(f"{node.name}/bias", self.values)
        self.values[name] = constant(name, layer.bias.astype(np.float32))
        self.nodes[node.name] = replace(node, inputs=(*node.inputs[:2], name))

    def finish(self) -> Adjusted:
        nodes = tuple(self.nodes[node.name] for node in self.graph.nodes)
        self.found.graph = self.graph.with_(nodes=nodes, values=self.values)
        return self.found

    def report(self, done: int) -> None:
        if self.progress is not None:
            self.progress("optimize", done, len(self.layers))

    # ---- without samples

    def analytic(self, layer: _Layer, statistics: Mapping[str, Statistics]) -> None:
        """Corrects by the calibration's means per channel; padding counts as inside."""
        entry = statistics.get(layer.node.inputs[0])  # none where a table alone gives the ranges
        found = None if entry is None else entry.channels
        channels = layer.shape[-1] * groups_of(layer.node)
        if found is None or found.positions == 0 or found.low.size != channels:
            return
        means = found.mean.reshape(len(layer.w), 1, 1, -1)
        taps = layer.w.shape[2] // means.shape[3]
        tiled = np.broadcast_to(means, (*means.shape[:2], taps, means.shape[3]))
        layer.bias += layer.outputs(
            tiled.reshape(len(layer.w), 1, -1), layer.w - layer.rounded
        ).mean(axis=0)

    # ---- with samples

    def float_means(self, samples: Sequence[Mapping[str, Array]]) -> dict[str, list[F64]]:
        """Mean inputs of each layer, by node and sample, in the float network."""
        runner = GraphRunner(self.graph)
        found: dict[str, list[F64]] = {}
        for sample in samples:
            runner.run(sample)
            for node in self.graph.nodes:
                if node.name in self.layers:
                    kernel = self.graph.values[node.inputs[1]].shape[1:-1]
                    x = runner.read(node.inputs[0])
                    found.setdefault(node.name, []).append(tap_means(node, x, kernel))
        return found

    def walk(self, samples: Sequence[Mapping[str, Array]], together: int, seed: int) -> None:
        samples = samples[: len(samples) // together * together]
        means = self.float_means(samples)
        replay = Replay(self.graph, self.ranges, samples, together)
        done = 0
        for node in replay.graph.nodes:
            given: dict[str, Value] = {}
            if node.name in self.layers:
                layer = self.layer(self.nodes[node.name])
                self.solve(layer, replay, np.concatenate(means.pop(node.name), axis=1), seed + done)
                given = self.constants(layer)
                self.keep(layer)
                node = replace(node, inputs=(*node.inputs[:2], f"{node.name}/b"))
                replay.graph = replay.graph.with_(
                    values={**replay.graph.values, f"{node.name}/b": given[f"{node.name}/b"]}
                )
                done += 1
                self.report(done)
            replay.step(node, given)

    def constants(self, layer: _Layer) -> dict[str, Value]:
        """The layer's integer weights and bias under the names its node reads."""
        affine = self.ranges[layer.node.inputs[0]].affine
        zeros = np.zeros(layer.scales.shape, np.int32)
        scale = multiplier(float(affine.scale), layer.scales, 1.0)
        bias = integer_bias(layer.bias, scale)
        weights = layer.q.reshape(layer.shape)
        return {
            layer.node.inputs[1]: constant("w", weights, Affine(layer.scales, zeros, 0)),
            f"{layer.node.name}/b": constant(f"{layer.node.name}/b", bias, Affine(scale, zeros, 0)),
        }

    def solve(self, layer: _Layer, replay: Replay, means: F64, seed: int) -> None:
        """Rounds the weights for the inputs that the layer really gets, and corrects its bias."""
        name = layer.node.inputs[0]
        affine = replay.affine(name)
        assert affine is not None
        chunks, zero = replay.stored(name), int(affine.zero_point)
        if layer.told.rounding == "adaptive" and layer.w.shape[2] <= _MOST_K:
            limit = int(np.clip(4 * layer.w.shape[2], _ROWS, _MOST_ROWS))
            rows = sampled_rows(layer.node, chunks, layer.kernel, limit, zero, seed)
            column = layer.scales.astype(np.float64).reshape(len(layer.w), -1)
            layer.q = adaptive_round(layer.w, column, rows).reshape(layer.shape)
        if layer.told.bias_correction == "none":
            return
        parts = [tap_means(layer.node, x, layer.kernel, zero) for x in chunks]
        got = (np.concatenate(parts, axis=1) - zero) * float(affine.scale)
        if layer.told.bias_correction == "analytic":
            got = means
        layer.bias += layer.outputs(got, layer.w - layer.rounded).mean(axis=0)
        if layer.told.bias_correction == "sequential":
            layer.bias += _typical(layer.outputs(means - got, layer.w))


def _typical(shifts: F64) -> F64:
    """The median of [n, O] over n, shrunk by what chance alone would give it: with s² the variance
    of a median of n normal numbers, m max(0, 1 - s² / m²) (James and Stein, 1961)."""
    n = len(shifts)
    median = np.median(shifts, axis=0)
    chance = (np.pi / 2.0) * shifts.var(axis=0) / max(1, n - 1)
    return np.asarray(median * np.maximum(0.0, 1.0 - chance / np.maximum(median**2, 1e-30)))


def _needs_samples(told: Settings) -> bool:
    return told.rounding == "adaptive" or told.bias_correction == "sequential"


def _together(graph: Graph, samples: Sequence[Mapping[str, Array]]) -> int:
    """How many samples can run as one batch without changing a number."""
    if len(samples) < 2:
        return 1
    cutter = Cutter(GraphRunner(graph), list(graph.values))
    pair = {name: np.concatenate([samples[0][name], samples[1][name]]) for name in graph.inputs}
    if cutter.cut(pair) != 2:
        return 1
    return max(1, min(cutter.chunk, _TOGETHER, len(samples)))


def _front_bytes(graph: Graph, ranges: Mapping[str, TensorRange]) -> int:
    """Bytes per sample at the widest point of the walk."""
    left = {name: len(nodes) for name, nodes in graph.consumers.items()}
    size = {n: v.size * (1 if n in ranges else 4) for n, v in graph.values.items()}
    now = most = sum(size[name] for name in graph.inputs)
    for node in graph.nodes:
        now += sum(size[name] for name in node.outputs)
        most = max(most, now)
        for name in dict.fromkeys(node.inputs):
            if name in left and graph.values[name].data is None:
                left[name] -= 1
                now -= size[name] if left[name] == 0 else 0
    return most


def adjust(
    graph: Graph,
    nodes: Sequence[Node],
    ranges: Mapping[str, TensorRange],
    settings: Mapping[str, Settings],
    statistics: Mapping[str, Statistics],
    samples: Sequence[Mapping[str, Array]],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Adjusted:
    """Weights and biases of the layers among `nodes` (those that run in 8 bits) of a float graph.

    `samples` are inputs of the graph; without them sequential correction becomes analytic and
    rounding goes to nearest. Memory: 192 MB for the samples on their way and a covariance matrix.
    """
    work = _Adjuster(graph, nodes, ranges, settings, progress)
    chosen = _chosen(samples)
    most = max(1, _FRONT_BYTES // max(1, _front_bytes(graph, ranges)))
    chosen = chosen[:most]
    if chosen and any(_needs_samples(settings[name]) for name in work.layers):
        work.walk(chosen, _together(graph, chosen), seed)
        return work.finish()
    for node in graph.nodes:
        if node.name in work.layers:
            layer = work.layer(node)
            if layer.told.bias_correction != "none":
                work.analytic(layer, statistics)
            work.keep(layer)
    return work.finish()

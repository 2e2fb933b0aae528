# SPDX-License-Identifier: Apache-2.0
"""Centres and scales channels, so that one range per tensor fits all of them.

`centre` subtracts the middle of each channel's range from tensors without activation and adds what
that takes away to the biases of the layers that read them (Wei et al., Outlier Suppression+, 2023).
`scale` multiplies channels by factors and divides the weights that read them: cross-layer
equalization (Nagel et al. 2019) with the factors of SmoothQuant (Xiao et al. 2022),
g = w^(1 - alpha) / r^alpha, where r is the channel's largest activation and w its largest weight.
alpha is the one that promises the least error of the reading layers. The float network stays what
it was but for rounding, and for values beyond what calibration saw in front of an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph, Node
from octavo.ops.attrs import clamp
from octavo.quantization.channels import LAYERS, Channels, groups_of, reads_depthwise
from octavo.quantization.equalized import GAIN_STEPS, Editor, Equalized, read_shift
from octavo.quantization.observers import Statistics
from octavo.quantization.rules import has_constant_weights

__all__ = ["equalize"]

Array = NDArray[Any]
F64 = NDArray[np.float64]
_ALPHAS = (0.25, 0.5, 0.75, 1.0)
#: Channels below this share of the largest gain nothing from a wider range.
_LEAST = 0.02
#: What float16, in which shifts are written down, can hold.
_MOST_SHIFT = 60000.0
#: A smaller gain is not worth other numbers.
_WORTH = 0.98


@dataclass
class _Ranges:
    """Per channel of one tensor: extremes and E[x²]."""

    low: F64
    high: F64
    square: F64
    mean: F64

    @property
    def most(self) -> F64:
        return np.maximum(np.maximum(self.high, -self.low), 0.0)


def _ranges(statistics: Mapping[str, Statistics]) -> dict[str, _Ranges]:
    found = {}
    for name, entry in statistics.items():
        c = entry.channels
        if c is not None and c.positions > 0:
            low, high = c.low.astype(np.float64), c.high.astype(np.float64)
            found[name] = _Ranges(low, high, c.mean_square, c.mean)
    return found


# ---- centring


def _takes_shift(graph: Graph, name: str) -> bool:
    """Can every reader of a value undo a constant per channel? A padded convolution cannot: its
    border is 0, not the constant."""
    readers = graph.consumers.get(name, ())
    if name in graph.outputs or not readers:
        return False
    for node in readers:
        if node.op in LAYERS:
            padded = any(int(pad) for pad in node.attrs.get("pads", ()))
            if padded or node.inputs[0] != name or not has_constant_weights(graph, node):
                return False
            if groups_of(node) > 1 and not reads_depthwise(graph, node):
                return False
        elif node.op == "Add":
            alike = all(graph.values[n].shape == graph.values[name].shape for n in node.inputs)
            if clamp(node) is not None or not alike or not _takes_shift(graph, node.outputs[0]):
                return False
        else:
            return False
    return True


def _centre(
    graph: Graph, ranges: dict[str, _Ranges], factors: Collection[str]
) -> tuple[Graph, dict[str, F64]]:
    shifts: dict[str, F64] = {}
    edit = Editor(graph)
    for node in graph.nodes:
        name = node.outputs[0]
        if node.op in LAYERS and has_constant_weights(graph, node):
            w = edit.get(node, 1)
            assert w is not None
            start = edit.get(node, 2)
            bias = np.zeros(len(w)) if start is None else start
            if node.inputs[0] in shifts:
                bias += read_shift(w, shifts[node.inputs[0]], reads_depthwise(graph, node))
            linear = clamp(node) is None and name in ranges
            if linear and ranges[name].low.size == len(w) and _takes_shift(graph, name):
                middle = _middle(ranges[name])
                if middle is not None:
                    shifts[name] = middle
                    bias -= middle
            if node.inputs[0] in shifts or name in shifts:
                edit.put(node, 2, bias)
        elif node.op == "Add" and node.name in factors:
            middle = _middle(ranges[name]) if name in ranges else None
            start = edit.get(node, 1)
            if middle is not None and start is not None and _takes_shift(graph, name):
                shifts[name] = middle
                edit.put(node, 1, start - middle)
        elif node.op == "Add" and any(n in shifts for n in node.inputs):
            shifts[name] = np.sum([shifts[n] for n in node.inputs if n in shifts], axis=0)
    for name, shift in shifts.items():
        if name in ranges:
            r = ranges[name]
            square = r.square - 2.0 * shift * r.mean + shift * shift
            ranges[name] = _Ranges(r.low - shift, r.high - shift, square, r.mean - shift)
    return edit.finish(), shifts


def _middle(r: _Ranges) -> F64 | None:
    """The middle of each channel's range, as it is written down; None where that cannot be."""
    middle = (r.low + r.high) / 2.0
    if np.abs(middle).max(initial=0.0) >= _MOST_SHIFT:
        return None
    return np.asarray(middle.astype(np.float16), np.float64)


# ---- scaling


class _Scaler:
    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, _Ranges],
        smooth: float | None,
        layers: bool,
        factors: Collection[str],
    ) -> None:
        self.graph = graph
        self.ranges = ranges
        self.smooth = smooth
        self.layers = layers
        self.channels = Channels.of(graph, factors)
        ids, count = self.channels.ids, self.channels.count
        self.gain = np.ones(count)
        self.most = np.zeros(count)
        self.cap = np.full(count, math.inf)  # the largest factor that no upper bound forbids
        self.known = {name for name in ids if name in ranges and self._fits(name)}
        for name in self.known:
            np.maximum.at(self.most, ids[name], ranges[name].most)
        for node in graph.nodes:
            bounds = clamp(node)
            name = node.outputs[0]
            if bounds is not None and math.isfinite(bounds[1]) and name in ids:
                self._cap(ids[name], name, bounds[1])

    def _fits(self, name: str) -> bool:
        rank = len(self.graph.values[name].shape)
        size = self.channels.ids[name].size
        return self.channels.axis[name] == rank - 1 and self.ranges[name].low.size == size

    def _cap(self, ids: NDArray[np.int64], name: str, bound: float) -> None:
        """A channel that the upper bound touches keeps its scale; another may grow up to it."""
        if name not in self.known:
            np.minimum.at(self.cap, ids, 0.0)
            return
        most = self.ranges[name].most
        free = np.where(most < 0.98 * bound, bound / np.maximum(most, 1e-9), 0.0)
        np.minimum.at(self.cap, ids, free)

    def run(self) -> None:
        """Decides the factors, one set of linked channels after the other."""
        for members in self.channels.components():
            readers = [n for n in self.channels.readers if self._within(n.inputs[0], members)]
            written = [n for n in self.channels.writers if self._within(n.outputs[0], members)]
            tensors = [name for name in self.known if self._within(name, members)]
            norm = any(node.op == "LayerNorm" for node in written)
            alphas: tuple[float, ...] = _ALPHAS if self.layers else ()
            if norm:
                alphas = () if self.smooth is None else (self.smooth,)
            known = bool(tensors) and all(node.inputs[0] in self.known for node in readers)
            if readers and known and alphas and not self.channels.locked[members].all():
                self._decide(members, readers, alphas)

    def _within(self, name: str, members: NDArray[np.int64]) -> bool:
        ids = self.channels.ids[name]
        return bool(ids.size) and bool(np.isin(ids[0], members))

    def _decide(
        self, members: NDArray[np.int64], readers: list[Node], alphas: tuple[float, ...]
    ) -> None:
        if not self.most[members].any():  # dead: nothing to balance
            return
        weight = self._weight_shares(readers)
        before = best = self._noise(readers, self.gain)
        for alpha in alphas:
            trial = self.gain.copy()
            trial[members] = self._factors(members, alpha, weight[members])
            noise = self._noise(readers, trial)
            if noise < best and noise < _WORTH * before:
                best, self.gain = noise, trial

    def _factors(self, members: NDArray[np.int64], alpha: float, weight: F64) -> F64:
        most = self.most[members]
        top = float(most.max())
        r = np.maximum(most, max(_LEAST * top, 1e-12))
        w = np.where(weight > 0.0, weight, 1.0)
        g = w ** (1.0 - alpha) / r**alpha
        g *= top / float((g * most).max(initial=1e-12))
        locked = self.channels.locked[members] | (self.cap[members] == 0.0)
        steps = np.floor(np.log2(np.minimum(g, np.maximum(self.cap[members], 1e-9))) * GAIN_STEPS)
        return np.where(locked, 1.0, np.exp2(np.clip(steps, -127, 127) / GAIN_STEPS))

    def _weight_shares(self, readers: list[Node]) -> F64:
        """Per channel: its largest weight over the largest of the same output; 0 where each channel
        has its own (depthwise), which costs nothing to scale."""
        found = np.zeros(self.channels.count)
        for node in readers:
            if not reads_depthwise(self.graph, node):
                w = np.abs(np.asarray(self.graph.values[node.inputs[1]].data, np.float64))
                rows = w.reshape(len(w), -1, w.shape[-1]).max(axis=1)
                rows /= np.maximum(rows.max(axis=1, keepdims=True), 1e-30)
                np.maximum.at(found, self.channels.ids[node.inputs[0]], rows.max(axis=0))
        return found

    def _noise(self, readers: list[Node], gain: F64) -> float:
        """Expected squared error of the readers' outputs over their power, for uniform rounding
        errors of a step squared over 12, in activations and weights."""
        total = 0.0
        for node in readers:
            r = self.ranges[node.inputs[0]]
            g = gain[self.channels.ids[node.inputs[0]]]
            step = float(((np.maximum(r.high, 0) - np.minimum(r.low, 0)) * g).max()) / 255.0
            w = np.asarray(self.graph.values[node.inputs[1]].data, np.float64)
            power = np.maximum(r.square, 1e-30)
            if reads_depthwise(self.graph, node):
                rows = np.square(w).reshape(len(w), -1).sum(axis=1)
                wide_g, wide_p = (np.repeat(a, len(w) // len(g)) for a in (g, power))
                noise = float((rows / wide_g**2).sum()) * step**2 / 12.0
                signal = float((rows * wide_p).sum())
            else:
                scaled = w.reshape(len(w), -1, w.shape[-1]) / g
                noise = float(np.square(scaled).sum()) * step**2 / 12.0
                steps = np.abs(scaled).max(axis=(1, 2)) / 127.0
                reach = scaled.shape[1] * float((g * g * power).sum())
                noise += float(np.square(steps).sum()) / 12.0 * reach
                signal = float((np.square(w).reshape(scaled.shape).sum(axis=(0, 1)) * power).sum())
            total += noise / max(signal, 1e-30)
        return total

    def apply(self) -> tuple[Graph, dict[str, F64]]:
        """The graph with the factors in its constants, and the factors by tensor."""
        edit = Editor(self.graph)
        ids = self.channels.ids
        for node in self.channels.writers:
            g = self.gain[ids[node.outputs[0]]]
            if np.all(g == 1.0):
                continue
            for place in (1, 2):
                data = edit.get(node, place)
                if data is not None:
                    edit.put(node, place, data * g.reshape(-1, *(1,) * (data.ndim - 1)))
        for node in self.channels.readers:
            g = self.gain[ids[node.inputs[0]]]
            w = edit.get(node, 1)
            if w is None or np.all(g == 1.0):
                continue
            if reads_depthwise(self.graph, node):
                rows = np.repeat(g, len(w) // len(g))
                edit.put(node, 1, w / rows.reshape(-1, *(1,) * (w.ndim - 1)))
            else:
                edit.put(node, 1, w / g)
        gains = {name: self.gain[found] for name, found in ids.items()}
        return edit.finish(), {name: g for name, g in gains.items() if np.any(g != 1.0)}


def equalize(
    graph: Graph,
    statistics: Mapping[str, Statistics],
    *,
    layers: bool = True,
    smooth: float | None = None,
    factors: Collection[str] = (),
) -> Equalized:
    """Centres and scales the channels of a float graph whose `statistics` calibration collected.

    `layers`: between Conv and Linear layers (cross-layer equalization); `smooth`: the alpha for
    what a LayerNorm writes (SmoothQuant), None to leave that. `factors` are nodes that
    `with_factors` put in: with `layers`, they get what suits the layers behind them.
    """
    ranges = _ranges(statistics)
    shifts: dict[str, F64] = {}
    if layers:
        graph, shifts = _centre(graph, ranges, factors)
    scaler = _Scaler(graph, ranges, smooth, layers, factors)
    scaler.run()
    graph, gains = scaler.apply()
    moved = {name: shift * gains.get(name, 1.0) for name, shift in shifts.items()}
    found = Equalized(graph, gains, moved)
    for name in found.changed:
        if name in ranges:
            g = gains.get(name, np.ones(1))
            low, high = float((ranges[name].low * g).min()), float((ranges[name].high * g).max())
            found.extremes[name] = (low, high)
    return found

# SPDX-License-Identifier: Apache-2.0
"""Centres and scales channels, so that one range per tensor fits all of them.

Centring: `centre`. Scaling multiplies channels by factors and divides the weights that read them:
cross-layer equalization (Nagel et al. 2019). It starts with the factors of SmoothQuant (Xiao et al.
2022), g = w^(1 - alpha) / r^alpha, where r is the channel's largest activation and w its largest
weight, with the alpha that promises the least error (`FactorNoise`), and descends from there. The
float network stays what it was but for rounding, and for values beyond what calibration saw in
front of an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph, Node
from octavo.ops.attrs import clamp
from octavo.quantization.centre import centre
from octavo.quantization.channel_ranges import ChannelRanges, channel_ranges
from octavo.quantization.channels import Channels, reads_depthwise
from octavo.quantization.equalized import GAIN_STEPS, Editor, Equalized
from octavo.quantization.factor_noise import FactorNoise, descend
from octavo.quantization.observers import Statistics

__all__ = ["equalize"]

Array = NDArray[Any]
F64 = NDArray[np.float64]
_ALPHAS = (0.25, 0.5, 0.75, 1.0)
#: Channels below this share of the largest gain nothing from a wider range.
_LEAST = 0.02
#: A smaller gain is not worth other numbers.
_WORTH = 0.98


class _Scaler:
    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, ChannelRanges],
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
        self.gain: F64 = np.ones(count)
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
                self._decide(members, readers, alphas, descent=self.layers and not norm)

    def _within(self, name: str, members: NDArray[np.int64]) -> bool:
        ids = self.channels.ids[name]
        return bool(ids.size) and bool(np.isin(ids[0], members))

    def _decide(
        self,
        members: NDArray[np.int64],
        readers: list[Node],
        alphas: tuple[float, ...],
        descent: bool,
    ) -> None:
        if not self.most[members].any():  # dead: nothing to balance
            return
        known = {name: self.ranges[name] for name in self.known}
        noise = FactorNoise(self.graph, self.channels, known, readers)
        weight = self._weight_shares(readers)[members]
        best = self.gain
        least = before = noise(best)

        def tried(trial: F64) -> None:
            nonlocal best, least
            error = noise(trial)
            if error < least:
                best, least = trial, error

        for alpha in alphas:
            tried(self._smoothed(members, alpha, weight))
        if descent:
            tried(self._descended(members, noise, best))
        if least < _WORTH * before:
            self.gain = best

    def _smoothed(self, members: NDArray[np.int64], alpha: float, weight: F64) -> F64:
        """The factors of SmoothQuant."""
        most = self.most[members]
        r = np.maximum(most, max(_LEAST * float(most.max()), 1e-12))
        w = np.where(weight > 0.0, weight, 1.0)
        gain = np.asarray(w ** (1.0 - alpha) / r**alpha)
        gain *= float(most.max()) / float((gain * most).max(initial=1e-12))
        return self._with(members, gain)

    def _descended(self, members: NDArray[np.int64], noise: FactorNoise, start: F64) -> F64:
        """Less noise than `start`; no channel gets beyond what the largest one reaches there."""
        most = self.most[members]
        reach = float((start[members] * most).max())
        top = np.ones_like(start)
        top[members] = reach / np.maximum(most, max(_LEAST * float(most.max()), 1e-12))
        top = np.maximum(np.minimum(top, self.cap), start)
        free = np.zeros(start.shape, np.bool_)
        free[members] = ~self._kept(members) & (most > 0.0)
        return self._with(members, descend(noise, start, free, top)[members])

    def _kept(self, members: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the channels have no factor."""
        return np.asarray(self.channels.locked[members] | (self.cap[members] == 0.0), np.bool_)

    def _with(self, members: NDArray[np.int64], gain: F64) -> F64:
        """All factors, with those of `members` as they can be written down and as upper bounds
        allow."""
        cap = np.maximum(self.cap[members], 1e-9)
        steps = np.floor(np.log2(np.minimum(gain, cap)) * GAIN_STEPS)
        found: F64 = self.gain.copy()
        stepped = np.exp2(np.clip(steps, -127, 127) / GAIN_STEPS)
        found[members] = np.where(self._kept(members), 1.0, stepped)
        return found

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
    ranges = channel_ranges(statistics)
    shifts: dict[str, F64] = {}
    if layers:
        graph, shifts = centre(graph, ranges, factors)
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

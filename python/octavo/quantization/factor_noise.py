# SPDX-License-Identifier: Apache-2.0
"""The error that factors of channels are expected to make, and the factors that make least of it.

Two roundings trade against each other. A tensor of 8 bits has one step s for all channels; an
error of s² / 12 in each channel c of it is one of s² / (12 g_c²) in x_c, and reaches the layers
that read it through the squares of their weights. The weights w / g have one step per output, that
of the largest of its row; their errors are multiplied by g x. Both are taken as uniform and
independent, relative to the power of the layer's output (Sheng et al., A Quantization-Friendly
Separable Convolution for MobileNets, 2018), and summed over all tensors and layers that share the
channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph, Node
from octavo.quantization.channel_ranges import ChannelRanges
from octavo.quantization.channels import Channels, reads_depthwise

__all__ = ["FactorNoise", "descend"]

F64 = NDArray[np.float64]
Ids = NDArray[np.int64]
#: Weights that steps are computed from; of larger layers, outputs at regular intervals.
_MOST_WEIGHTS = 1 << 20
_STEPS, _RATE = 60, 0.08


@dataclass(frozen=True)
class _Rounded:
    """A tensor in 8 bits, per channel: the range's span over 255, and the effect of its square."""

    ids: Ids
    span: F64
    effect: F64


@dataclass(frozen=True)
class _Read:
    """A layer's weights: largest magnitudes [outputs, C], the inputs' mean squares [C], and the
    factor that makes of (Σ_o step_o²) (Σ_c power_c) a share of the output's power."""

    ids: Ids
    most: F64
    power: F64
    factor: float


def _soft_max(x: F64) -> tuple[F64, F64]:
    """Maxima over the last axis, smoothed (the norm of exponent 16), and the share that each item
    has in them."""
    top = np.maximum(x.max(axis=-1, keepdims=True), 1e-30)
    z = x / top
    for _ in range(4):
        z *= z
    total = np.maximum(z.sum(axis=-1, keepdims=True), 1.0)  # less only where all are zero
    return (top * total ** (1.0 / 16.0))[..., 0], z / total


class FactorNoise:
    """The expected error, relative to the outputs of `readers`, of the tensors of `ranges` that
    share channels with them and of the readers' weights."""

    def __init__(
        self,
        graph: Graph,
        channels: Channels,
        ranges: Mapping[str, ChannelRanges],
        readers: Sequence[Node],
    ) -> None:
        self._read: list[_Read] = []
        effects: dict[str, F64] = {}
        for node in readers:
            name = node.inputs[0]
            w = np.asarray(graph.values[node.inputs[1]].data)
            power = np.maximum(ranges[name].square, 1e-30)
            depthwise = reads_depthwise(graph, node)
            w = w.reshape(len(power) if depthwise else len(w), -1, w.shape[-1])
            kept = "otc,otc->o" if depthwise else "otc,otc->c"
            effect = np.einsum(kept, w, w, dtype=np.float64, casting="safe")
            signal = max(float((effect * power).sum()), 1e-30)
            effects[name] = effects.get(name, 0.0) + effect / signal
            if not depthwise:  # there each channel has weights, and so steps, of its own
                stride = max(1, w.shape[0] * w.shape[2] // _MOST_WEIGHTS)
                share = stride * w.shape[1] / (12.0 * 127.0**2 * signal)
                most = np.abs(w[::stride]).max(axis=1).astype(np.float64)
                self._read.append(_Read(channels.ids[name], most, power, share))
        for node in reversed(graph.nodes):  # what a residual sum reads, the readers behind it see
            if node.op == "Add" and node.outputs[0] in effects:
                for name in node.inputs:
                    if name in ranges and name in channels.ids:
                        effects[name] = effects.get(name, 0.0) + effects[node.outputs[0]]
        self._rounded = [
            _Rounded(channels.ids[name], ranges[name].span / 255.0, effect / 12.0)
            for name, effect in effects.items()
        ]

    def __call__(self, gain: F64) -> float:
        """The error with factors [count]."""
        total = 0.0
        for tensor in self._rounded:
            g = gain[tensor.ids]
            total += float((tensor.span * g).max()) ** 2 * float((tensor.effect / g**2).sum())
        for layer in self._read:
            g = gain[layer.ids]
            steps = (layer.most / g).max(axis=1)
            total += layer.factor * float(steps @ steps) * float(g**2 @ layer.power)
        return total

    def slope(self, gain: F64) -> F64:
        """Derivatives by the logarithms of the factors, divided by the error; of a smooth error."""
        found = np.zeros_like(gain)
        total = 0.0
        for tensor in self._rounded:
            g = gain[tensor.ids]
            step, share = _soft_max(tensor.span * g)
            effect = step**2 * tensor.effect / g**2
            error = float(effect.sum())
            np.add.at(found, tensor.ids, 2.0 * (error * share - effect))
            total += error
        for layer in self._read:
            g = gain[layer.ids]
            steps, share = _soft_max(layer.most / g)
            squares, power = layer.factor * steps**2, layer.power * g**2
            error = float(squares.sum()) * float(power.sum())
            behind = float(squares.sum()) * power - float(power.sum()) * (squares @ share)
            np.add.at(found, layer.ids, 2.0 * behind)
            total += error
        return found / max(total, 1e-300)


def descend(noise: FactorNoise, start: F64, free: NDArray[np.bool_], most: F64) -> F64:
    """Factors of less noise than `start`'s, [count]: `free` ones move, up to `most`.

    Adam (Kingma and Ba, 2015) on their logarithms, with a rate that falls to zero."""
    x, top = np.log(start), np.log(most)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for i in range(_STEPS):
        slope = np.where(free, noise.slope(np.exp(x)), 0.0)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.95 * square + 0.05 * slope**2
        rate = _RATE * (1.0 - i / _STEPS)
        move = mean / (1.0 - 0.9 ** (i + 1))
        move /= np.sqrt(square / (1.0 - 0.95 ** (i + 1))) + 1e-4
        x = np.where(free, np.minimum(x - rate * move, top), x)
    return np.asarray(np.exp(x))

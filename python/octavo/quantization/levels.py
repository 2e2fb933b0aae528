# SPDX-License-Identifier: Apache-2.0
"""Images have 256 levels a channel: a model input made of them can be stored without any error.

Pixels p of 0 to 255 become inputs x = (p / 255 - mean) / std, channel by channel. One scale for all
channels fits none of these grids. Where the calibration data shows a grid of at most 256 levels in
each channel, the quantized network multiplies and adds per channel in front of its first rounding,
so that what it stores are the levels themselves, and the first layer's weights take that back: as
OpenVINO and TFLite fold preprocessing into a first convolution, though without asking for u8 input.

A padded convolution would border the image with level 0 instead of the level of x = 0, so the
border is put around the input before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Affine, Graph, Node, Value, constant, free_name, prune, verify
from octavo.ops.precision import LAYERS
from octavo.quantization.channels import groups_of
from octavo.quantization.parameters import TensorRange
from octavo.quantization.ranges import affine_from_range
from octavo.quantization.recipe import Settings
from octavo.quantization.rules import has_constant_weights

__all__ = [
    "Levels",
    "find_levels",
    "level_ranges",
    "levels_of",
    "levels_that_count",
    "with_levels",
]

Array = NDArray[Any]
F64 = NDArray[np.float64]
_MOST = 255
#: How far from its level a value may be, in levels.
_NEAR = 0.02
_SUFFIX = "levels"


@dataclass(frozen=True)
class Levels:
    """Channel c of a tensor holds step[c] * (q - zero[c]) for integers q of 0 to 255."""

    step: F64
    zero: F64

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the largest number that any channel's levels reach."""
        low, high = -self.step * self.zero, self.step * (_MOST - self.zero)
        return min(0.0, float(low.min())), max(0.0, float(high.max()))

    @property
    def common(self) -> Affine | None:
        """Scale and zero point in u8 where one serves all channels."""
        zero = np.rint(self.zero)
        alike = np.ptp(self.step) <= 1e-6 * self.step[0] and np.ptp(zero) == 0.0
        if not alike or np.abs(self.zero - zero).max() > _NEAR or not 0 <= zero[0] <= _MOST:
            return None
        return Affine.per_tensor(float(np.float32(self.step.mean())), int(zero[0]))

    @property
    def scale(self) -> float:
        """Of a level in the tensor that takes the place of this one, where nothing is `common`."""
        return float(np.float32(np.exp(np.log(self.step).mean())))

    @property
    def gain(self) -> F64:
        """What that tensor is times, by channel; plus `shift`."""
        return self.scale / self.step

    @property
    def shift(self) -> F64:
        """What that tensor is plus, by channel."""
        return self.scale * self.zero

    def metadata(self) -> dict[str, list[float]]:
        """Plain data, from which `levels_of` makes the same."""
        return {"step": self.step.tolist(), "zero": self.zero.tolist()}


def levels_of(told: Mapping[str, Any]) -> Levels:
    """What `Levels.metadata` wrote down. Raises ValueError or TypeError where it is damaged."""
    step, zero = (np.asarray(told.get(key), np.float64) for key in ("step", "zero"))
    whole = step.ndim == 1 and step.shape == zero.shape and step.size > 0
    if not whole or not (np.isfinite(step).all() and np.isfinite(zero).all() and step.min() > 0):
        raise ValueError("steps and zeros of levels are lists of numbers of the same length")
    return Levels(step, zero)


# ---- finding them


def _grid(values: F64) -> tuple[float, float] | None:
    """(step, any value on the grid) of sorted, different numbers; None if they are on no grid of
    256 levels."""
    spread = values[-1] - values[0] if values.size > 1 else 0.0
    if values.size > _MOST + 1 or spread <= 0.0:
        return None
    gaps = np.diff(values)
    step = gaps[gaps > 1e-5 * spread].min()
    if spread / step > _MOST + 0.5:
        return None
    place = np.rint((values - values[0]) / step)
    slope, start = np.polyfit(place, values, 1)
    off = np.abs(values - (start + slope * place)).max()
    return (float(slope), float(start)) if off <= _NEAR * slope else None


def _channel(samples: Sequence[Array], low: float, high: float) -> tuple[float, float] | None:
    """(step, zero) of a channel whose values the samples show and low to high bound."""
    seen = np.zeros(0, np.float32)
    for x in samples:
        seen = np.union1d(seen, x)
        if seen.size > _MOST + 1:  # after one sample, where there is no grid
            return None
    found = _grid(seen.astype(np.float64))
    if found is None:
        return None
    step, start = found
    bottom, top = (np.rint((end - start) / step) for end in (low, high))
    count = int(top - bottom)
    if not 0 < count <= _MOST:
        return None
    finer = _MOST // count
    spare = (_MOST - count * finer) // 2
    zero = -(start + bottom * step) / step * finer + spare
    if not -0.5 < zero < _MOST + 0.5:  # the level of 0 lies outside: let the spare reach it
        zero += -spare if zero > _MOST else spare
    return step / finer, float(zero)


def _readers(graph: Graph, name: str, settings: Mapping[str, Settings]) -> list[Node]:
    """The 8-bit convolutions that read a value, where nothing else does and they pad alike."""
    readers = list(graph.consumers.get(name, ()))
    pads = {tuple(node.attrs.get("pads", (0, 0, 0, 0))) for node in readers}
    fine = all(
        node.op == "Conv"
        and node.inputs[0] == name
        and groups_of(node) == 1
        and has_constant_weights(graph, node)
        and settings[node.name].precision == "int8"
        and not settings[node.name].symmetric
        for node in readers
    )
    return readers if fine and len(pads) == 1 and name not in graph.outputs else []


def _pixels(graph: Graph, source: str) -> tuple[str, int] | None:
    """(What convolutions read of a model input, where its channels are)."""
    value = graph.values[source]
    if value.dtype != "f32" or len(value.shape) != 4 or source in graph.outputs:
        return None
    readers = graph.consumers.get(source, ())
    if len(readers) == 1 and readers[0].op == "Transpose":
        perm = tuple(int(axis) for axis in readers[0].attrs["perm"])
        return (readers[0].outputs[0], 1) if perm == (0, 2, 3, 1) else None
    return source, 3


def find_levels(
    graph: Graph,
    settings: Mapping[str, Settings],
    samples: Sequence[Mapping[str, Array]],
    extremes: Mapping[str, tuple[Array, Array]],
) -> dict[str, Levels]:
    """The levels of model inputs that are read by 8-bit convolutions alone, by the name of what
    these read. `samples` are inputs of the graph; `extremes` are the least and largest numbers per
    channel of all data, by the same name."""
    found: dict[str, Levels] = {}
    for source in graph.inputs if samples else ():
        pixels = _pixels(graph, source)
        readers = [] if pixels is None else _readers(graph, pixels[0], settings)
        if pixels is None or not readers or pixels[0] not in extremes:
            continue
        name, axis = pixels
        low, high = extremes[name]
        channels = []
        for c in range(len(low)):
            planes = [np.take(np.asarray(sample[source]), c, axis) for sample in samples]
            channel = _channel(planes, float(low[c]), float(high[c]))
            if channel is None:
                break
            channels.append(channel)
        if len(channels) < len(low) or not channels:
            continue
        step, zero = np.array(channels, np.float64).T
        inside = bool(np.all((zero > -0.5) & (zero < _MOST + 0.5)))
        if inside or not any(int(pad) for pad in readers[0].attrs.get("pads", ())):
            found[name] = Levels(step, zero)  # else the border, a 0, would be no level
    return found


# ---- using them


def level_ranges(
    levels: Mapping[str, Levels], chosen: Mapping[str, TensorRange]
) -> dict[str, TensorRange]:
    """The `chosen` ranges, with those of `levels` in place of what a method chose."""
    found = dict(chosen)
    for name, item in levels.items():
        low, high = item.limits
        dtype = found[name].dtype
        found[name] = TensorRange(low, high, affine_from_range(low, high, dtype), dtype, "levels")
    return found


def levels_that_count(
    levels: Mapping[str, Levels], chosen: Mapping[str, TensorRange]
) -> dict[str, Levels]:
    """Those whose range is still the chosen one: a calibration table may have another."""
    return {
        name: item
        for name, item in levels.items()
        if name in chosen
        and (chosen[name].low, chosen[name].high) == item.limits
        and not chosen[name].symmetric
    }


def with_levels(
    graph: Graph, levels: Mapping[str, Levels], chosen: Mapping[str, TensorRange]
) -> tuple[Graph, dict[str, TensorRange]]:
    """The float network that computes on levels, and the ranges of its tensors."""
    found = dict(chosen)
    for name, item in levels.items():
        entry = found[name]
        shift = 128 if entry.dtype == "s8" else 0
        common = item.common
        if common is not None:
            affine = Affine.per_tensor(float(common.scale), int(common.zero_point) - shift)
            found[name] = replace(entry, affine=affine)
            continue
        graph, moved = _Rewrite(graph, name, item).run()
        del found[name]
        affine = Affine.per_tensor(item.scale, -shift)
        found[moved] = TensorRange(0.0, _MOST * item.scale, affine, entry.dtype, "levels")
    return graph, found


class _Rewrite:
    """Puts what makes levels (times their scale) of an input in front of those that read it."""

    def __init__(self, graph: Graph, name: str, levels: Levels) -> None:
        self.graph = graph
        self.name = name
        self.gain, self.shift = levels.gain, levels.shift
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: list[Node] = []
        self.titles = {node.name for node in graph.nodes}

    def run(self) -> tuple[Graph, str]:
        """The graph and the name of the new tensor."""
        readers = {node.name for node in self.graph.consumers[self.name]}
        transpose = self.graph.producers.get(self.name)
        source = self.name if transpose is None else transpose.inputs[0]
        axis = 3 if transpose is None else 1
        pads = next(
            tuple(int(p) for p in node.attrs.get("pads", (0, 0, 0, 0)))
            for node in self.graph.nodes
            if node.name in readers
        )
        moved = self._prepare(source, axis, pads)
        if transpose is not None:
            moved = self._add("Transpose", (moved,), self._moved(moved), dict(transpose.attrs))
        added, self.nodes = self.nodes, []
        for node in self.graph.nodes:
            if node.name in readers:
                self.nodes += added
                added = []
                node = self._layer(node, moved)
            if node is not transpose:
                self.nodes.append(node)
        graph = self.graph.with_(nodes=tuple(self.nodes), values=self.values)
        return verify(prune(graph)), moved

    def _moved(self, name: str) -> tuple[int, ...]:
        n, c, h, w = self.values[name].shape
        return n, h, w, c

    def _prepare(self, source: str, axis: int, pads: tuple[int, ...]) -> str:
        """x -> [Pad] -> Mul -> Add."""
        top, left, bottom, right = pads
        begin, end = ((0, top, left, 0), (0, bottom, right, 0))
        if axis == 1:
            begin, end = ((0, 0, top, left), (0, 0, bottom, right))
        name = source
        if any(pads):
            dims = self.values[name].shape
            shape = tuple(b + d + e for b, d, e in zip(begin, dims, end, strict=True))
            name = self._add("Pad", (name,), shape, {"begin": begin, "end": end, "value": 0.0})
        for op, numbers in (("Mul", self.gain), ("Add", self.shift)):
            data = numbers.astype(np.float32).reshape(-1, *(1,) * (3 - axis))
            operand = free_name(f"{self.name}/{op.lower()}", self.values)
            self.values[operand] = constant(operand, data)
            name = self._add(op, (name, operand), self.values[name].shape, {})
        return name

    def _add(
        self, op: str, inputs: tuple[str, ...], shape: tuple[int, ...], attrs: dict[str, Any]
    ) -> str:
        """Adds a node; the name of its output."""
        title = free_name(f"{self.name}/{_SUFFIX}/{op}", self.titles)
        self.titles.add(title)
        result = free_name(f"{self.name}/{_SUFFIX}", self.values)
        self.values[result] = Value(result, "f32", shape)
        self.nodes.append(Node(title, op, inputs, (result,), attrs))
        return result

    def _layer(self, node: Node, moved: str) -> Node:
        """A convolution that reads the new tensor: W' = W / gain, b' = b - sum(W') shift."""
        assert node.op in LAYERS
        w = np.asarray(self.values[node.inputs[1]].data, np.float64) / self.gain
        bias = -(w.reshape(len(w), -1, w.shape[-1]).sum(axis=1) @ self.shift)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = bias + np.asarray(self.values[node.inputs[2]].data, np.float64)
        names = []
        for base, data in ((node.inputs[1], w), (f"{node.name}/bias", bias)):
            name = free_name(f"{base}/{_SUFFIX}", self.values)
            self.values[name] = constant(name, data.astype(np.float32))
            names.append(name)
        attrs = {**node.attrs, "pads": (0, 0, 0, 0)}
        return replace(node, inputs=(moved, *names), attrs=attrs)

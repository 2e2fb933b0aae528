# SPDX-License-Identifier: Apache-2.0
"""Which channels of a network may be scaled together without changing what it computes.

A positive factor on a channel of a layer's output passes through ReLU, pooling, padding and moves
of data, and is undone in the weights that read it (Nagel et al., Data-Free Quantization Through
Weight Equalization and Bias Correction, 2019, section 4.1). Every channel of every tensor gets a
number; channels that must have the same factor share it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph, Node
from octavo.ops.attrs import clamp
from octavo.quantization.rules import has_constant_weights

__all__ = ["LAYERS", "Channels", "groups_of", "reads_depthwise"]

Ids = NDArray[np.int64]
LAYERS = frozenset(("Conv", "Linear"))
_POOLS = frozenset(("AveragePool", "GlobalAveragePool", "MaxPool"))


def groups_of(node: Node) -> int:
    """The group count of a Conv; 1 for a Linear."""
    return int(node.attrs.get("groups", 1))


def reads_depthwise(graph: Graph, node: Node) -> bool:
    """Does each input channel of a layer have weights (rows) of its own?"""
    return groups_of(node) > 1 and graph.values[node.inputs[1]].shape[-1] == 1


class _Union:
    """Disjoint sets of numbers."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def new(self, count: int) -> Ids:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, first: Ids, second: Ids) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self.root(a), self.root(b)
            self._parent[max(a, b)] = min(a, b)

    def roots(self, ids: Ids) -> Ids:
        return np.array([self.root(item) for item in ids.tolist()], np.int64)

    def __len__(self) -> int:
        return len(self._parent)


@dataclass
class Channels:
    """The channels of `graph`: `ids` by value name (with `axis`), those that may not be scaled, the
    layers that write them (`writers`) and read them (`readers`)."""

    graph: Graph
    ids: dict[str, Ids] = field(default_factory=dict)
    axis: dict[str, int] = field(default_factory=dict)
    writers: list[Node] = field(default_factory=list)
    readers: list[Node] = field(default_factory=list)
    locked: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    @staticmethod
    def of(graph: Graph, factors: Collection[str] = ()) -> Channels:
        """Follows the channels of every layer's output to the layers that read them. `factors` are
        nodes Mul and Add with a constant per channel that may have any values."""
        walk = _Walk(graph, factors)
        for node in graph.nodes:
            walk.visit(node)
        for name in graph.outputs:
            walk.lock(name)
        return walk.finish()

    @property
    def count(self) -> int:
        """Upper bound of the ids."""
        return self.locked.size

    def components(self) -> list[Ids]:
        """Sets of channel ids that share tensors: what has to be decided together."""
        union = _Union()
        union.new(self.count)
        for ids in self.ids.values():
            union.join(ids[:1].repeat(ids.size), ids)
        used = np.unique(np.concatenate([*self.ids.values(), np.zeros(0, np.int64)]))
        roots = union.roots(used)
        return [used[roots == root] for root in np.unique(roots)]


class _Walk:
    def __init__(self, graph: Graph, factors: Collection[str]) -> None:
        self.found = Channels(graph)
        self._factors = factors
        self._union = _Union()
        self._locked: list[Ids] = []

    def lock(self, name: str) -> None:
        """The channels of a value (if they have numbers) keep their scale."""
        if name in self.found.ids:
            self._locked.append(self.found.ids[name])

    def _give(self, name: str, ids: Ids, axis: int) -> None:
        self.found.ids[name], self.found.axis[name] = ids, axis

    def visit(self, node: Node) -> None:
        graph, ids = self.found.graph, self.found.ids
        source, result = node.inputs[0], node.outputs[0]
        if node.op in LAYERS and has_constant_weights(graph, node):
            self._layer(node)
        elif node.name in self._factors:
            self._factor(node)
        elif node.op == "LayerNorm" and has_constant_weights(graph, node):
            self.lock(source)
            rank = len(graph.values[result].shape)
            if int(node.attrs.get("axis", -1)) % rank == rank - 1 and len(node.inputs) > 2:
                self._give(result, self._union.new(graph.values[result].shape[-1]), rank - 1)
                self.found.writers.append(node)
        elif node.op == "Add" and self._added(node):
            self._union.join(ids[node.inputs[0]], ids[node.inputs[1]])
            self._give(result, ids[source], self.found.axis[source])
            self._clamped(node)
        elif source in ids and self._moved(node):
            return
        elif node.op == "Concat" and self._concatenated(node):
            joined = np.concatenate([ids[name] for name in node.inputs])
            self._give(result, joined, self.found.axis[source])
        else:
            for name in node.inputs:
                self.lock(name)

    def _layer(self, node: Node) -> None:
        graph, source, result = self.found.graph, node.inputs[0], node.outputs[0]
        if source in self.found.ids:
            whole = groups_of(node) == 1 or reads_depthwise(graph, node)
            if whole and self.found.axis[source] == len(graph.values[source].shape) - 1:
                self.found.readers.append(node)
            else:
                self.lock(source)
        rank = len(graph.values[result].shape)
        self._give(result, self._union.new(graph.values[result].shape[-1]), rank - 1)
        self.found.writers.append(node)
        self._clamped(node)

    def _factor(self, node: Node) -> None:
        source, result = node.inputs[0], node.outputs[0]
        ids = self.found.ids.get(source)
        if node.op == "Mul" or ids is None:
            self.lock(source)
            shape = self.found.graph.values[result].shape
            ids = self._union.new(shape[-1])
        self._give(result, ids, len(self.found.graph.values[result].shape) - 1)
        self.found.writers.append(node)

    def _clamped(self, node: Node) -> None:
        bounds = clamp(node)
        if bounds is not None and bounds[0] not in (0.0, -math.inf):
            self.lock(node.outputs[0])

    def _added(self, node: Node) -> bool:
        values, ids = self.found.graph.values, self.found.ids
        shape = values[node.outputs[0]].shape
        alike = all(name in ids and values[name].shape == shape for name in node.inputs)
        return alike and len({self.found.axis[name] for name in node.inputs}) == 1

    def _concatenated(self, node: Node) -> bool:
        rank = len(self.found.graph.values[node.outputs[0]].shape)
        axis = int(node.attrs["axis"]) % rank
        return all(self.found.axis.get(name) == axis for name in node.inputs)

    def _moved(self, node: Node) -> bool:
        """Ops on one input that keep each channel's values: gives their output its ids."""
        source, result = node.inputs[0], node.outputs[0]
        values, ids = self.found.graph.values, self.found.ids[source]
        axis, shape = self.found.axis[source], values[result].shape
        if node.op in _POOLS or node.op in ("Slice", "Pad"):
            if node.op == "Pad" and float(node.attrs.get("value", 0.0)) != 0.0:
                return False
            if shape[axis] != ids.size:
                return node.op == "Pad" and self._padded(node, ids, axis)
            self._give(result, ids, axis)
            return True
        if node.op == "Transpose":
            self._give(result, ids, _place(node.attrs, axis))
            return True
        if node.op in ("Flatten", "Reshape", "Squeeze", "Unsqueeze"):
            kept = [dim for dim in values[source].shape if dim != 1]
            if ids.size > 1 and kept == [dim for dim in shape if dim != 1]:
                places = [place for place, dim in enumerate(shape) if dim == ids.size]
                if len(places) == 1:
                    self._give(result, ids, places[0])
                    return True
        return False

    def _padded(self, node: Node, ids: Ids, axis: int) -> bool:
        """Zeros beside the channels: the new ones are free, but nothing needs them."""
        begin = int(_ints(node.attrs["begin"])[axis])
        wide = self._union.new(self.found.graph.values[node.outputs[0]].shape[axis])
        if begin < 0 or begin + ids.size > wide.size:
            return False
        self._union.join(wide[begin : begin + ids.size], ids)
        self._give(node.outputs[0], wide, axis)
        return True

    def finish(self) -> Channels:
        found = self.found
        found.ids = {name: self._union.roots(ids) for name, ids in found.ids.items()}
        found.locked = np.zeros(len(self._union), np.bool_)
        for ids in self._locked:
            found.locked[self._union.roots(ids)] = True
        return found


def _ints(items: Sequence[Any]) -> list[int]:
    return [int(item) for item in items]


def _place(attrs: Mapping[str, Any], axis: int) -> int:
    return _ints(attrs["perm"]).index(axis)

# SPDX-License-Identifier: Apache-2.0
"""The frontier by a model: noises of layers add up, and so do their times and the conversions
between them.

For a price of noise per microsecond, the cheapest choice of precisions is sought by moves of single
layers and of runs of neighbours, which pay for their conversions together; a sweep over prices
gives the (convex part of the) frontier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from octavo.ir import Graph

__all__ = ["Costs", "Edge", "edges_of", "frontier"]

#: Lengths of runs of neighbouring layers that move together.
_RUNS = (1, 2, 3, 4, 6, 8, 12, 16)
_PRICES = 17


@dataclass(frozen=True)
class Edge:
    """A tensor between layers: `source` index (-1 for a model input), `readers` indices (-1 for a
    model output), and the microseconds of its conversions."""

    source: int
    readers: tuple[int, ...]
    quantize_us: float
    dequantize_us: float


@dataclass(frozen=True)
class Costs:
    """Of layer i in its choice j: `noise[i][j]` (over signal, at the outputs) and `us[i][j]`;
    `domain[i][j]` is how its tensors are stored: conversions stand where domains meet."""

    noise: Sequence[Sequence[float]]
    us: Sequence[Sequence[float]]
    domain: Sequence[Sequence[str]]
    edges: Sequence[Edge]

    def conversion(self, edge: Edge, layers: Sequence[int]) -> float:
        """Microseconds between a tensor's producer and its readers: one conversion for each other
        domain that reads it."""

        def domain(index: int) -> str:
            return "f32" if index < 0 else self.domain[index][layers[index]]

        own = domain(edge.source)
        cost = 0.0
        for other in {domain(reader) for reader in edge.readers} - {own}:
            cost += edge.dequantize_us if other == "f32" else edge.quantize_us
        return cost

    def total_us(self, layers: Sequence[int]) -> float:
        """Microseconds of all layers and conversions."""
        own = sum(row[j] for row, j in zip(self.us, layers, strict=True))
        return own + sum(self.conversion(edge, layers) for edge in self.edges)

    def total_noise(self, layers: Sequence[int]) -> float:
        """The noise of all layers."""
        return sum(row[j] for row, j in zip(self.noise, layers, strict=True))


def edges_of(
    graph: Graph, nodes: Sequence[str], conversions: Mapping[int, tuple[float, float]]
) -> list[Edge]:
    """The tensors between the layers `nodes`; what only moves bytes belongs to what feeds it."""
    index = {name: i for i, name in enumerate(nodes)}
    readers: dict[str, set[int]] = {}
    outputs = set(graph.outputs)

    def read(name: str) -> set[int]:
        if name not in readers:
            found = {-1} if name in outputs else set()
            for node in graph.consumers.get(name, ()):
                if node.name in index:
                    found.add(index[node.name])
                else:
                    found.update(*(read(out) for out in node.outputs))
            readers[name] = found
        return readers[name]

    found = []
    sources = [(-1, name) for name in graph.inputs]
    sources += [(index[n.name], out) for n in graph.nodes if n.name in index for out in n.outputs]
    for name in (out for node in reversed(graph.nodes) for out in node.outputs):
        read(name)  # from the end, so that no recursion is deep
    for source, name in sources:
        value = graph.values[name]
        if value.dtype == "f32":
            quantize, dequantize = conversions.get(value.size, (0.0, 0.0))
            found.append(Edge(source, tuple(sorted(read(name))), quantize, dequantize))
    return found


def _moves(count: int) -> Iterator[tuple[int, int]]:
    for length in _RUNS:
        for start in range(count - length + 1):
            yield start, start + length


class _Descent:
    """Descends from one choice at one price."""

    def __init__(self, costs: Costs, price: float) -> None:
        self.costs = costs
        self.price = price
        count = len(costs.us)
        self._touching: list[set[int]] = [set() for _ in range(count)]
        for number, edge in enumerate(costs.edges):
            for index in (edge.source, *edge.readers):
                if index >= 0:
                    self._touching[index].add(number)

    def _local(self, layers: Sequence[int], start: int, end: int, touched: set[int]) -> float:
        costs = self.costs
        us = sum(costs.us[i][layers[i]] for i in range(start, end))
        us += sum(costs.conversion(costs.edges[number], layers) for number in touched)
        return self.price * us + sum(costs.noise[i][layers[i]] for i in range(start, end))

    def run(self, layers: list[int]) -> list[int]:
        """The choice from which no move leads down."""
        most = max(len(row) for row in self.costs.us)
        for _ in range(20):
            changed = False
            for start, end in _moves(len(layers)):
                touched = set().union(*self._touching[start:end])
                best = self._local(layers, start, end, touched)
                kept = layers[start:end]
                for choice in range(most):
                    moved = [
                        choice if choice < len(self.costs.us[i]) else layers[i]
                        for i in range(start, end)
                    ]
                    before = layers[start:end]
                    layers[start:end] = moved
                    now = self._local(layers, start, end, touched)
                    if now < best * (1 - 1e-12):
                        best, kept, changed = now, moved, True
                    else:
                        layers[start:end] = before
                layers[start:end] = kept
            if not changed:
                break
        return layers


def frontier(costs: Costs) -> list[tuple[int, ...]]:
    """Choices that the model finds optimal at some price of noise, least noise first, each once."""
    if not costs.us:
        return []
    slow = [int(np.argmin(row)) for row in costs.noise]
    noise = costs.total_noise([0] * len(costs.us))
    unit = max(noise, 1e-12) / max(costs.total_us([0] * len(costs.us)), 1e-9)
    found: dict[tuple[int, ...], None] = {}
    layers = slow
    for price in unit * np.logspace(-2, 2, _PRICES):
        layers = _Descent(costs, float(price)).run(list(layers))
        found[tuple(layers)] = None
    return list(found)

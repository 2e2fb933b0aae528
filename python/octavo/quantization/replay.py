# SPDX-License-Identifier: Apache-2.0
"""Runs a quantized network node by node over a set of samples, while it is being made.

Each node sees what the nodes before it, quantized already, have left of the samples. Tensors are
stored as the runtime stores them (8 bits), and dropped after their last reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Affine, Graph, Node, Value, constant, verify
from octavo.model import Model
from octavo.ops import infer_graph
from octavo.quant import quantize
from octavo.quantization.parameters import TensorRange

__all__ = ["Replay"]

Array = NDArray[Any]
Arrays = dict[str, Array]


def _pair(name: str, op: str, source: str, result: str) -> Node:
    return Node(f"{name}/{op}", op, (source,), (result,))


class _Single:
    """The graph of one node between stored tensors."""

    def __init__(self, graph: Graph, node: Node, ranges: Mapping[str, TensorRange]) -> None:
        self.graph = graph
        self.node = node
        self.ranges = ranges
        self.values: dict[str, Value] = {}
        self.before: list[Node] = []
        self.after: list[Node] = []

    def dequantized(self, stored: Value) -> str:
        """The name of the real numbers behind stored ones."""
        self.values[stored.name] = stored
        real = f"{stored.name}/real"
        self.values[real] = Value(real, "f32", stored.shape)
        self.before.append(_pair(stored.name, "DequantizeLinear", stored.name, real))
        return real

    def input(self, name: str, given: Mapping[str, Value]) -> str:
        if not name:
            return ""
        if name in given:
            return self.dequantized(replace(given[name], name=f"{name}/given"))
        value, entry = self.graph.values[name], self.ranges.get(name)
        if entry is None:
            self.values[name] = value
            return name
        if value.data is None:
            return self.dequantized(replace(value, dtype=entry.dtype, quant=entry.affine))
        data = quantize(value.data, entry.affine.scale, entry.affine.zero_point, entry.dtype)
        return self.dequantized(constant(f"{name}/stored", data, entry.affine))

    def output(self, name: str) -> str:
        value, entry = self.graph.values[name], self.ranges.get(name)
        if entry is None:
            self.values[name] = value
            return name
        self.values[f"{name}/real"] = replace(value, name=f"{name}/real")
        self.values[name] = replace(value, dtype=entry.dtype, quant=entry.affine)
        self.after.append(_pair(name, "QuantizeLinear", f"{name}/real", name))
        return f"{name}/real"

    def build(self, given: Mapping[str, Value]) -> Graph:
        inputs = {name: self.input(name, given) for name in dict.fromkeys(self.node.inputs)}
        outputs = tuple(self.output(name) for name in self.node.outputs)
        renamed = tuple(inputs[name] for name in self.node.inputs)
        node = replace(self.node, inputs=renamed, outputs=outputs)
        read = tuple(name for name in inputs if name and self.graph.values[name].data is None)
        nodes = (*self.before, node, *self.after)
        graph = Graph(self.graph.name, nodes, self.values, read, self.node.outputs)
        return verify(graph)


class Replay:
    """The samples' tensors at the front of the walk.

    `samples` are inputs by name, equal in shape; `together` of them run at once.
    """

    def __init__(
        self,
        graph: Graph,
        ranges: Mapping[str, TensorRange],
        samples: Sequence[Mapping[str, Array]],
        together: int,
        threads: int = 1,
    ) -> None:
        self._ranges = ranges
        self._threads = threads
        count = len(samples) // together
        self._front: dict[str, list[Array]] = {}
        for name in graph.inputs:
            chunks = [
                np.concatenate([s[name] for s in samples[i * together : (i + 1) * together]])
                if together > 1
                else samples[i][name]
                for i in range(count)
            ]
            self._front[name] = [self._stored(name, chunk) for chunk in chunks]
        shapes = {name: samples[0][name].shape for name in graph.inputs}
        if together > 1:
            shapes = {name: (s[0] * together, *s[1:]) for name, s in shapes.items()}
        self.graph = infer_graph(graph, shapes).with_(dynamic={}, metadata={}, notes={})
        self._left = {name: len(nodes) for name, nodes in graph.consumers.items()}

    def _stored(self, name: str, real: Array) -> Array:
        entry = self._ranges.get(name)
        if entry is None:
            return real
        return quantize(real, entry.affine.scale, entry.affine.zero_point, entry.dtype)

    def stored(self, name: str) -> list[Array]:
        """The chunks of a value that is at the front, as stored."""
        return self._front[name]

    def affine(self, name: str) -> Affine | None:
        """What the stored numbers of a value mean; None for real ones."""
        entry = self._ranges.get(name)
        return None if entry is None else entry.affine

    def step(self, node: Node, given: Mapping[str, Value]) -> None:
        """Runs one node; `given` are constants (8- or 32-bit) that stand for float ones."""
        graph = _Single(self.graph, node, self._ranges).build(given)
        if graph.inputs:
            session = Model(graph).compile(threads=self._threads)
            results: list[Arrays] = [
                session.run(dict(zip(graph.inputs, chunk, strict=True)))
                for chunk in zip(*(self._front[name] for name in graph.inputs), strict=True)
            ]
            for name in node.outputs:
                self._front[name] = [result[name] for result in results]
        for name in graph.inputs:
            self._left[name] -= 1
            if self._left[name] == 0:
                del self._front[name]

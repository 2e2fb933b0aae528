# SPDX-License-Identifier: Apache-2.0
"""Where float32 becomes 8 bits, channels can have factors of their own for nothing.

SmoothQuant (Xiao et al. 2022) hides its factors in the layer norm before a linear layer. A norm
that a residual sum reads as well, as all of a BERT are, cannot be scaled. But between a node in
float32 and an 8-bit layer each element is read, rounded and written anyway: a Mul and an Add in
between, which the weights behind them undo, become part of that step (passes/quantize_channels.py).
This puts such pairs in, as identities; equalization decides what they do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from octavo.ir import Graph, Node, Value, constant, free_name, verify
from octavo.quantization.recipe import Settings
from octavo.quantization.rules import has_constant_weights

__all__ = ["Factored", "with_factors"]


@dataclass(frozen=True)
class Factored:
    """The graph, the names of the nodes that were put in, and of what their results stand for."""

    graph: Graph
    nodes: frozenset[str] = frozenset()
    twins: Mapping[str, str] = field(default_factory=dict)


def _wanted(
    graph: Graph, nodes: Sequence[Node], settings: Mapping[str, Settings]
) -> dict[str, set[str]]:
    """Tensor -> the 8-bit Linear layers that read it, where a float32 node writes it."""
    chosen = {node.name for node in nodes}
    found: dict[str, set[str]] = {}
    for node in nodes:
        name = node.inputs[0]
        producer = graph.producers.get(name)
        if node.op != "Linear" or (producer is not None and producer.name in chosen):
            continue
        readers = [reader for reader in graph.consumers[name] if reader.name in chosen]
        if graph.values[name].data is None and all(
            reader.op == "Linear"
            and reader.inputs[0] == name
            and settings[reader.name].precision == "int8"
            and has_constant_weights(graph, reader)
            for reader in readers
        ):
            found[name] = {reader.name for reader in readers}
    return found


def with_factors(graph: Graph, nodes: Sequence[Node], settings: Mapping[str, Settings]) -> Factored:
    """x -> Linear becomes x -> Mul(1) -> Add(0) -> Linear, for those of `nodes` that are in 8 bits
    and read what one in float32 writes."""
    wanted = _wanted(graph, nodes, settings)
    if not wanted:
        return Factored(graph)
    values: dict[str, Value] = dict(graph.values)
    titles = {node.name for node in graph.nodes}
    added: set[str] = set()
    twins: dict[str, str] = {}
    result: list[Node] = []
    renamed: dict[tuple[str, str], str] = {}

    def pair(name: str) -> None:
        x = name
        for op, number in (("Mul", 1.0), ("Add", 0.0)):
            operand = free_name(f"{name}/{op.lower()}", values)
            values[operand] = constant(operand, np.full(values[name].shape[-1], number, np.float32))
            y = free_name(f"{name}/{'scaled' if op == 'Mul' else 'factors'}", values)
            values[y] = Value(y, "f32", values[name].shape)
            title = free_name(f"{name}/factors/{op}", titles)
            titles.add(title)
            added.add(title)
            result.append(Node(title, op, (x, operand), (y,)))
            x = y
        twins[x] = name
        for reader in wanted[name]:
            renamed[reader, name] = x

    for name in graph.inputs:
        if name in wanted:
            pair(name)
    for node in graph.nodes:
        inputs = tuple(renamed.get((node.name, name), name) for name in node.inputs)
        result.append(replace(node, inputs=inputs))
        for name in node.outputs:
            if name in wanted:
                pair(name)
    prepared = verify(graph.with_(nodes=tuple(result), values=values))
    return Factored(prepared, frozenset(added), twins)

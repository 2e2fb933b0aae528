# SPDX-License-Identifier: Apache-2.0
"""A part of a graph as a graph of its own, between tensors that the caller names.

before: x -> A -> B -> C -> y;  subgraph(graph, ["a"], ["b"]): a -> B -> b
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from octavo.errors import GraphError
from octavo.ir import Graph, Node, Value, free_name, verify

__all__ = ["float_boundaries", "subgraph"]


def _needed(graph: Graph, inputs: Iterable[str], outputs: Sequence[str]) -> set[str]:
    """Every value on the way from `inputs` to `outputs`, constants included."""
    given, found, pending = set(inputs), set(), list(outputs)
    while pending:
        name = pending.pop()
        if name in found:
            continue
        found.add(name)
        if name in given:
            continue
        node = graph.producers.get(name)
        if node is not None:
            pending += [source for source in node.inputs if source]
        elif graph.values[name].data is None:
            raise GraphError(f"the part up to {list(outputs)} also needs '{name}'; cut there, too")
    return found


def subgraph(
    graph: Graph, inputs: Sequence[str], outputs: Sequence[str], name: str | None = None
) -> Graph:
    """What computes `outputs` from `inputs`: names of any computed values, or of model inputs.

    Inputs that `outputs` do not need are dropped; a tensor may be both, and is passed through by no
    node. Symbolic dimensions are kept where the part starts at the model's own inputs.

    Raises GraphError: an unknown or constant tensor, or a way round `inputs`.
    """
    for title in (*inputs, *outputs):
        if title not in graph.values or graph.values[title].data is not None:
            raise GraphError(f"'{title}' is no computed tensor of graph '{graph.name}'")
    needed = _needed(graph, inputs, outputs)
    given = {title for title in inputs if title in needed}
    nodes = [
        node
        for node in graph.nodes
        if any(out in needed and out not in given for out in node.outputs)
    ]
    alive = needed | {out for node in nodes for out in node.outputs}
    own = given.issubset(graph.inputs)
    return verify(
        Graph(
            graph.name if name is None else name,
            tuple(nodes),
            {title: value for title, value in graph.values.items() if title in alive},
            tuple(title for title in dict.fromkeys(inputs) if title in given),
            tuple(dict.fromkeys(outputs)),
            {k: v for k, v in graph.dynamic.items() if own and k in given},
            {node.name: graph.notes[node.name] for node in nodes if node.name in graph.notes},
            graph.metadata if own else {},
        )
    )


def float_boundaries(graph: Graph) -> tuple[Graph, dict[str, str], dict[str, str]]:
    """The graph with float32 in place of its quantized inputs and outputs: QuantizeLinear behind
    the former, DequantizeLinear behind the latter, so that it takes and gives real numbers.

    Returns (graph, input -> its float twin, output -> its float twin); other tensors keep their
    names.
    """
    values: dict[str, Value] = dict(graph.values)
    titles = {node.name for node in graph.nodes}
    before: list[Node] = []
    after: list[Node] = []

    def twin(name: str, op: str) -> str:
        value = values[name]
        if value.quant is None:
            return name
        real = free_name(f"{name}/real", values)
        values[real] = replace(value, name=real, dtype="f32", quant=None)
        title = free_name(f"{name}/{'quantize' if op == 'QuantizeLinear' else 'real'}", titles)
        titles.add(title)
        if op == "QuantizeLinear":
            before.append(Node(title, op, (real,), (name,)))
        else:
            after.append(Node(title, op, (name,), (real,)))
        return real

    inputs = {name: twin(name, "QuantizeLinear") for name in graph.inputs}
    outputs = {name: twin(name, "DequantizeLinear") for name in graph.outputs}
    changed = graph.with_(
        nodes=(*before, *graph.nodes, *after),
        values=values,
        inputs=tuple(inputs.values()),
        outputs=tuple(outputs.values()),
        dynamic={inputs[name]: symbols for name, symbols in graph.dynamic.items()},
    )
    return verify(changed), inputs, outputs

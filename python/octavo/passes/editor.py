# SPDX-License-Identifier: Apache-2.0
"""A graph being rewritten: nodes, values, and who produces and reads what, kept up to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from octavo import ops
from octavo.ir import Graph, Node, Value, free_name, prune, verify

#: Ops that give the same elements, in the same order, other dimensions.
REDIMENSION = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))


class Editor:
    """Mutable view of a graph. `finish` prunes, verifies and returns the result."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.outputs = frozenset(graph.outputs)
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: dict[str, Node] = {}
        self.producers: dict[str, Node] = {}
        self.notes: dict[str, str] = dict(graph.notes)
        self._readers: dict[str, dict[str, None]] = {}
        for node in graph.nodes:
            self.insert(replace(node, name=self.fresh_node(node.name)))

    def finish(self) -> Graph:
        """The edited graph, verified, without what no output needs."""
        graph = self.graph.with_(
            nodes=tuple(self.nodes.values()), values=self.values, notes=self.notes
        )
        return prune(verify(graph))

    def insert(self, node: Node) -> Node:
        """Adds a node whose output values exist already."""
        self.nodes[node.name] = node
        for name in node.outputs:
            self.producers[name] = node
        for name in node.inputs:
            if name:
                self._readers.setdefault(name, {})[node.name] = None
        return node

    def drop(self, node: Node) -> None:
        """Removes a node; its output values stay until `finish`."""
        del self.nodes[node.name]
        for name in node.outputs:
            del self.producers[name]
        for name in node.inputs:
            if name:
                self._readers[name].pop(node.name, None)

    def change(self, node: Node, **fields: Any) -> Node:
        """Replaces a node by a copy with some fields changed."""
        self.drop(node)
        return self.insert(replace(node, **fields))

    def readers(self, name: str) -> list[Node]:
        """The nodes that read a value."""
        return [self.nodes[reader] for reader in self._readers.get(name, ())]

    def sole_reader(self, name: str) -> Node | None:
        """The one node that reads a value, if there is one and it is no model output."""
        found = self.readers(name)
        return found[0] if len(found) == 1 and name not in self.outputs else None

    def producer(self, name: str, op: str) -> Node | None:
        """The node that computes a value, if it is of this op."""
        node = self.producers.get(name)
        return node if node is not None and node.op == op else None

    def fresh(self, base: str) -> str:
        """A value name that is not taken."""
        return free_name(base, self.values)

    def fresh_node(self, base: str) -> str:
        """A node name that is not taken."""
        return free_name(base, self.nodes)

    def add_value(self, value: Value) -> Value:
        """Adds a value under a name that is not taken."""
        value = replace(value, name=self.fresh(value.name))
        self.values[value.name] = value
        return value

    def add(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        attrs: Mapping[str, Any] | None = None,
        *,
        like: Value | None = None,
        output: str | None = None,
    ) -> Value:
        """Adds a node with one new output, of the type and parameters of `like` (or input 0)."""
        output = self.fresh(output or name)
        node = Node(self.fresh_node(name), op, tuple(inputs), (output,), attrs or {})
        operands = [self.values[item] if item else None for item in inputs]
        (shape,) = ops.get(node).infer(node, operands)
        model = like if like is not None else self.values[inputs[0]]
        value = Value(output, model.dtype, shape, model.quant)
        self.values[output] = value
        self.insert(node)
        return value

    def redirect(self, old: str, new: str) -> None:
        """Every reader of `old` reads `new` instead."""
        for node in self.readers(old):
            inputs = tuple(new if name == old else name for name in node.inputs)
            self.change(node, inputs=inputs)

    def bypass(self, node: Node) -> bool:
        """Removes a node whose output equals its first input; False where names forbid it.

        A model output keeps its name: the producer of the input takes it over.
        """
        x, y = node.inputs[0], node.outputs[0]
        if y not in self.outputs:
            self.drop(node)
            self.redirect(y, x)
            return True
        source = self.producers.get(x)
        if source is None or x in self.outputs:
            return False
        self.drop(node)
        self.values[y] = replace(self.values[x], name=y)
        self.change(source, outputs=tuple(y if name == x else name for name in source.outputs))
        self.redirect(x, y)
        return True

    def stored_constant(self, name: str) -> Value | None:
        """The constant behind a value: itself, or what DequantizeLinear reads; else None."""
        value = self.values[name]
        if value.data is not None:
            return value
        node = self.producer(name, "DequantizeLinear")
        stored = None if node is None else self.values[node.inputs[0]]
        return stored if stored is not None and stored.data is not None else None

    def map_constant(self, name: str, function: Callable[[Value], Value]) -> str:
        """A value like `name`, whose stored constant has gone through `function`."""
        stored = self.stored_constant(name)
        assert stored is not None
        changed = self.add_value(function(stored))
        if self.values[name].data is not None:
            return changed.name
        real = self.values[name]
        return self.add("DequantizeLinear", f"{changed.name}/real", [changed.name], like=real).name

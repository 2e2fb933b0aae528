# SPDX-License-Identifier: Apache-2.0
"""Shapes of every value of a graph, from its inputs forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from octavo.errors import OctavoError, ShapeError
from octavo.ir import Graph, Shape, topological
from octavo.ops.base import get


def infer_graph(graph: Graph, input_shapes: Mapping[str, Shape] | None = None) -> Graph:
    """The graph with every computed value's shape inferred anew, for the given input shapes.

    `input_shapes` maps names of graph inputs to shapes (same rank); inputs it does not name keep
    theirs. Types and quantization parameters stay. Raises ShapeError or UnsupportedError naming
    the node, ShapeError for an unknown input name, another rank or an empty dimension.
    """
    values = dict(graph.values)
    for name, shape in (input_shapes or {}).items():
        if name not in graph.inputs:
            raise ShapeError(f"'{name}' is not an input; the inputs are {list(graph.inputs)}")
        wanted = tuple(int(dim) for dim in shape)
        if len(wanted) != len(values[name].shape) or any(dim < 1 for dim in wanted):
            raise ShapeError(
                f"input '{name}': shape {wanted} does not fit {values[name].shape}; "
                "the rank is fixed and every dimension is at least 1"
            )
        values[name] = replace(values[name], shape=wanted)
    ready = [*graph.inputs, *(value.name for value in values.values() if value.data is not None)]
    order = topological(graph.nodes, ready)
    for node in order:
        shapes = get(node).infer(node, [values[name] if name else None for name in node.inputs])
        for name, shape in zip(node.outputs, shapes, strict=True):
            values[name] = replace(values[name], shape=shape)
    return graph.with_(nodes=order, values=values)


def symbolic_shapes(graph: Graph) -> dict[str, tuple[int | str, ...]]:
    """Shapes of inputs and outputs with symbolic dimensions by name.

    An output dimension is symbolic when it changes with the symbol: each is inferred once more with
    one added. It gets the symbol's name where both are equal ("N"), else the name with an asterisk
    ("H*": some function of H).
    """
    names = (*graph.inputs, *graph.outputs)
    found: dict[str, list[int | str]] = {name: list(graph.values[name].shape) for name in names}
    for name, symbols in graph.dynamic.items():
        for axis, symbol in enumerate(symbols):
            if symbol is not None:
                found[name][axis] = symbol
    for symbol, shapes in _one_more(graph).items():
        try:
            larger = infer_graph(graph, shapes)
        except OctavoError:
            continue  # only the bound size fits the network: its outputs are as they are
        size = _size_of(larger, symbol)
        for name in graph.outputs:
            before, after = graph.values[name].shape, larger.values[name].shape
            for axis, (old, new) in enumerate(zip(before, after, strict=True)):
                if old != new and isinstance(found[name][axis], int):
                    found[name][axis] = symbol if new == size else f"{symbol}*"
    return {name: tuple(dims) for name, dims in found.items()}


def _one_more(graph: Graph) -> dict[str, dict[str, Shape]]:
    """Symbol -> input shapes with that symbol one larger than it is bound."""
    symbols = dict.fromkeys(s for names in graph.dynamic.values() for s in names if s is not None)
    return {
        symbol: {
            name: tuple(
                dim + (own == symbol)
                for dim, own in zip(graph.values[name].shape, names, strict=True)
            )
            for name, names in graph.dynamic.items()
        }
        for symbol in symbols
    }


def _size_of(graph: Graph, symbol: str) -> int:
    for name, names in graph.dynamic.items():
        if symbol in names:
            return graph.values[name].shape[names.index(symbol)]
    raise KeyError(symbol)

# SPDX-License-Identifier: Apache-2.0
"""Shapes of every value of a graph, from its inputs forward."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from octavo.errors import ShapeError
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

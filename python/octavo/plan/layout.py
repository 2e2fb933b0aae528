# SPDX-License-Identifier: Apache-2.0
"""Where tensors live before they are placed: halos for padding, and concat inputs inside outputs.

Both are optimizations that never change a value: a convolution whose input has no halo copies it
into padded scratch, and a concat input that could not be aliased is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo import ops
from octavo.ir import Graph, Node, Value

__all__ = ["Layout", "choose_layout"]

Halo = tuple[int, int, int, int]
NO_HALO: Halo = (0, 0, 0, 0)


@dataclass(frozen=True)
class Layout:
    """`halos`: value -> pixels around it. `parents`: concat input -> (output, channel offset)."""

    halos: dict[str, Halo]
    parents: dict[str, tuple[str, int]]


def _strided_ok(graph: Graph, value: Value) -> bool:
    """May the value be a strided NHWC view, given who writes and who reads it?"""
    if len(value.shape) != 4 or value.data is not None or value.dtype == "s16":
        return False
    if value.name in graph.inputs or value.name in graph.outputs:
        return False
    producer = graph.producers.get(value.name)
    if producer is None or not ops.get(producer).writes_strided:
        return False
    return all(ops.get(reader).reads_strided for reader in graph.consumers.get(value.name, ()))


def _needed_halo(graph: Graph, name: str) -> Halo:
    """The largest padding any reader wants around the value."""
    halo = NO_HALO
    for reader in graph.consumers.get(name, ()):
        if reader.inputs[0] == name:
            pads = ops.get(reader).padding(reader)
            halo = (
                max(halo[0], pads[0]),
                max(halo[1], pads[1]),
                max(halo[2], pads[2]),
                max(halo[3], pads[3]),
            )
    return halo


def _aliasable(
    graph: Graph, node: Node, taken: dict[str, tuple[str, int]]
) -> list[tuple[str, int]]:
    """(input, channel offset) of every input of a channel concat that can be written in place."""
    output = graph.values[node.outputs[0]]
    if len(output.shape) != 4 or int(node.attrs["axis"]) % 4 != 3 or not _writable(graph, output):
        return []
    found = []
    channel = 0
    for name in node.inputs:
        value = graph.values[name]
        same = value.quant is output.quant is None or (
            value.is_8bit and output.is_8bit and value.affine.same(output.affine)
        )
        free = name not in taken and node.inputs.count(name) == 1
        if same and free and value.dtype == output.dtype and _strided_ok(graph, value):
            found.append((name, channel))
        channel += value.shape[3]
    return found


def _writable(graph: Graph, output: Value) -> bool:
    """A concat output lives in the arena unless it is the model's; aliasing needs the arena."""
    return output.name not in graph.outputs


def choose_layout(graph: Graph) -> Layout:
    """Halos and concat aliases for every value of the graph."""
    parents: dict[str, tuple[str, int]] = {}
    for node in reversed(graph.nodes):  # later concats first, so that nested ones chain outwards
        if node.op == "Concat":
            for name, channel in _aliasable(graph, node, parents):
                parents[name] = (node.outputs[0], channel)
    halos: dict[str, Halo] = {}
    for name, value in graph.values.items():
        if _strided_ok(graph, value):
            halo = _needed_halo(graph, name)
            if any(halo):
                halos[name] = halo
    # A child needs its root's halo and the root needs its children's; where the root may not be
    # strided at all, the child simply is not aliased.
    for name, (parent, _) in list(parents.items()):
        root = parent
        while root in parents:
            root = parents[root][0]
        wanted = halos.pop(name, NO_HALO)
        if any(wanted):
            if _strided_ok(graph, graph.values[root]):
                have = halos.get(root, NO_HALO)
                merged = tuple(max(a, b) for a, b in zip(have, wanted, strict=True))
                halos[root] = (merged[0], merged[1], merged[2], merged[3])
            else:
                del parents[name]
                halos[name] = wanted
    return Layout(halos, parents)

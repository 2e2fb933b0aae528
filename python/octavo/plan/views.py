# SPDX-License-Identifier: Apache-2.0
"""Transposes that are never done: products of two activations read and write strided rows.

The heads of an attention are split and merged so. Only values change their strides, no step does
anything else, so whatever is not recognised here is copied as before.
"""

from __future__ import annotations

from dataclasses import dataclass

from octavo.ir import Graph, Node

__all__ = ["Views", "choose_views"]


@dataclass(frozen=True)
class Views:
    """`read`: outputs of Transpose that are views of its input. `written`: value -> (output of the
    Transpose behind it, its perm): the value is written where the Transpose would put it."""

    read: frozenset[str]
    written: dict[str, tuple[str, tuple[int, ...]]]


def choose_views(graph: Graph) -> Views:
    """Both sorts, for 8-bit values in the arena."""
    read, written = set(), {}
    for node in graph.nodes:
        if node.op != "Transpose" or not graph.values[node.outputs[0]].is_8bit:
            continue
        x, y = node.inputs[0], node.outputs[0]
        perm = _perm(graph, node)
        if _readable(graph, y, perm):
            read.add(y)
        elif _writable(graph, x, perm) and y not in graph.outputs:
            written[x] = (y, perm)
    return Views(frozenset(read), written)


def _perm(graph: Graph, node: Node) -> tuple[int, ...]:
    rank = len(graph.values[node.inputs[0]].shape)
    return tuple(int(axis) for axis in node.attrs.get("perm", reversed(range(rank))))


def _is_product(graph: Graph, node: Node) -> bool:
    return node.op == "MatMul" and graph.values[node.outputs[0]].is_8bit


def _readable(graph: Graph, name: str, perm: tuple[int, ...]) -> bool:
    """Do only products read the value, each as it may: dense rows in front, dense rows or columns
    behind?"""
    readers = graph.consumers.get(name, ())
    last = len(perm) - 1
    if name in graph.outputs or not readers or last < 1:
        return False
    for reader in readers:
        if not _is_product(graph, reader):
            return False
        if reader.inputs[0] == name and perm[-1] != last:
            return False
        if reader.inputs[1] == name and last not in perm[-2:]:
            return False
    return True


def _writable(graph: Graph, name: str, perm: tuple[int, ...]) -> bool:
    """Does a product write the value, for this reader alone, in rows that stay dense?"""
    producer = graph.producers.get(name)
    alone = len(graph.consumers[name]) == 1 and name not in graph.outputs
    last = len(perm) - 1
    dense = last > 0 and perm[-1] == last
    return producer is not None and _is_product(graph, producer) and alone and dense

# SPDX-License-Identifier: Apache-2.0
"""Where a quantized graph and its float reference can be cut at the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from octavo.ir import Graph

__all__ = ["Cut", "cuts"]


@dataclass(frozen=True)
class Cut:
    """In front of node `position`: `crossing` are the quantized graph's tensors that later nodes or
    the caller still read; `stands_for` maps the reference's tensors to those that carry them."""

    position: int
    crossing: tuple[str, ...]
    stands_for: Mapping[str, str]


def _crossing(graph: Graph) -> list[list[str]]:
    """Per position 0..n the computed tensors that live across it."""
    count = len(graph.nodes)
    born = dict.fromkeys(graph.inputs, 0)
    last: dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        born.update(dict.fromkeys(node.outputs, index + 1))
        last.update(dict.fromkeys((name for name in node.inputs if name), index))
    last.update(dict.fromkeys(graph.outputs, count))
    alive: list[list[str]] = [[] for _ in range(count + 1)]
    for name, start in born.items():
        for position in range(start, last.get(name, -1) + 1):
            alive[position].append(name)
    return alive


def _determined(reference: Graph, known: set[str]) -> bool:
    """Do the reference's outputs depend on nothing but `known` tensors and constants?"""
    pending, seen = list(reference.outputs), set(known)
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        node = reference.producers.get(name)
        if node is not None:
            pending += [source for source in node.inputs if source]
        elif reference.values[name].data is None:
            return False
    return True


def cuts(graph: Graph, reference: Graph, counterpart: Mapping[str, str]) -> list[Cut]:
    """Every place where all crossing tensors have a `counterpart` in the reference that determines
    its outputs. Where a tensor crosses both in float and quantized, the latter stands for it."""
    found = []
    for position, crossing in enumerate(_crossing(graph)):
        if any(name not in counterpart for name in crossing):
            continue
        stands_for: dict[str, str] = {}
        for name in crossing:
            other = stands_for.setdefault(counterpart[name], name)
            if graph.values[name].quant is not None and graph.values[other].quant is None:
                stands_for[counterpart[name]] = name
        if _determined(reference, set(stands_for)):
            found.append(Cut(position, tuple(crossing), stands_for))
    return found

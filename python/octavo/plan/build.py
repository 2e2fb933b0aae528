# SPDX-License-Identifier: Apache-2.0
"""From an optimized graph to the bytes that C++ runs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from octavo.files import write_atomic
from octavo.ir import Graph, verify
from octavo.plan.card import encode_card, make_card
from octavo.plan.container import Section, pack_container
from octavo.plan.encode import ConstantPool, assign_offsets, encode_plan
from octavo.plan.graph_json import encode_graph
from octavo.plan.lowering import lower

__all__ = ["PlanBytes", "build"]


@dataclass(frozen=True)
class PlanBytes:
    """A complete container: `data` is what a `.octavo` file holds."""

    data: bytes
    arena_bytes: int
    lower_bound_bytes: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file atomically. Raises InvalidArgumentError naming the path."""
        write_atomic(path, self.data)


def build(graph: Graph, *, source: Graph | None = None, keep_all: bool = False) -> PlanBytes:
    """Lowers, places and encodes an optimized graph.

    `source` is the imported graph to store for later re-planning (left out when None). With
    `keep_all` every tensor keeps bytes of its own, so that all of them can be read after a run.
    """
    lowered = lower(verify(graph))
    placement = assign_offsets(lowered, keep_all)
    pool = ConstantPool()
    keep = lowered.values.values() if keep_all else ()
    plan = encode_plan(lowered, placement, pool, keep)
    sections = [Section("plan", plan, required=True)]
    extra = []
    if source is not None:
        extra = [
            Section("card", encode_card(make_card(source))),
            Section("graph", encode_graph(source, pool)),
        ]
    sections += [Section("constants", pool.payload(), required=True), *extra]
    data = pack_container(sections)
    return PlanBytes(data, placement.arena_bytes, placement.lower_bound)

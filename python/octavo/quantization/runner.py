# SPDX-License-Identifier: Apache-2.0
"""Runs a graph of the quantizer in C++, with every value readable under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph
from octavo.ops import infer_graph
from octavo.plan import Plan
from octavo.plan.build import build
from octavo.plan.card import make_card
from octavo.session import Session

__all__ = ["GraphRunner"]

Array = NDArray[Any]
Shapes = tuple[tuple[int, ...], ...]
_MAX_SHAPES = 4


class GraphRunner:
    """A graph as it is (no passes run, so that its names stay), for any input shapes it takes.

    Each run keeps all values until the next; a plan per shape, the last four. Raises what planning
    and running raise.
    """

    def __init__(self, graph: Graph, *, threads: int = 1) -> None:
        self.graph = graph
        self._threads = threads
        self._sessions: dict[Shapes, Session] = {}
        self._last: Session | None = None
        self._known: dict[str, Array] = {}

    def _session(self, inputs: Mapping[str, Array]) -> Session:
        shapes = tuple(tuple(inputs[name].shape) for name in self.graph.inputs)
        found = self._sessions.get(shapes)
        if found is None:
            named = dict(zip(self.graph.inputs, shapes, strict=True))
            sized = infer_graph(self.graph, named).with_(dynamic={})
            plan = Plan.from_bytes(build(sized, keep_all=True).data)
            card = make_card(sized)
            found = Session(
                plan,
                (card.inputs, card.outputs),
                isa=None,
                threads=self._threads,
                reasons={},
                replan=None,
            )
            while len(self._sessions) >= _MAX_SHAPES:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[shapes] = found
        return found

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference; the outputs by name. Other values: `read`."""
        arrays = {name: np.ascontiguousarray(inputs[name]) for name in self.graph.inputs}
        session = self._session(arrays)
        outputs = session.run(arrays)
        self._known = {**arrays, **outputs}
        self._last = session
        return outputs

    def read(self, name: str) -> Array:
        """A value of the last run (real numbers; 8-bit values as the plan stores them), a constant,
        or an input."""
        if name in self._known:
            return self._known[name]
        data = self.graph.values[name].data
        if data is not None:
            return data
        assert self._last is not None
        return self._last.read_tensor(name)

    @property
    def arena_bytes(self) -> int:
        """Bytes of all values of the last run."""
        return self._last.arena_bytes if self._last is not None else 0

# SPDX-License-Identifier: Apache-2.0
"""Which part of a quantized network shows its error, by binary search over cuts of the graph.

Everything in front of a cut runs quantized, the rest in float. The first cut behind which the error
shows ends the culprit; that node alone is tried next, and only if it does not show the error by
itself does a second search move the culprit's beginning forwards. One culprit among n places costs
at most ceil(log2 n) + 3 runs, an error that has gathered over many nodes twice that.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.culprit import Culprit, hints
from octavo.analysis.cuts import Cut, cuts
from octavo.analysis.metrics import noise_ratio, ratio_db
from octavo.comparison import Reference
from octavo.errors import InvalidArgumentError
from octavo.ir import Graph, Node
from octavo.model import Model
from octavo.passes.subgraph import float_boundaries, subgraph
from octavo.quant import quantize
from octavo.reference import real_value, run_float, run_int

__all__ = ["CRITERIA", "bisect"]

Array = NDArray[Any]
Arrays = dict[str, Array]
Progress = Callable[[str, int], None]
#: sqnr: the outputs' distance from the float reference; mismatch: C++ against the integer norm.
CRITERIA = ("sqnr", "mismatch")
#: The culprit shows the error when it has at least this share of the whole noise (6 dB below).
_SHARE = 0.25
#: How far a float32 tensor may be from the norm, relative to its largest value: sums are reordered.
_FLOAT_TOLERANCE = 1e-4


def _execute(part: Graph, arrays: Mapping[str, Array]) -> Arrays:
    """Runs a graph in C++."""
    return Model(part).compile(shapes={k: v.shape for k, v in arrays.items()}).run(dict(arrays))


class _Bisection(ABC):
    """Runs of a network that is quantized between two cuts. `truth` has the right tensors by the
    reference's names."""

    def __init__(
        self, graph: Graph, places: list[Cut], truth: Arrays, names: Mapping[str, str]
    ) -> None:
        self.graph = graph
        self.places = places
        self.truth = truth
        self.names = names  # of the graph's tensors in the reference
        self.runs = 0
        self.progress: Progress | None = None

    def part(self, start: int, end: int) -> tuple[Graph, Arrays, dict[str, str]]:
        """(graph with float boundaries, its inputs, the reference's tensor -> its output) of what
        lies between two places."""
        first, last = self.places[start], self.places[end]
        made = {out for n in self.graph.nodes[first.position : last.position] for out in n.outputs}
        wanted = {ref: name for ref, name in last.stands_for.items() if name in made}
        cut = subgraph(self.graph, first.crossing, tuple(wanted.values()))
        part, inputs, outputs = float_boundaries(cut)
        fed = {
            twin: np.ascontiguousarray(self.truth[self.names[name]])
            for name, twin in inputs.items()
        }
        return part, fed, {ref: outputs[name] for ref, name in wanted.items()}

    def at(self, start: int, end: int) -> Arrays:
        """The reference's tensors at `end`, the part from `start` on quantized; what goes past that
        part is right."""
        self.runs += 1
        if self.progress is not None:
            self.progress("bisect", self.runs)
        last = self.places[end]
        found = {ref: self.truth[ref] for ref in last.stands_for}
        part, fed, outputs = self.part(start, end)
        if outputs:
            results = _execute(part, fed)
            found.update({ref: results[name] for ref, name in outputs.items()})
        return found

    @abstractmethod
    def ratio(self, start: int, end: int) -> float:
        """Noise over signal: inf where something is broken altogether."""


class _AgainstFloat(_Bisection):
    """The error at the model's outputs, behind a float rest."""

    reference: Graph

    def ratio(self, start: int, end: int) -> float:
        reference, tensors = self.reference, self.at(start, end)
        given = tuple(name for name in tensors if name not in reference.outputs)
        rest = [name for name in reference.outputs if name not in tensors]
        if rest:
            tail = subgraph(reference, given, rest)
            tensors.update(run_float(tail, {name: tensors[name] for name in tail.inputs}))
        return max(noise_ratio(tensors[name], self.truth[name]) for name in reference.outputs)


class _AgainstNorm(_Bisection):
    """Any difference at the cut; 8-bit tensors are equal or not."""

    def ratio(self, start: int, end: int) -> float:
        worst = 0.0
        for name, got in self.at(start, end).items():
            ratio = noise_ratio(got, self.truth[name])
            if self.graph.values[name].quant is None:
                reach = _FLOAT_TOLERANCE * float(np.abs(self.truth[name]).max(initial=0.0))
                ratio = ratio if np.abs(got - self.truth[name]).max(initial=0.0) > reach else 0.0
            worst = max(worst, ratio)
        return worst


def _against_float(
    model: Model, graph: Graph, inputs: Mapping[str, Array], reference: Model | None
) -> _Bisection:
    truth = Reference(model, inputs, reference.source if reference else None)
    names = {name: name for name in graph.inputs if name in truth.tensors}
    for node in graph.nodes:
        for value in graph.outputs_of(node):
            name = truth.counterpart(node, value)
            if name is not None:
                names[value.name] = name
    found = _AgainstFloat(graph, cuts(graph, truth.graph, names), truth.tensors, names)
    found.reference = truth.graph
    ends = {place.position for place in found.places}
    if not ends.issuperset((0, len(graph.nodes))):
        raise InvalidArgumentError(
            "the reference has other inputs or outputs than the model, by name or shape; is it the "
            "float model this one was quantized from?"
        )
    return found


def _against_norm(graph: Graph, inputs: Mapping[str, Array]) -> _Bisection:
    stored = {
        name: quantize(array, v.scale, v.zero_point, v.dtype)
        if (v := graph.values[name]).is_8bit and array.dtype == np.float32
        else array
        for name, array in inputs.items()
    }
    results = run_int(graph, stored, keep=True)
    truth = {name: real_value(graph.values[name], array) for name, array in results.items()}
    names = {name: name for name in truth if graph.values[name].data is None}
    return _AgainstNorm(graph, cuts(graph, graph, names), truth, names)


def _first(low: int, high: int, shown: Callable[[int], bool]) -> int:
    """The smallest place that shows the error, given that `low` does not and `high` does. Where the
    error is not monotonous: one that shows it, whose neighbour in front does not."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if shown(middle) else (middle, high)
    return high


def bisect(
    model: Model,
    inputs: Mapping[str, Array] | Array,
    *,
    reference: Model | None = None,
    criterion: str = "sqnr",
    threshold_db: float | None = None,
    progress: Progress | None = None,
) -> Culprit | None:
    """The smallest part of a quantized model that shows its error; None where there is none.

    `inputs` as for `Session.run`, with any batch. `criterion` "sqnr" looks at the model's outputs
    against the float network (`reference`, else the one the model was quantized from, else the
    dequantized weights): an error shows when its SQNR is below `threshold_db`, or, without a
    threshold, when it has a quarter of the noise of the whole model. "mismatch" compares C++ with
    the integer norm of docs/numerics.md, and needs no reference: a difference is a bug of a kernel.
    `progress("bisect", runs)` is called before each run.

    Raises InvalidArgumentError, and what `Model.compile` and `Session.run` raise.
    """
    if criterion not in CRITERIA:
        raise InvalidArgumentError(f"criterion='{criterion}': choose one of {', '.join(CRITERIA)}")
    if not isinstance(inputs, Mapping):
        if len(model.inputs) != 1:
            raise InvalidArgumentError("the model has several inputs: pass a dict of name -> array")
        inputs = {model.inputs[0].name: inputs}
    graph = model.graph_for({name: tuple(np.shape(array)) for name, array in inputs.items()})
    if criterion == "sqnr":
        search = _against_float(model, graph, inputs, reference)
    else:
        search = _against_norm(graph, inputs)
    search.progress = progress
    end = len(search.places) - 1
    whole = search.ratio(0, end)
    if criterion == "mismatch":
        limit = np.nextafter(0.0, 1.0)
    else:
        limit = whole * _SHARE if threshold_db is None else 10.0 ** (-threshold_db / 10.0)
        limit = limit if math.isfinite(limit) else np.finfo(np.float64).max
    if whole == 0.0 or whole < limit:
        return None
    return _search(search, whole, float(limit), criterion)


def _search(search: _Bisection, whole: float, limit: float, criterion: str) -> Culprit:
    count = len(search.places) - 1
    before = 0.0

    def prefix(end: int) -> bool:
        nonlocal before
        ratio = search.ratio(0, end)
        before = before if ratio >= limit else ratio
        return ratio >= limit

    end = _first(0, count, prefix)
    start = end - 1
    alone = whole if count == 1 else search.ratio(start, end)
    if alone < limit and start > 0:
        # the part that begins at `count - k` shows the error: the largest beginning that does
        tried: dict[int, float] = {}

        def suffix(steps: int) -> bool:
            tried[steps] = search.ratio(end - steps, end)
            return tried[steps] >= limit

        steps = _first(1, end, suffix)
        start = end - steps
        alone = tried.get(steps, math.nan)
        alone = search.ratio(start, end) if math.isnan(alone) else alone
    part, fed, outputs = search.part(start, end)
    first, last = search.places[start].position, search.places[end].position
    nodes: list[Node] = list(search.graph.nodes[first:last])
    return Culprit(
        criterion=criterion,
        nodes=tuple(node.name for node in nodes),
        ops=tuple(node.op for node in nodes),
        whole_db=ratio_db(whole),
        before_db=ratio_db(before),
        alone_db=ratio_db(alone),
        runs=search.runs,
        bound=2 * math.ceil(math.log2(max(2, count))) + 3,
        places=count,
        hints=hints(search.graph, nodes, search.names, search.truth, _twins(search)),
        part=part,
        inputs=fed,
        outputs=_execute(part, fed),
        expected={name: search.truth[ref] for ref, name in outputs.items()},
    )


def _twins(search: _Bisection) -> dict[str, Array]:
    """Node name -> the float weights it was quantized from."""
    reference = getattr(search, "reference", None)
    if reference is None:
        return {}
    return {
        node.name: real_value(weights, weights.data)
        for node in reference.nodes
        if len(node.inputs) > 1
        and node.inputs[1]
        and (weights := reference.values[node.inputs[1]]).data is not None
    }

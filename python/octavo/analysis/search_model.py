# SPDX-License-Identifier: Apache-2.0
"""Measured noise and time of every layer in every precision, for the model of the frontier."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.search_frontier import Costs, edges_of, frontier
from octavo.analysis.search_latency import conversion_us, layer_us
from octavo.analysis.search_space import Space
from octavo.analysis.sensitivity import only_recipe
from octavo.analysis.trials import Score
from octavo.analysis.trials_journal import Journal
from octavo.analysis.trials_problem import Problem
from octavo.ir import Graph
from octavo.model import Model
from octavo.quantization.recipe import Recipe, Rule

__all__ = ["modelled", "proxy_problem"]

#: How many samples the noise of single layers is measured on.
_SAMPLES = 32
#: How a precision stores a layer's tensors; the others have float32 around the layer.
_DOMAIN = {"int8": "8", "int16": "16"}


def proxy_problem(problem: Problem) -> Problem:
    """The problem with few samples to measure on."""
    kept, count = [], 0
    for batch in problem.evaluation:
        size = len(next(iter(batch.values())))
        kept.append({name: array[: _SAMPLES - count] for name, array in batch.items()})
        count += size
        if count >= _SAMPLES:
            break
    return Problem(problem.graph, problem.calibration, kept, None, "sqnr")


def _noise(space: Space, scores: Callable[[list[Recipe]], list[Score]]) -> list[list[float]]:
    """Noise over signal at the outputs with a layer alone in each of its precisions."""
    places = [
        (i, j)
        for i, choices in enumerate(space.choices)
        for j, choice in enumerate(choices)
        if choice.precision != "float32"
    ]
    recipes = []
    for i, j in places:
        choice = space.choices[i][j]
        alone = only_recipe(space.start, space.nodes[i], choice.precision)
        rule = Rule.for_nodes([space.nodes[i]], **dict(choice.settings))
        recipes.append(alone.with_rules(rule) if choice.settings else alone)
    found = [[0.0] * len(choices) for choices in space.choices]
    for (i, j), score in zip(places, scores(recipes), strict=True):
        found[i][j] = float(10.0 ** (-np.clip(score.sqnr_db, -100.0, 200.0) / 10.0))
    return found


def _time(
    space: Space,
    graph: Graph,
    uniform: Mapping[str, Model],
    sample: Mapping[str, NDArray[Any]],
    threads: int,
    journal: Journal,
) -> tuple[list[list[float]], dict[int, tuple[float, float]]]:
    """(microseconds per layer and choice, microseconds of conversions by size)."""
    if "layers" not in journal:
        journal.record("layers", layer_us(uniform, sample, threads))
    if "conversions" not in journal:
        sizes = {
            value.size
            for value in (
                *map(graph.values.__getitem__, graph.inputs),
                *itertools.chain.from_iterable(map(graph.outputs_of, graph.nodes)),
            )
            if value.dtype == "f32"
        }
        measured = conversion_us(sizes, threads)
        journal.record("conversions", {str(size): us for size, us in measured.items()})
    table = journal["layers"]
    us = [
        [float(table[choice.precision].get(node, 0.0)) for choice in choices]
        for node, choices in zip(space.nodes, space.choices, strict=True)
    ]
    return us, {int(size): tuple(pair) for size, pair in journal["conversions"].items()}


def modelled(
    space: Space,
    graph: Graph,
    uniform: Mapping[str, Model],
    sample: Mapping[str, NDArray[Any]],
    threads: int,
    journal: Journal,
    scores: Callable[[list[Recipe]], list[Score]],
) -> Sequence[tuple[int, ...]]:
    """The frontier of the model in which noise and time of layers add up: choices per layer.

    `scores` measures recipes on few samples; times are measured here."""
    if all(len(choices) == 1 for choices in space.choices):
        return []
    us, conversions = _time(space, graph, uniform, sample, threads, journal)
    domains = [[_DOMAIN.get(c.precision, "f32") for c in choices] for choices in space.choices]
    edges = edges_of(graph, space.nodes, conversions)
    return frontier(Costs(_noise(space, scores), us, domains, edges))

# SPDX-License-Identifier: Apache-2.0
"""The optimization stage: what is done to a calibrated float network before it is quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from octavo.errors import FormatError, InvalidArgumentError
from octavo.ir import Graph
from octavo.quantization.calibration import Calibration, Progress, calibrate
from octavo.quantization.equalize import equalize
from octavo.quantization.equalized import Equalized, equalize_again
from octavo.quantization.factors import Factored
from octavo.quantization.levels import find_levels
from octavo.quantization.observers import Statistics
from octavo.quantization.recipe import Recipe, Settings

__all__ = ["equalized", "equalized_as"]


def equalized(
    factored: Factored,
    values: Sequence[str],
    found: Calibration,
    recipe: Recipe,
    settings: Mapping[str, Settings],
    progress: Progress | None,
) -> tuple[Equalized, dict[str, Statistics]]:
    """The network with centred and scaled channels, as the recipe says, the levels of its inputs,
    and the statistics of all values in it: those of changed tensors from the kept samples, with the
    extremes that the whole data would have given."""
    result, statistics = _scaled(factored, values, found, recipe, progress)
    if recipe.equalize:
        graph = factored.graph
        channels = {name: entry.channels for name, entry in found.statistics.items()}
        extremes = {n: (c.low, c.high) for n, c in channels.items() if c is not None}
        result.levels = find_levels(graph, settings, found.kept, extremes)
        result.readers = {
            name: [node.name for node in graph.consumers[name]]
            for name in (*factored.twins, *result.levels)
        }
    return result, statistics


def _scaled(
    factored: Factored,
    values: Sequence[str],
    found: Calibration,
    recipe: Recipe,
    progress: Progress | None,
) -> tuple[Equalized, dict[str, Statistics]]:
    graph = factored.graph
    statistics = dict(found.statistics)
    for name, twin in factored.twins.items():
        if twin in statistics:  # not where a table alone gives the ranges
            statistics[name] = statistics[twin]  # the same numbers, so far
    wanted = recipe.equalize or recipe.smooth is not None
    if not wanted or not found.kept:
        return Equalized(graph), statistics
    result = equalize(
        graph,
        statistics,
        layers=recipe.equalize,
        smooth=recipe.smooth,
        factors=factored.nodes,
    )
    changed = [name for name in result.changed if name in statistics and name in values]
    if not changed:
        return Equalized(graph), statistics

    def report(stage: str, done: int, total: int | None) -> None:
        if progress is not None:
            progress("equalize", done, len(found.kept))

    again = calibrate(result.graph, changed, found.kept, progress=report)
    for name in changed:
        statistics[name] = again.statistics[name]
        low, high = result.extremes[name]
        histogram = statistics[name].histogram
        histogram.low = min(histogram.low, low)
        histogram.high = max(histogram.high, high)
    return result, statistics


def equalized_as(
    table: Mapping[str, Any], graph: Graph, found: Equalized, from_data: bool
) -> Equalized:
    """The network that a calibration table's ranges are of: `found` where data gave the same one,
    else equalized again as the table says.

    Raises InvalidArgumentError where the data gives another one: the ranges would not fit it.
    """
    if "equalized" not in table:  # written by hand: what it says counts for the network as it is
        return found
    told = table["equalized"]
    if not isinstance(told, Mapping):
        raise FormatError('a calibration table has an object "equalized"')
    if not from_data:
        return equalize_again(graph, told)
    if found.metadata() != told:
        raise InvalidArgumentError(
            "the calibration table was made of a network equalized by other data or another "
            'recipe; quantize with the table alone, or make it anew with "equalize": false'
        )
    return found

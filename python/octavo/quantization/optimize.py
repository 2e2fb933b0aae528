# SPDX-License-Identifier: Apache-2.0
"""The optimization stage: what is done to a calibrated float network before it is quantized."""

from __future__ import annotations

from collections.abc import Sequence

from octavo.ir import Graph
from octavo.quantization.calibration import Calibration, Progress, calibrate
from octavo.quantization.equalize import equalize
from octavo.quantization.equalized import Equalized
from octavo.quantization.observers import Statistics
from octavo.quantization.recipe import Recipe

__all__ = ["equalized"]


def equalized(
    graph: Graph,
    values: Sequence[str],
    found: Calibration,
    recipe: Recipe,
    progress: Progress | None,
) -> tuple[Equalized, dict[str, Statistics]]:
    """The network with centred and scaled channels, as the recipe says, and the statistics of all
    values in it: those of changed tensors from the kept samples, with the extremes that the whole
    data would have given."""
    wanted = recipe.equalize or recipe.smooth is not None
    if not wanted or not found.kept:
        return Equalized(graph), found.statistics
    result = equalize(graph, found.statistics, layers=recipe.equalize, smooth=recipe.smooth)
    changed = [name for name in result.changed if name in found.statistics and name in values]
    if not changed:
        return Equalized(graph), found.statistics

    def report(stage: str, done: int, total: int | None) -> None:
        if progress is not None:
            progress("equalize", done, len(found.kept))

    again = calibrate(result.graph, changed, found.kept, progress=report)
    statistics = dict(found.statistics)
    for name in changed:
        statistics[name] = again.statistics[name]
        low, high = result.extremes[name]
        histogram = statistics[name].histogram
        histogram.low = min(histogram.low, low)
        histogram.high = max(histogram.high, high)
    return result, statistics

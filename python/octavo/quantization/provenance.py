# SPDX-License-Identifier: Apache-2.0
"""What the calibration data looked like, kept in the model: data prepared otherwise can be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from octavo.ir import Graph
from octavo.quantization.observers import Statistics

__all__ = ["INPUTS_KEY", "input_statistics"]

#: Under which `Graph.metadata` holds them.
INPUTS_KEY = "calibration_inputs"
#: Means are kept per channel up to so many, as images have; of more there is one for all.
_CHANNELS = 4


def input_statistics(
    graph: Graph, statistics: Mapping[str, Statistics]
) -> dict[str, dict[str, Any]]:
    """{input: {"samples", "low", "high", "mean", "std"}}: mean and std are lists, one number for
    each channel (the last axis of NHWC) or one for all. Plain data; four digits, since they judge
    and do not compute."""
    found = {}
    for name in graph.inputs:
        readers = [node for node in graph.consumers.get(name, ()) if node.op == "Transpose"]
        names = [*(node.outputs[0] for node in readers), name]
        seen = next((statistics[n] for n in names if n in statistics), None)
        if seen is None or seen.channels is None or not seen.samples:
            continue
        mean = np.asarray(seen.channels.mean, np.float64)
        square = np.asarray(seen.channels.mean_square, np.float64)
        if len(mean) > _CHANNELS:
            mean, square = mean.mean(keepdims=True), square.mean(keepdims=True)
        std = np.sqrt(np.maximum(square - mean * mean, 0.0))
        found[name] = {
            "samples": seen.samples,
            "low": _short(seen.low),
            "high": _short(seen.high),
            "mean": [_short(number) for number in mean],
            "std": [_short(number) for number in std],
        }
    return found


def _short(number: float) -> float:
    return float(f"{number:.4g}")

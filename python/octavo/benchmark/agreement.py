# SPDX-License-Identifier: Apache-2.0
"""Do two runtimes mean the same by a model? Their outputs on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from octavo.benchmark.runtimes import Outputs
from octavo.model import Model

__all__ = ["Agreement", "agreement", "output_steps"]


@dataclass(frozen=True)
class Agreement:
    """`equal` is the share of values on the same quantization level (bit-equal where an output does
    not come from 8 bits); `max_steps` the largest difference in levels. A maximum is None where
    there is no step, or a value is not finite."""

    equal: float
    max_steps: float | None
    max_abs: float | None


def output_steps(model: Model) -> dict[str, float | None]:
    """Quantization step (scale) of each output; None where it does not come from 8 bits."""
    graph = model.source
    producers = {name: node for node in graph.nodes for name in node.outputs}
    steps: dict[str, float | None] = {}
    for name in graph.outputs:
        value, node = graph.values[name], producers.get(name)
        if node is not None and node.op == "DequantizeLinear":
            value = graph.values[node.inputs[0]]
            steps[name] = value.scale if value.is_8bit and value.affine.scale.size == 1 else None
        else:
            steps[name] = None if value.dtype == "f32" else 1.0
    return steps


def agreement(
    expected: list[Outputs], actual: list[Outputs], steps: Mapping[str, float | None]
) -> Agreement:
    """Compare the outputs of two runtimes, one dict per input.

    Raises:
        ValueError: a shape differs, or there is nothing to compare.
    """
    equal = total = 0
    differences: list[float] = []
    levels: list[float] = []
    for left, right in zip(expected, actual, strict=True):
        for name, a in left.items():
            b = right[name]
            if a.shape != b.shape:
                raise ValueError(f"output {name!r}: shapes {a.shape} and {b.shape} differ")
            difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
            step = steps[name]
            # Runtimes dequantize with different roundings of the same level: compare levels.
            same = a == b if step is None else np.rint(difference / step) == 0
            equal += int(np.count_nonzero(same))
            total += a.size
            differences.append(float(difference.max(initial=0.0)))
            if step is not None:
                levels.append(float(np.rint(difference / step).max(initial=0.0)))
    if total == 0:
        raise ValueError("there are no output values to compare")
    return Agreement(equal / total, _finite_max(levels), _finite_max(differences))


def _finite_max(values: list[float]) -> float | None:
    return max(values) if values and np.isfinite(values).all() else None

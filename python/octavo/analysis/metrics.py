# SPDX-License-Identifier: Apache-2.0
"""What is measured at a network's outputs: pure functions of arrays, which any process can run.

A metric takes (outputs, reference outputs, labels), each outputs name -> array over all samples,
and gives a number of which more is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError

__all__ = ["METRICS", "Metric", "metric_named", "noise_ratio", "ratio_db", "sqnr_db"]

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Metric = Callable[[Arrays, Arrays, Array | None], float]


def noise_ratio(got: Array, expected: Array) -> float:
    """sum (got - expected)^2 / sum expected^2 in float64; inf for NaN and for noise on silence."""
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    difference = a - b
    noise, signal = float(np.dot(difference, difference)), float(np.dot(b, b))
    if noise == 0.0:
        return 0.0
    ratio = noise / signal if signal > 0.0 else math.inf
    return ratio if math.isfinite(ratio) else math.inf


def ratio_db(ratio: float) -> float:
    """A noise ratio as an SQNR in dB: inf for none."""
    if ratio == 0.0:
        return math.inf
    return -math.inf if math.isinf(ratio) else -10.0 * math.log10(ratio)


def sqnr_db(outputs: Arrays, reference: Arrays, labels: Array | None = None) -> float:
    """SQNR in dB of the worst output."""
    return ratio_db(max(noise_ratio(outputs[name], reference[name]) for name in reference))


def _cosine(outputs: Arrays, reference: Arrays, labels: Array | None) -> float:
    """Mean cosine of the samples' outputs, the worst of the model's outputs."""
    worst = 1.0
    for name, expected in reference.items():
        a = outputs[name].reshape(len(expected), -1).astype(np.float64)
        b = expected.reshape(len(expected), -1).astype(np.float64)
        norm = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        dots = np.einsum("ij,ij->i", a, b)
        equal = (a == b).all(axis=1).astype(np.float64)
        worst = min(
            worst, float(np.where(norm > 0.0, dots / np.maximum(norm, 1e-300), equal).mean())
        )
    return worst


def _classes(outputs: Arrays) -> Array:
    """Top-1 of the first output, whose classes stand along the last axis."""
    first = next(iter(outputs.values()))
    return np.asarray(first.reshape(len(first), -1, first.shape[-1]).argmax(-1))


def _agreement(outputs: Arrays, reference: Arrays, labels: Array | None) -> float:
    """Share of equal top-1 classes, first output."""
    return float(np.mean(_classes(outputs) == _classes(reference)))


def _accuracy(outputs: Arrays, reference: Arrays, labels: Array | None) -> float:
    """Share of top-1 classes that equal the labels, first output."""
    if labels is None:
        raise InvalidArgumentError("metric='accuracy' needs labels=, one per sample")
    return float(np.mean(_classes(outputs).reshape(len(labels), -1)[:, 0] == labels))


METRICS: Mapping[str, Metric] = {
    "sqnr": sqnr_db,
    "agreement": _agreement,
    "cosine": _cosine,
    "accuracy": _accuracy,
}


def metric_named(metric: str | Metric) -> Metric:
    """A metric by its name, or the caller's own. Raises InvalidArgumentError for an unknown one."""
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise InvalidArgumentError(
            f"metric='{metric}': choose one of {', '.join(METRICS)}, or pass a function of "
            "(outputs, reference outputs, labels)"
        )
    return METRICS[metric]

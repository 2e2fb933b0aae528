# SPDX-License-Identifier: Apache-2.0
"""Metrics against their definitions."""

import math

import numpy as np
import pytest

from octavo.analysis.metrics import METRICS, metric_named, noise_ratio, ratio_db
from octavo.errors import InvalidArgumentError


def test_noise_ratio_and_decibels():
    right = np.array([3.0, 4.0], np.float32)
    assert noise_ratio(right, right) == 0.0
    assert noise_ratio(right * np.float32(1.5), right) == 0.25
    assert noise_ratio(right * np.nan, right) == math.inf
    assert noise_ratio(right, 0 * right) == math.inf
    assert [ratio_db(r) for r in (0.0, 0.1, 1.0, math.inf)] == [math.inf, 10.0, 0.0, -math.inf]


def test_metrics_by_hand():
    reference = {"y": np.array([[1, 2, 0], [5, 0, 1], [0, 0, 9], [1, 0, 0]], np.float32)}
    outputs = {"y": np.array([[2, 1, 0], [5, 0, 1], [0, 0, 9], [1, 0, 0]], np.float32)}
    labels = np.array([0, 0, 2, 2])
    assert METRICS["agreement"](outputs, reference, None) == 0.75
    assert METRICS["accuracy"](outputs, reference, labels) == 0.75
    assert METRICS["accuracy"](reference, reference, labels) == 0.5
    assert METRICS["sqnr"](outputs, reference, None) == pytest.approx(10 * math.log10(113 / 2))
    assert METRICS["cosine"](outputs, reference, None) == pytest.approx((0.8 + 3) / 4)


def test_several_outputs_count_by_the_worst():
    reference = {"a": np.ones((2, 2), np.float32), "b": np.ones((2, 2), np.float32)}
    outputs = {"a": reference["a"], "b": np.float32(0.5) * reference["b"]}
    assert METRICS["sqnr"](outputs, reference, None) == pytest.approx(10 * math.log10(4))
    assert METRICS["cosine"](outputs, reference, None) == pytest.approx(1.0)


def test_unknown_metrics_and_missing_labels_are_refused():
    with pytest.raises(InvalidArgumentError, match="sqnr, agreement"):
        metric_named("top5")
    with pytest.raises(InvalidArgumentError, match="labels"):
        METRICS["accuracy"]({"y": np.ones((1, 2))}, {"y": np.ones((1, 2))}, None)
    assert metric_named(max) is max

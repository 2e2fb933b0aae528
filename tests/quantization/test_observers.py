# SPDX-License-Identifier: Apache-2.0
"""Streaming statistics do not depend on how the data is cut, and ranges do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.errors import InvalidArgumentError, QuantizationError
from octavo.quantization.observers import Histogram
from octavo.quantization.ranges import activation_range, affine_from_range, weight_scales


def observe(*batches: np.ndarray) -> Histogram:
    histogram = Histogram("t")
    for batch in batches:
        histogram.add(batch)
    return histogram


@pytest.mark.parametrize("seed", range(10))
def test_bins_do_not_depend_on_the_batches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = (rng.standard_normal(4000) * 10.0 ** rng.uniform(-3, 3)).astype(np.float32)
    data[rng.integers(0, 4000)] *= 50  # an outlier somewhere makes the range grow on the way
    whole, parts = observe(data), observe(*np.array_split(data, 7))
    assert (whole.low, whole.high) == (parts.low, parts.high) == (data.min(), data.max())
    np.testing.assert_array_equal(whole.bins()[0], parts.bins()[0])
    np.testing.assert_array_equal(whole.bins()[1], parts.bins()[1])
    assert whole.bins()[1].sum() == data.size


def test_nan_is_refused_by_name() -> None:
    with pytest.raises(QuantizationError, match=r"'t'.*NaN"):
        observe(np.array([1.0, np.nan], np.float32))


def test_zero_is_always_exact() -> None:
    for low, high in [(0.5, 3.0), (-3.0, -0.5), (-1.0, 2.0), (0.0, 0.0)]:
        affine = affine_from_range(low, high)
        assert 0 <= int(affine.zero_point) <= 255
        assert float(affine.scale) > 0


def test_mse_clips_an_outlier_and_minmax_does_not() -> None:
    rng = np.random.default_rng(1)
    data = np.abs(rng.standard_normal(20000)).astype(np.float32)
    data[0] = 40.0
    histogram = observe(data)
    assert activation_range([histogram], "minmax") == (0.0, 40.0)
    assert 3.0 < activation_range([histogram], "mse")[1] < 39.0


def squared_error(data: np.ndarray, method: str) -> float:
    affine = affine_from_range(*activation_range([observe(data)], method))
    scale, zero = float(affine.scale), int(affine.zero_point)
    q = np.clip(np.rint(data / scale) + zero, 0, 255)
    return float(np.square((q - zero) * scale - data).sum())


def test_mse_is_never_worse_than_minmax_on_the_data_itself() -> None:
    rng = np.random.default_rng(2)
    for _ in range(5):
        data = rng.laplace(0, 1, 5000).astype(np.float32)
        assert squared_error(data, "mse") <= squared_error(data, "minmax") * 1.001


def test_subnormal_numbers_are_counted() -> None:
    histogram = observe(np.array([1e-44, -1e-40, 0.0], np.float32))
    assert histogram.bins()[1].sum() == 3
    assert histogram.low < 0 < histogram.high


def test_a_range_that_ends_just_below_a_power_of_two_does_not_depend_on_the_batches() -> None:
    data = np.array([0.3, 0.49999997], np.float32)
    np.testing.assert_array_equal(observe(data).bins()[0], observe(*np.split(data, 2)).bins()[0])


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(InvalidArgumentError, match="mse, minmax"):
        activation_range([observe(np.ones(3, np.float32))], "magic")


@pytest.mark.parametrize("method", ["mse", "minmax"])
def test_weight_scales_cover_or_clip_per_channel(method: str) -> None:
    rng = np.random.default_rng(3)
    weights = rng.laplace(0, 1, (8, 3, 3, 16)).astype(np.float32)
    weights[3] = 0.0
    scales = weight_scales(weights, method)
    assert scales.dtype == np.float32 and scales.shape == (8,) and (scales > 0).all()
    full = np.abs(weights.reshape(8, -1)).max(axis=1) / 127
    assert scales[3] == 2.0**-7
    others = np.arange(8) != 3
    assert (scales[others] <= full[others] * 1.0001).all()
    if method == "minmax":
        np.testing.assert_array_equal(scales[others], full[others])

# SPDX-License-Identifier: Apache-2.0
"""Streaming statistics do not depend on how the data is cut, and ranges do what they say."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.errors import InvalidArgumentError, QuantizationError
from octavo.quantization.observers import ChannelStatistics, Histogram, Statistics, joined
from octavo.quantization.ranges import (
    METHODS,
    _Sums,
    activation_range,
    affine_from_range,
    weight_scales,
)
from octavo.quantization.recipe import Settings


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


def observed(*batches: np.ndarray) -> Statistics:
    statistics = Statistics("t")
    for batch in batches:
        statistics.add(batch)
    return statistics


def span(data: np.ndarray, method: str, **settings: object) -> tuple[float, float]:
    """The range for samples along the first axis."""
    return activation_range([observed(*data)], Settings(activation_ranges=method, **settings))


def numpy_counts(data: np.ndarray, histogram: Histogram) -> np.ndarray:
    index = np.floor(data.ravel() * np.float32(4096 / histogram.range)).astype(np.int64) + 4096
    return np.bincount(np.clip(index, 0, 8191), minlength=8192)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 4099, 65535, 65536, 65553])
def test_counts_are_those_of_numpy(size: int) -> None:
    rng = np.random.default_rng(size)
    data = np.maximum(rng.standard_normal(size) * 3, -0.5).astype(np.float32)
    histogram = observe(data)
    np.testing.assert_array_equal(histogram.counts, numpy_counts(data, histogram))
    assert (histogram.low, histogram.high) == (data.min(), data.max())
    for bad in (np.nan, np.inf, -np.inf):
        for at in {0, size // 2, size - 1}:
            broken = data.copy()
            broken[at] = bad
            with pytest.raises(QuantizationError, match="'t'"):
                observe(broken)


def test_zeros_before_anything_else_are_counted() -> None:
    zeros, rest = np.zeros(5, np.float32), np.array([0.0, 1.5], np.float32)
    apart, together = observe(zeros, rest), observe(np.concatenate([zeros, rest]))
    np.testing.assert_array_equal(apart.counts, together.counts)
    assert apart.counts.sum() == 7


@pytest.mark.parametrize("seed", range(4))
def test_joining_histograms_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [
        (rng.standard_normal(500) * 10.0**k).astype(np.float32) for k in rng.integers(-3, 3, 3)
    ]
    parts.append(np.zeros(10, np.float32))
    found = joined([observe(part) for part in parts])
    whole = observe(np.concatenate(parts))
    np.testing.assert_array_equal(found.counts, whole.counts)
    assert (found.low, found.high, found.range) == (whole.low, whole.high, whole.range)


def test_channels_and_traces_do_not_depend_on_the_cut() -> None:
    rng = np.random.default_rng(7)
    data = (rng.standard_normal((12, 5, 6, 33)) + 0.3).astype(np.float32)
    one = observed(*(data[i : i + 1] for i in range(12)))
    many = Statistics("t")
    for start, stop in ((0, 7), (7, 9), (9, 12)):
        many.add(data[start:stop], samples=stop - start)
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, many.state()[name], err_msg=name)
    assert isinstance(one.channels, ChannelStatistics)
    flat = data.reshape(-1, 33).astype(np.float64)
    np.testing.assert_array_equal(one.channels.low, flat.min(axis=0).astype(np.float32))
    np.testing.assert_array_equal(one.channels.high, flat.max(axis=0).astype(np.float32))
    np.testing.assert_allclose(one.channels.mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(one.channels.mean_square, np.square(flat).mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(one.highs, data.reshape(12, -1).max(axis=1))
    again = Statistics.restore("t", one.state())
    again.add(data[:1])
    one.add(data[:1])
    for name, array in one.state().items():
        np.testing.assert_array_equal(array, again.state()[name], err_msg=name)


def test_mse_clips_an_outlier_and_minmax_does_not() -> None:
    rng = np.random.default_rng(1)
    data = np.abs(rng.standard_normal(20000)).astype(np.float32)
    data[0] = 40.0
    assert span(data[None], "minmax") == (0.0, 40.0)
    assert 3.0 < span(data[None], "mse")[1] < 39.0


def squared_error(data: np.ndarray, method: str) -> float:
    affine = affine_from_range(*span(data[None], method))
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
    with pytest.raises(InvalidArgumentError, match=r"choose one of .*entropy, mse"):
        Settings(activation_ranges="magic")


def brute_squared_error(h: Histogram, low: float, high: float) -> float:
    centres, counts = h.bins()
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    q = np.clip(np.rint(centres / scale) + zero, 0, 255)
    return float((((q - zero) * scale - centres) ** 2 * counts).sum())


def brute_divergence(h: Histogram, low: float, high: float) -> float:
    """D(P | Q) as in the docstring of ranges._Sums.divergence, bin by bin."""
    centres, counts = h.bins()
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    inside = np.flatnonzero((centres >= low) & (centres <= high))
    p = counts[inside].astype(float)
    p[0] += counts[: inside[0]].sum()
    p[-1] += counts[inside[-1] + 1 :].sum()
    values = (np.arange(256) - zero) * scale
    level = np.searchsorted((values[1:] + values[:-1]) / 2, centres[inside])
    q = np.zeros(len(p))
    for one in np.unique(level):
        q[level == one] = counts[inside][level == one].mean()
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "skewed", "spike"])
def test_candidates_are_judged_as_bin_by_bin(kind: str) -> None:
    rng = np.random.default_rng(11)
    x = rng.standard_normal(3000)
    data = {
        "normal": x,
        "relu": np.maximum(x, 0),
        "negative": -np.abs(x),
        "skewed": np.exp(x) - 0.2,
        "spike": np.where(np.arange(3000) == 5, 60.0, x),
    }[kind].astype(np.float32)
    histogram = observe(data)
    sums = _Sums(histogram)
    factors = np.array([0.3, 0.55, 0.8, 1.0])
    lows, highs = factors * sums.low, factors[::-1] * sums.high
    for low, high, error, divergence in zip(
        lows, highs, sums.squared_error(lows, highs), sums.divergence(lows, highs), strict=True
    ):
        np.testing.assert_allclose(error, brute_squared_error(histogram, low, high), rtol=1e-6)
        np.testing.assert_allclose(
            divergence, brute_divergence(histogram, low, high), rtol=1e-9, atol=1e-12
        )


def test_entropy_clips_a_lone_outlier_and_keeps_uniform_data_whole() -> None:
    rng = np.random.default_rng(3)
    spread = rng.uniform(-1, 1, 50000).astype(np.float32)
    low, high = span(spread[None], "entropy")
    assert low < -0.95 and high > 0.95
    data = np.abs(rng.standard_normal(50000)).astype(np.float32)
    data[0] = 40.0
    assert 2.5 < span(data[None], "entropy")[1] < 20.0


def test_percentile_cuts_what_it_says() -> None:
    data = np.linspace(0, 1, 10001, dtype=np.float32)[None]
    low, high = span(data, "percentile", percentile=90.0)
    assert low == 0.0 and high == pytest.approx(0.9, abs=2e-3)
    low, high = span(data * 2 - 1, "percentile", percentile=90.0)
    assert low == pytest.approx(-0.9, abs=2e-3) and high == pytest.approx(0.9, abs=2e-3)
    low, high = span(-data, "percentile", percentile=90.0)
    assert high == 0.0 and low == pytest.approx(-0.9, abs=2e-3)
    assert span(data, "percentile", percentile=100.0) == (0.0, 1.0)


def test_moving_average_follows_the_samples_in_order() -> None:
    data = np.array([[-1, 1], [-3, 2], [0.5, 7]], np.float32)
    low, high = span(data, "moving_average", momentum=0.75)
    assert high == pytest.approx((1 * 0.75 + 2 * 0.25) * 0.75 + 7 * 0.25)
    assert low == pytest.approx((-1 * 0.75 - 3 * 0.25) * 0.75 + 0.5 * 0.25)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("dtype", ["u8", "s8"])
def test_every_method_stores_what_it_keeps(method: str, symmetric: bool, dtype: str) -> None:
    rng = np.random.default_rng(5)
    for data in (
        rng.standard_normal((4, 600)) + 0.5,
        rng.exponential(1, (4, 600)),
        np.zeros((2, 3)),
    ):
        settings = Settings(activation_ranges=method, symmetric=symmetric, activation_type=dtype)
        low, high = activation_range([observed(*data.astype(np.float32))], settings)
        affine = affine_from_range(low, high, dtype, symmetric=symmetric)
        scale, zero = float(affine.scale), int(affine.zero_point)
        least, most = (0, 255) if dtype == "u8" else (-128, 127)
        assert least <= zero <= most and scale > 0
        if symmetric:
            assert zero == (128 if dtype == "u8" else 0)
        assert (least - zero) * scale <= low + scale and (most - zero) * scale >= high - scale
        assert low <= 0.0 <= high


def test_one_scale_for_all_channels_is_the_widest() -> None:
    weights = np.random.default_rng(3).standard_normal((8, 3)).astype(np.float32)
    scales = weight_scales(weights, "minmax", per_channel=False)
    assert scales.shape == (8,) and (scales == np.abs(weights).max() / np.float32(127)).all()


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

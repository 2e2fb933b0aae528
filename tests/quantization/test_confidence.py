# SPDX-License-Identifier: Apache-2.0
"""Odd calibration data are named, and the scales are called settled when they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_nets import UNIT, net

from octavo.quantization import run_quantizer
from octavo.quantization.confidence import Confidence, confidence_of
from octavo.quantization.data import open_data
from octavo.quantization.observers import Statistics
from octavo.quantization.recipe import Settings

SAMPLES = 64


def normal(samples: int = SAMPLES, size: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, size // 8, 8)).astype(np.float32)


def judged(data: np.ndarray, **settings: object) -> Confidence:
    statistics = Statistics("t")
    for sample in data:
        statistics.add(sample)
    return confidence_of({"t": statistics}, Settings(**settings), len(data))


def kinds(confidence: Confidence) -> list[str]:
    return [doubt.kind for doubt in confidence.doubts]


def test_ordinary_data_is_settled_once_there_is_enough() -> None:
    few, some, many = (judged(normal(n)) for n in (4, 16, 512))
    assert "too few" in few.verdict and not few.settled
    assert many.settled and "no longer change the scales" in many.verdict
    assert many.changes["t"] < 0.01 and not many.doubts
    assert some.changes["t"] < 0.05
    assert 0.0 <= many.costs["t"] < 0.01 and 0.0 <= some.costs["t"] < 0.5


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy", "mse"])
def test_every_method_is_judged_by_its_own_ranges(method: str) -> None:
    data = normal() * np.linspace(0.2, 1, SAMPLES, dtype=np.float32)[:, None, None]
    found = judged(data, activation_ranges=method)
    assert 0.0 <= found.changes["t"] < 0.3
    # the change is about what other data of the same kind would make
    alike = judged(np.repeat(data[::2], 2, axis=0), activation_ranges=method)
    assert alike.changes["t"] <= 0.02


def test_heavy_tails_are_not_settled() -> None:
    rng = np.random.default_rng(4)
    data = (normal() * np.exp(rng.standard_normal((SAMPLES, 1, 1)) * 2)).astype(np.float32)
    found = judged(data, activation_ranges="minmax")
    assert not found.settled and "'t' ±" in found.verdict and " dB at most" in found.verdict


def test_one_sample_that_dominates_is_named() -> None:
    data = normal()
    data[37] *= 30
    (doubt,) = judged(data).doubts
    assert (doubt.kind, doubt.tensor) == ("one sample", "t")
    assert doubt.detail.startswith("sample 37 reaches ") and doubt.sample == 37
    data = -np.abs(normal())
    data[5, 0, 0] = -90.0
    (doubt,) = judged(data).doubts
    assert "sample 5 reaches -90" in doubt.detail


def test_a_range_that_still_grows_is_named() -> None:
    data = normal() * (1 + np.arange(SAMPLES, dtype=np.float32)[:, None, None] / 16)
    assert kinds(judged(data)) == ["growing"]


def test_constants_zeros_and_dead_channels_are_named() -> None:
    assert kinds(judged(np.zeros((SAMPLES, 5, 8), np.float32))) == ["all zero"]
    assert kinds(judged(np.full((SAMPLES, 5, 8), 2.5, np.float32))) == ["constant"]
    data = normal()
    data[:, :, [2, 5]] = 0.0
    (doubt,) = judged(data).doubts
    assert doubt.kind == "dead channels" and doubt.detail == "2 of 8 never change (2, 5)"


def test_halves_are_every_other_sample_however_batched() -> None:
    data = normal(9)
    one, many = Statistics("t"), Statistics("t")
    for sample in data:
        one.add(sample[None])
    for start, stop in ((0, 3), (3, 4), (4, 9)):
        many.add(data[start:stop], samples=stop - start)
    for index in (0, 1):
        expected = Statistics("t")
        for sample in data[index::2]:
            expected.add(sample[None])
        for found in (one.half(index), many.half(index)):
            np.testing.assert_array_equal(found.histogram.counts, expected.histogram.counts)
            np.testing.assert_array_equal(found.highs, expected.highs)
            assert found.samples == expected.samples


def test_a_file_that_dominates_is_named(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="NOT RUN: needs .[dev]")
    for index in range(12):
        pixels = np.full((6, 5, 3), 255 if index == 7 else 20, np.uint8)
        image.fromarray(pixels).save(tmp_path / f"{index:02}.png")
    data = open_data(net().source, tmp_path, preprocess=UNIT)
    doubts = run_quantizer(net().source, data).confidence().doubts
    sources = {doubt.source for doubt in doubts if doubt.kind == "one sample"}
    assert sources == {str(tmp_path / "07.png")}

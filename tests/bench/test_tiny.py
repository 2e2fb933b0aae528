# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.tiny`: what its figures mean, and one network where the data are present."""

import json

import numpy as np
import pytest

pytest.importorskip("rich", reason="NOT RUN: the table needs .[bench]")

from bench import tiny

BLANK = tiny.Result("n", "v", 2, np.nan, np.nan, np.nan, np.nan, "")


def test_classes_are_judged_by_top1_agreement_and_noise():
    expected = np.array([[1.0, 0.0], [0.0, 1.0]])
    samples = tiny.Samples(np.zeros((2, 3)), np.array([0, 0]), np.zeros((1, 3)), "")
    found = tiny._judge(BLANK, np.array([[0.9, 0.1], [0.1, 0.9]]), expected, samples)
    assert (found.top1, found.agreement) == (50, 100)
    assert found.sqnr_db == pytest.approx(10 * np.log10(2 / 0.04))


def test_autoencoders_are_judged_by_their_reconstruction_error():
    inputs = np.zeros((1, 4))
    samples = tiny.Samples(inputs, None, inputs, "")
    found = tiny._judge(BLANK, np.full((1, 4), 1.1), np.ones((1, 4)), samples)
    assert found.error == pytest.approx(21)
    assert np.isnan(found.top1)


def test_synthesized_frames_are_reproducible_and_in_the_range_of_decibels():
    frames = tiny._frames(3, 7)
    assert frames.shape[1] == 640
    np.testing.assert_array_equal(frames, tiny._frames(3, 7))
    assert -100 < frames.min() < frames.max() < 20


def test_ours_is_not_worse_than_the_published_network(tmp_path, monkeypatch, capsys):
    pytest.importorskip("tflite", reason="NOT RUN: the package tflite is not installed")
    data = tiny.SHARED / "data" / "mlperf_tiny_kws_500.npz"
    if not data.is_file():
        pytest.skip(f"NOT RUN: {data.name} is not under OCTAVO_SHARED")
    monkeypatch.setattr("sys.argv", ["tiny", "--only", "kws", "--json", str(tmp_path / "r.json")])
    assert tiny.main() == 0
    rows = {row["variant"]: row for row in json.loads((tmp_path / "r.json").read_text())}
    assert rows["ours int8"]["top1"] >= rows["published int8"]["top1"]
    assert "kws" in capsys.readouterr().out

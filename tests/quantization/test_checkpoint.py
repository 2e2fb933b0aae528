# SPDX-License-Identifier: Apache-2.0
"""Calibration that is interrupted or killed goes on to the same bytes, and refuses other work."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from mixed_nets import image_net

import octavo
from octavo.errors import FormatError, InvalidArgumentError
from octavo.quantization import run_quantizer
from octavo.quantization.checkpoint import Checkpoint

SEED = 20
SAMPLES = 16


@pytest.fixture(scope="module")
def model() -> octavo.Model:
    return octavo.Model(image_net(1, batch=1))


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    rng = np.random.default_rng(SEED)
    scale = 2.0 ** rng.integers(-2, 3, (SAMPLES, 1, 1, 1))  # ranges grow on the way
    return (rng.standard_normal((SAMPLES, 9, 10, 3)) * scale).astype(np.float32)


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octavo.quantization.sampling._CHUNK_BYTES", 0)


RECIPE = octavo.Recipe(optimization_samples=5)


def saved(model: octavo.Model, data: np.ndarray, output: Path, checkpoint: Path | None) -> bytes:
    octavo.quantize(model, data, recipe=RECIPE, checkpoint=checkpoint).save(output)
    return output.read_bytes()


@pytest.fixture(scope="module")
def expected(
    model: octavo.Model, data: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    return saved(model, data, tmp_path_factory.mktemp("whole") / "q.octavo", None)


def interrupt(model: octavo.Model, data: np.ndarray, checkpoint: Path, at: int) -> None:
    def progress(stage: str, done: int, total: int | None) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        octavo.quantize(model, data, recipe=RECIPE, progress=progress, checkpoint=checkpoint)


def test_interrupted_anywhere_it_goes_on_to_the_same_bytes(
    model: octavo.Model, data: np.ndarray, expected: bytes, tmp_path: Path
) -> None:
    for at in range(1, SAMPLES, 5):
        interrupt(model, data, tmp_path / "c", at)
        assert (tmp_path / "c").exists()
        assert saved(model, data, tmp_path / "q.octavo", tmp_path / "c") == expected, at
        assert not (tmp_path / "c").exists()


def test_a_resumed_run_counts_only_what_is_new(
    model: octavo.Model, data: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(model, data, tmp_path / "c", 12)
    runs = []
    run = octavo.Session.run
    monkeypatch.setattr(octavo.Session, "run", lambda *a: runs.append(1) or run(*a))
    at_calibration: list[int] = []

    def progress(stage: str, done: int, total: int | None) -> None:
        if stage == "calibrate":
            at_calibration[:] = [len(runs)]

    result = run_quantizer(
        model.source, data, recipe=RECIPE, checkpoint=tmp_path / "c", progress=progress
    )
    assert result.calibration.samples == SAMPLES
    assert at_calibration[0] <= SAMPLES - 12 + 3  # three to find out how batches are cut
    assert len(result.calibration.kept) == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="NOT RUN: needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_20_random_moments_it_goes_on_to_the_same_bytes(
    model: octavo.Model, data: np.ndarray, expected: bytes, tmp_path: Path
) -> None:
    rng = np.random.default_rng(SEED)
    output, checkpoint = tmp_path / "q.octavo", tmp_path / "c"
    began = time.monotonic()
    saved(model, data, output, checkpoint)
    whole = 2 * (time.monotonic() - began)  # the child writes after every sample
    left = 0  # a kill that came too early or too late leaves nothing to go on from
    for moment in rng.uniform(0, whole, 20):
        output.unlink()
        child = os.fork()
        if child == 0:
            try:
                Checkpoint.due = lambda self: True  # type: ignore[method-assign]
                saved(model, data, output, checkpoint)
            finally:
                os._exit(0)
        time.sleep(float(moment))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        left += checkpoint.exists()
        assert saved(model, data, output, checkpoint) == expected, f"seed {SEED}, {moment:.3f} s"
    assert left >= 5
    assert sorted(path.name for path in tmp_path.iterdir() if "c" in path.suffixes) == []
    assert not list(tmp_path.glob(".c.*"))


def test_other_work_is_refused_by_name(
    model: octavo.Model, data: np.ndarray, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "c"
    interrupt(model, data, checkpoint, 10)
    before = checkpoint.read_bytes()
    changed = data.copy()
    changed[9, 0, 0, 0] += 1
    other = octavo.Model(image_net(2, batch=1))
    for words, call in {
        "another model": lambda: octavo.quantize(other, data, recipe=RECIPE, checkpoint=checkpoint),
        "another recipe": lambda: octavo.quantize(model, data, checkpoint=checkpoint),
        "other data": lambda: saved(model, changed, tmp_path / "q.octavo", checkpoint),
        "in another order": lambda: saved(model, data[::-1], tmp_path / "q.octavo", checkpoint),
        "more data: 10": lambda: saved(model, data[:9], tmp_path / "q.octavo", checkpoint),
    }.items():
        with pytest.raises(InvalidArgumentError, match=words):
            call()
        assert checkpoint.read_bytes() == before


def test_a_damaged_checkpoint_is_refused(
    model: octavo.Model, data: np.ndarray, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "c"
    interrupt(model, data, checkpoint, 10)
    good = checkpoint.read_bytes()
    for bad in (b"", b"junk", good[: len(good) // 2], good[:100] + bytes(50) + good[150:]):
        checkpoint.write_bytes(bad)
        with pytest.raises(FormatError, match="delete it"):
            saved(model, data, tmp_path / "q.octavo", checkpoint)


def test_a_folder_that_cannot_be_written_is_named(model: octavo.Model, data: np.ndarray) -> None:
    with pytest.raises(InvalidArgumentError, match="nowhere"):
        octavo.quantize(model, data, checkpoint="/nowhere/at/all")

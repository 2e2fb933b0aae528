# SPDX-License-Identifier: Apache-2.0
"""One session, several batch sizes: every report is about the batch it was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import octavo

DEMO = Path(octavo.__file__).parent / "demo" / "digits_int8.octavo"


@pytest.fixture(scope="module")
def model() -> octavo.Model:
    return octavo.load(DEMO)


def digits(batch: int) -> np.ndarray:
    return np.random.default_rng(5).random((batch, 1, 8, 8), np.float32)


def test_profile_counts_the_work_of_its_own_batch(model: octavo.Model) -> None:
    session = model.compile()
    one, four = (session.profile(digits(n), repeats=1) for n in (1, 4))
    assert [4 * row.kernel.macs for row in one] == [row.kernel.macs for row in four]


def test_read_tensor_reads_the_last_run(model: octavo.Model) -> None:
    session = model.compile(keep_all=True)
    name = model.graph.nodes[0].outputs[0]
    for batch in (1, 3, 1):
        session.run(digits(batch))
        assert session.read_tensor(name).shape[0] == batch


def test_load_binds_shapes_for_plan_files_too(model: octavo.Model) -> None:
    bound = octavo.load(DEMO, shapes={model.inputs[0].name: (3, 1, 8, 8)})
    assert bound.source.values[model.inputs[0].name].shape == (3, 1, 8, 8)
    (expected,) = model.compile().run(digits(3)).values()
    (found,) = bound.compile().run(digits(3)).values()
    np.testing.assert_array_equal(found, expected)

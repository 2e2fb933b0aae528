# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the kernel tests: one kernel by its row, a seeded generator, guarded memory."""

import sys
from pathlib import Path

import numpy as np
import pytest

from octavo import _core

sys.path.insert(0, str(Path(__file__).parent))  # f32_values

SEED = 20240607


@pytest.fixture
def kernel(request):
    """Name of the kernel whose row (name, isa, ..., supported) is the indirect parameter."""
    name, isa, *_, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return name


@pytest.fixture
def rng():
    print(f"seed {SEED}")
    return np.random.default_rng(SEED)


@pytest.fixture(params=["guard_after", "guard_before"])
def guarded(request):
    """Makes arrays that touch an inaccessible page with their end or with their start."""
    at_start = request.param == "guard_before"

    def make(values=None, *, count=0, dtype=np.uint8):
        source = np.zeros(count, dtype) if values is None else np.asarray(values)
        memory = _core.GuardBuffer(max(source.nbytes, 1), at_start=at_start)
        array = np.frombuffer(memory, np.uint8, count=source.nbytes).view(source.dtype)
        array[:] = source
        return array

    return make

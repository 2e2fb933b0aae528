# SPDX-License-Identifier: Apache-2.0
"""Makes the helpers beside the tests importable; the seed of everything random here."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

SEED = 20240711


@pytest.fixture
def rng():
    print(f"seed {SEED}")
    return np.random.default_rng(SEED)

# SPDX-License-Identifier: Apache-2.0
"""Quantized small networks, made once, and where the real ones are looked up."""

import os
import sys
from functools import lru_cache
from pathlib import Path

import pytest

import octavo
from octavo.quantization.recipe import Recipe, Settings

sys.path.insert(0, str(Path(__file__).resolve().parent))

SHARED = Path(os.environ.get("OCTAVO_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="session")
def quantized_net():
    """seed -> a residual network of 17 nodes in 8 bits."""
    from small_nets import images, residual_net

    settings = Settings(rounding="nearest", bias_correction="none", weight_ranges="mse")
    plain = Recipe(settings, equalize=False, smooth=None)  # errors as large as can be found
    return lru_cache(
        lambda seed: octavo.quantize(residual_net(seed), [images(32, seed + 50)], recipe=plain)
    )


@pytest.fixture(scope="session")
def shared_float():
    """File name -> path of a real float model; skips where it is not on this machine."""

    def path(name):
        found = SHARED / "models" / "float" / name
        if not found.is_file():
            pytest.skip(f"NOT RUN: {name} is not under OCTAVO_SHARED")
        return found

    return path

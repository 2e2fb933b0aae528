# SPDX-License-Identifier: Apache-2.0
"""Counting the elements of a window that fall on the input: closed form against counting them."""

import numpy as np

from octavo.ops.window import Window

SEED = 20241125


def test_counts_equal_those_found_by_sliding():
    rng, compared = np.random.default_rng(SEED), 0
    print(f"seed {SEED}")
    for _ in range(3000):
        kernel, strides, dilations = (
            tuple(int(n) for n in rng.integers(1, top, 2)) for top in (5, 4, 6)
        )
        window = Window(kernel, strides, dilations, tuple(int(n) for n in rng.integers(0, 7, 4)))
        size = tuple(int(n) for n in rng.integers(1, 8, 2))
        ones = window.pad(np.ones((1, *size, 1), np.int64), 0)
        if any(ones.shape[1 + side] < window.extent(side) for side in (0, 1)):
            continue
        expected = sum(view for _, _, view in window.taps(ones))[0]
        np.testing.assert_array_equal(window.valid_counts(*size), expected, str((window, size)))
        assert window.touches(*size) == (expected.min() > 0), (window, size)
        compared += 1
    assert compared > 1000


def test_sizes_from_a_damaged_file_cost_no_memory():
    window = Window((3, 2), (1, 1), (1, 1), (1, 1, 1, 1))
    assert window.touches(2**40, 2**40)
    assert not Window((3, 2), (1, 1), (1, 1), (1, 1, 3, 1)).touches(2**40, 2**40)

# SPDX-License-Identifier: Apache-2.0
"""Every product of s16 rows and 9-bit weights against int64 arithmetic in NumPy."""

import numpy as np
import pytest

from octavo import _core

every_row = pytest.mark.parametrize(
    "row", _core.gemm_s16_rows(), ids=lambda row: row[0], indirect=True
)


@pytest.fixture
def row(request):
    name, isa, nr, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return name, nr


def check(row, a, rows, pairs, weights, per_sum):
    name, nr = row
    got = _core.gemm_s16_run(name, a, rows, pairs, weights, per_sum)
    taps = np.add.outer(pairs, [0, 1]).ravel()
    x = np.asarray(a)[np.add.outer(rows, taps)].astype(np.int64)
    want = x @ weights.astype(np.int64).transpose(0, 2, 1).reshape(-1, nr)
    np.testing.assert_array_equal(got, want)


@every_row
def test_sizes_on_guard_pages(row, rng, guarded):
    for m in range(1, 10):
        for count in (1, 2, 3, 8, 33):
            stride = 2 * count
            a = guarded(rng.integers(-(2**15), 2**15, m * stride).astype(np.int16))
            weights = rng.integers(-255, 256, (count, row[1], 2)).astype(np.int16)
            pairs = np.arange(count, dtype=np.int32) * 2
            for per_sum in (1, 2, 128):
                check(row, a, np.arange(m) * stride, pairs, weights, per_sum)


@every_row
@pytest.mark.parametrize("a, w", [(-32768, -255), (-32768, 255), (32767, 255), (32767, -128)])
def test_the_largest_products(row, a, w):
    """128 pairs of -32768 * -255 fit int32, 129 do not: the sums must be emptied in between."""
    assert 2 * 128 * 32768 * 255 < 2**31 < 2 * 129 * 32768 * 255
    count = 1000
    values = np.full(3 * 2 * count, a, np.int16)
    weights = np.full((count, row[1], 2), w, np.int16)
    pairs = np.arange(count, dtype=np.int32) * 2
    check(row, values, np.arange(3) * 2 * count, pairs, weights, 128)


@every_row
def test_pairs_at_any_offset(row, rng):
    """Unaligned, overlapping, in any order, behind and before the row's beginning."""
    a = rng.integers(-(2**15), 2**15, 200).astype(np.int16)
    pairs = np.array([5, 0, -7, 5, 31, 18], np.int32)
    weights = rng.integers(-255, 256, (6, row[1], 2)).astype(np.int16)
    for rows in (np.arange(6) * 7 + 8, np.full(5, 90), np.arange(9)[::-1] + 20):
        check(row, a, rows, pairs, weights, 2)

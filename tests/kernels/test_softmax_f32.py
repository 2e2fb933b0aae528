# SPDX-License-Identifier: Apache-2.0
"""Every softmax_f32 kernel against the norm in NumPy, bit by bit; the norm against float64."""

import numpy as np
import pytest
from f32_values import F32, bits, values

from octavo import _core, fma

ROWS = _core.softmax_f32_rows()


@pytest.fixture(params=ROWS, ids=lambda row: row[0])
def row(request):
    name, isa, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return request.param


def test_the_norm_is_near_the_exact_value(rng):
    """The difference x - max rounds, which the exponential multiplies by |x - max|."""
    x = rng.normal(0, 20, (200, 57)).astype(F32)
    wide = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    want = wide / wide.sum(-1, keepdims=True)
    got = fma.softmax(x)
    normal = want > 2.0**-120
    ulps = np.abs(got - want)[normal] / np.spacing(want[normal].astype(F32))
    assert (ulps < 3 + np.abs(x - x.max(-1, keepdims=True))[normal]).all()
    assert (got[~normal] <= 2.0**-119).all()
    assert np.abs(got.sum(-1) - 1).max() < 1e-6


def test_counts_on_guard_pages(row, rng, guarded):
    for count in (*range(1, 50), 127, 128, 1000):
        x = guarded((rng.normal(0, 1, count) * rng.choice([1, 10, 60])).astype(F32))
        want = fma.softmax(x.copy())
        out = guarded(count=count, dtype=F32)
        _core.softmax_f32_run(row[0], x, out, count)
        np.testing.assert_array_equal(bits(out), bits(want))
        _core.softmax_f32_run(row[0], x, x, count)  # in place
        np.testing.assert_array_equal(bits(x), bits(want))


@pytest.mark.parametrize("special", [0.02, 0.3, 1.0])
def test_special_values(row, rng, special):
    for count in (1, 2, 8, 15, 33):
        for _ in range(30):
            x = values(rng, count, special=special)
            out = np.empty_like(x)
            _core.softmax_f32_run(row[0], x, out, count)
            np.testing.assert_array_equal(bits(out), bits(fma.softmax(x)))


def test_edges_of_the_exponential(row):
    """Around -87, where e would leave the normal range, and at halves of ln 2."""
    low = np.linspace(-87.5, -86.5, 500)
    halves = -np.log(2) * (np.arange(0, 252) / 2)
    x = np.concatenate([[0.0], low, halves, [-103.0, -104.5, -1e9, -np.inf]]).astype(F32)
    x = np.concatenate([x, np.nextafter(x, F32(-np.inf)), np.nextafter(x[1:], F32(0))])
    out = np.empty_like(x)
    _core.softmax_f32_run(row[0], x, out, x.size)
    np.testing.assert_array_equal(bits(out), bits(fma.softmax(x)))


def test_masked_elements_are_zero(row):
    x = np.array([1.0, -1e9, 1.0, -np.inf], F32)
    out = np.empty_like(x)
    _core.softmax_f32_run(row[0], x, out, 4)
    np.testing.assert_array_equal(out, F32([0.5, 0, 0.5, 0]))

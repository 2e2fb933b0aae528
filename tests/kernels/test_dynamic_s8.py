# SPDX-License-Identifier: Apache-2.0
"""The kernels around a product of activations quantized on the fly, against NumPy."""

import numpy as np
import pytest
from f32_values import bits, values

from octavo import _core

F32 = np.float32
every_row = pytest.mark.parametrize(
    "kernel", _core.dynamic_s8_rows(), indirect=True, ids=lambda row: row[0]
)


def expected_range(x, lo=0.0, hi=0.0):
    real = x[~np.isnan(x)]
    return min(lo, real.min(initial=0)), max(hi, real.max(initial=0))


@every_row
def test_range_of_every_size_on_guard_pages(kernel, rng, guarded):
    for n in range(131):
        x = guarded(values(rng, n, special=0.1))
        got = _core.dynamic_s8_range(kernel, x, n)
        np.testing.assert_array_equal(bits(got), bits(expected_range(x)), err_msg=f"n {n}")


@every_row
def test_range_at_every_place(kernel, guarded):
    """The extreme value may be the last, and lie anywhere in a vector."""
    for n in (1, 7, 8, 31, 32, 33, 70):
        for at in range(n):
            x = guarded(np.zeros(n, F32))
            x[at] = 3
            assert _core.dynamic_s8_range(kernel, x, n) == (0, 3)
            x[at] = -np.inf
            assert _core.dynamic_s8_range(kernel, x, n) == (-np.inf, 0)


@every_row
def test_range_goes_on_from_another(kernel, rng):
    x = values(rng, 100)
    for lo, hi in ((-1e9, 1e9), (-0.25, 0.25), (0.0, 1e9)):
        got = _core.dynamic_s8_range(kernel, x, 77, offset=3, lo=lo, hi=hi)
        assert got == expected_range(x[3:80], lo, hi)
    zeros = np.array([-0.0, 0.0, np.nan], F32)
    np.testing.assert_array_equal(bits(_core.dynamic_s8_range(kernel, zeros, 3)), bits([0.0, 0.0]))


def scaled(sums, zero_point, x_scale, weight_sums, weight_scales, bias, lo, hi):
    wide = sums.astype(np.int64) - np.int64(zero_point) * weight_sums
    acc = wide.astype(np.int32).astype(F32)  # astype wraps
    with np.errstate(over="ignore"):
        y = acc * (F32(x_scale) * weight_scales) + bias
    y = np.where(y < F32(lo), F32(lo), y)
    return np.where(y > F32(hi), F32(hi), y)


@every_row
@pytest.mark.parametrize("clamp", [(-np.inf, np.inf), (0.0, 6.0), (-1.5, -0.0)])
def test_sums_to_real_numbers(kernel, rng, guarded, clamp):
    for n in (*range(1, 34), 63, 64):
        for rows, zero_point in ((1, 0), (3, 255), (2, -128)):
            stride = n + int(rng.integers(0, 5))
            sums = guarded(rng.integers(-(2**31), 2**31, rows * stride - (stride - n), np.int64))
            sums = guarded(sums.astype(np.int32))
            weight_sums = guarded(rng.integers(-(2**20), 2**20, n).astype(np.int32))
            scales = guarded(rng.uniform(1e-9, 1e-7, n).astype(F32))
            bias = guarded(rng.normal(0, 3, n).astype(F32))
            out = guarded(np.full(2 + rows * (n + 3), np.nan, F32))
            options = {"zero_point": zero_point, "x_scale": 0.37, "lo": clamp[0], "hi": clamp[1]}
            _core.dynamic_s8_scale_sums(
                kernel, sums, out, rows, n, sums_stride=stride, out_stride=n + 3, out_offset=2,
                weight_sums=weight_sums, weight_scales=scales, bias=bias, **options,
            )  # fmt: skip
            got = out[2:].reshape(rows, n + 3)
            view = np.lib.stride_tricks.as_strided(sums, (rows, n), (4 * stride, 4))
            want = scaled(view, zero_point, 0.37, weight_sums, scales, bias, *clamp)
            np.testing.assert_array_equal(got[:, :n], want, err_msg=f"n {n}, {rows} rows")
            assert np.isnan(got[:, n:]).all() and np.isnan(out[:2]).all()

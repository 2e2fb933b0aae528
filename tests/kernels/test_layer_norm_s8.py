# SPDX-License-Identifier: Apache-2.0
"""Every layer_norm_s8 kernel against the norm: exact sums, then IEEE operations in order."""

import numpy as np
import pytest

from octavo import _core, quant

every_row = pytest.mark.parametrize(
    "kernel", _core.layer_norm_s8_rows(), indirect=True, ids=lambda row: row[0]
)


def run(kernel, row, out, gain, shift, **options):
    _core.layer_norm_s8_run(kernel, row, out, row.size, gain, shift, **options)


def norm(row, gain, shift, *, epsilon, in_zero_point, zero_point, qmin=0, qmax=255):
    centred = row.astype(np.int64) - in_zero_point
    y = quant.layer_norm(centred, epsilon, gain, shift, zero_point, qmin, qmax)
    return y.astype(np.uint8)


def parameters(rng, n, width=40.0):
    return [rng.normal(0, width, n).astype(np.float32) for _ in range(2)]


@every_row
@pytest.mark.parametrize("in_zero_point", [0, 128, 255])
def test_sizes_on_guard_pages(kernel, rng, guarded, in_zero_point):
    options = {"epsilon": 0.003, "in_zero_point": in_zero_point, "zero_point": 120}
    for n in [*range(1, 132), 191, 192, 193, 255, 256, 257, 384, 768, 1000]:
        row = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        before = row.copy()
        gain, shift = parameters(rng, n)
        out = guarded(count=n)
        run(kernel, row, out, gain, shift, **options)
        want = norm(before, gain, shift, **options)
        np.testing.assert_array_equal(out, want, f"n={n}")
        np.testing.assert_array_equal(row, before)
        run(kernel, row, row, gain, shift, **options)
        np.testing.assert_array_equal(row, want, f"in place, n={n}")


@every_row
@pytest.mark.parametrize("epsilon", [1.2e-38, 1e-6, 1.0, 3e38])
@pytest.mark.parametrize(("zero_point", "qmin", "qmax"), [(0, 0, 255), (255, 0, 255), (9, 3, 40)])
def test_corner_rows(kernel, rng, epsilon, zero_point, qmin, qmax):
    """Rows without variance, with one other value, of both ends; the longest that is allowed."""
    for n in (1, 33, 384, 32768):
        gain, shift = parameters(rng, n, 200.0)
        for low, high in ((0, 0), (255, 255), (0, 255), (127, 128)):
            row = np.full(n, low, np.uint8)
            row[rng.integers(0, n, max(1, n // 3))] = high
            for in_zero_point in (0, 131, 255):
                options = {
                    "epsilon": epsilon, "in_zero_point": in_zero_point,
                    "zero_point": zero_point, "qmin": qmin, "qmax": qmax,
                }  # fmt: skip
                out = np.empty_like(row)
                run(kernel, row, out, gain, shift, **options)
                want = norm(row, gain, shift, **options)
                np.testing.assert_array_equal(out, want, f"n={n} values {low}, {high}")


@every_row
def test_unaligned(kernel, rng):
    gain, shift = parameters(rng, 100)
    options = {"epsilon": 0.01, "in_zero_point": 100, "zero_point": 128}
    for offset in range(9):
        bytes_ = rng.integers(0, 256, 120, dtype=np.uint8)
        out = np.full(120, 0xCD, np.uint8)
        _core.layer_norm_s8_run(
            kernel, bytes_, out, 100, gain, shift, in_offset=offset, out_offset=offset, **options
        )
        want = np.full(120, 0xCD, np.uint8)
        want[offset : offset + 100] = norm(bytes_[offset : offset + 100], gain, shift, **options)
        np.testing.assert_array_equal(out, want)


@every_row
def test_huge_parameters_saturate(kernel, rng):
    row = rng.integers(0, 256, 50, dtype=np.uint8)
    gain = np.where(np.arange(50) % 2, 3e38, -3e38).astype(np.float32)
    options = {"epsilon": 1e-30, "in_zero_point": 3, "zero_point": 128}
    out = np.empty_like(row)
    run(kernel, row, out, gain, np.zeros(50, np.float32), **options)
    np.testing.assert_array_equal(out, norm(row, gain, np.zeros(50, np.float32), **options))

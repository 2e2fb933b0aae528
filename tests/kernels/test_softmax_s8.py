# SPDX-License-Identifier: Apache-2.0
"""Every softmax kernel against the norm: integer sum, two float32 divisions, exactly."""

import numpy as np
import pytest

from octavo import _core

F32 = np.float32
every_row = pytest.mark.parametrize(
    "kernel", _core.softmax_s8_rows(), indirect=True, ids=lambda row: row[0]
)


def exp_table(scale):
    return np.rint(2.0**23 * np.exp(-scale * np.arange(256.0))).astype(np.uint32)


def norm(row, table, out_scale, zero_point, qmin=0, qmax=255):
    if row.size == 0:
        return row.copy()
    e = table[row.max() - row]
    total = F32(e.sum(dtype=np.int64))
    v = (e.astype(F32) / total) / F32(out_scale)
    assert v.dtype == F32
    v = np.clip(np.rint(v), F32(qmin - zero_point), F32(qmax - zero_point))
    return (v.astype(np.int32) + zero_point).astype(np.uint8)


def run(kernel, row, out, table, out_scale, zero_point, **bounds):
    _core.softmax_s8_run(
        kernel, row, out, row.size, table, out_scale=out_scale, zero_point=zero_point, **bounds
    )


@every_row
def test_sizes_on_guard_pages(kernel, rng, guarded):
    table = guarded(exp_table(0.04))
    for n in [*range(68), *range(95, 98), *range(126, 131), *range(190, 194), *range(253, 262),
              287, 288, 289, 319, 320, 321, 511, 512, 513, 1000, 1001]:  # fmt: skip
        row = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        before = row.copy()
        out = guarded(count=n)
        run(kernel, row, out, table, 1 / 256, 0)
        want = norm(before, table, 1 / 256, 0)
        np.testing.assert_array_equal(out, want, f"n={n}")
        np.testing.assert_array_equal(row, before)
        run(kernel, row, row, table, 1 / 256, 0)
        np.testing.assert_array_equal(row, want, f"in place, n={n}")


@every_row
@pytest.mark.parametrize("scale", [1e-6, 0.003, 0.1, 3.0], ids=lambda s: f"scale{s:g}")
@pytest.mark.parametrize(
    ("out_scale", "zero_point", "qmin", "qmax"),
    [(1 / 256, 0, 0, 255), (1 / 256, 0, 3, 40), (0.0004, 128, 0, 255), (1e-30, 255, 0, 255)],
)
def test_scales_and_bounds(kernel, rng, scale, out_scale, zero_point, qmin, qmax):
    table = exp_table(scale)
    for n in [2, 10, 64, 255, 1000]:
        for low, high in [(0, 256), (100, 104), (255, 256)]:
            row = rng.integers(low, high, n, dtype=np.uint8)
            out = np.empty_like(row)
            run(kernel, row, out, table, out_scale, zero_point, qmin=qmin, qmax=qmax)
            want = norm(row, table, out_scale, zero_point, qmin, qmax)
            np.testing.assert_array_equal(out, want, f"n={n} values {low}..{high - 1}")


@every_row
def test_sum_beyond_32_bits(kernel):
    """2^20 equal entries sum to 2^43; every quotient is 2^-20."""
    row = np.zeros(1 << 20, np.uint8)
    table = np.full(256, 2**23, np.uint32)
    out = np.empty_like(row)
    run(kernel, row, out, table, 2.0**-24, 7)
    assert (out == 16 + 7).all()


@every_row
@pytest.mark.parametrize("repeat", [1, 16, 128])  # 128: beyond the rows that are done directly
def test_ties(kernel, repeat):
    """e = 3, 1, 5, 7 sixteenths of the sum, in halves of the output scale: 1.5, 0.5, 2.5, 3.5."""
    table = np.zeros(256, np.uint32)
    table[:4] = np.array([3, 1, 5, 7]) << 19
    row = np.tile(np.array([255, 254, 253, 252], np.uint8), repeat)
    out = np.empty_like(row)
    run(kernel, row, out, table, 1 / (8 * repeat), 10)
    assert out.tolist() == [12, 10, 12, 14] * repeat


@every_row
def test_random_tables(kernel, rng):
    """Any table of values up to 2^23, the largest not first: the kernel may assume nothing else."""
    for n in [3, 33, 200, 300, 700]:
        table = rng.integers(1, 2**23 + 1, 256).astype(np.uint32)
        row = rng.integers(0, 256, n, dtype=np.uint8)
        out = np.empty_like(row)
        run(kernel, row, out, table, 0.00002, 11)
        np.testing.assert_array_equal(out, norm(row, table, 0.00002, 11))


@every_row
@pytest.mark.parametrize("qmin", [0, 9])
def test_levels_that_round_to_zero(kernel, rng, qmin):
    """Entries about half an output step, left out or not, and one large entry in any block."""
    for n in [31, 33, 64, 65, 97, 128, 200, 256, 257, 1000]:
        row = rng.permutation(np.resize(np.arange(255, -1, -1, dtype=np.uint8), n))
        for far in [0, 1, 31, 32, 63, 64, 95, 96, 127, 128, 159, 160, 191, 192, 223, 224, 255]:
            for small in [0, 1, 1000, 2**19]:
                table = np.full(256, small, np.uint32)
                table[0] = table[far] = 2**23
                total = table[row.max() - row].sum(dtype=np.int64)
                # A small entry is just below, at or above 1/2 step, or far from it.
                steps = [0.48, 0.489, 0.491, 0.4999999, 0.5, 0.5000001, 0.51, 3.0]
                for step in steps if small else [0.5]:
                    out_scale = F32((small or 2**23) / total / step)
                    out = np.empty_like(row)
                    run(kernel, row, out, table, out_scale, 5, qmin=qmin, qmax=250)
                    want = norm(row, table, out_scale, 5, qmin, 250)
                    note = f"n={n} far={far} small={small} step={step}"
                    np.testing.assert_array_equal(out, want, note)


@every_row
def test_ranges_in_place(kernel, rng):
    """Rows of 1 to 256 levels from either end, in place, so that no level is read twice."""
    for n in [1, 32, 33, 63, 64, 65, 96, 127, 128, 129, 255, 256, 257]:
        for levels in [1, 2, 31, 32, 33, 64, 65, 96, 97, 128, 129, 255, 256]:
            for scale, low in [
                (0.0001, 0),
                (0.0001, 256 - levels),
                (0.06, 0),
                (0.06, 256 - levels),
            ]:
                table = exp_table(scale)
                row = rng.integers(low, low + levels, n, dtype=np.uint8)
                row[0], row[-1] = low, low + levels - 1
                want = norm(row, table, 1 / 256, 0)
                run(kernel, row, row, table, 1 / 256, 0)
                np.testing.assert_array_equal(row, want, f"n={n} levels={levels} scale={scale}")


@every_row
@pytest.mark.parametrize(
    "exponent", [-149, -130, -127, -126, -125, -25, -8, -1, 0, 9, 125, 126, 127]
)
def test_scales_that_are_powers_of_two(kernel, rng, exponent):
    """Where a kernel may multiply by 1 / scale, up to scales whose reciprocal is not normal."""
    for n in [1, 10, 32, 70, 128, 300]:
        row = rng.integers(0, 256, n, dtype=np.uint8)
        for out_scale in [F32(2.0**exponent), np.nextafter(F32(2.0**exponent), F32(np.inf))]:
            table = rng.integers(1, 2**23 + 1, 256).astype(np.uint32)
            out = np.empty_like(row)
            run(kernel, row, out, table, out_scale, 3)
            with np.errstate(over="ignore", under="ignore"):
                want = norm(row, table, out_scale, 3)
            np.testing.assert_array_equal(out, want, f"n={n} scale={out_scale!r}")

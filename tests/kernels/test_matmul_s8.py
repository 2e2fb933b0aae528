# SPDX-License-Identifier: Apache-2.0
"""Every matmul_s8 kernel against the norm in NumPy: exact sums, one float32 product, np.rint."""

import numpy as np
import pytest

from octavo import _core

F32 = np.float32
SLACK = 15  # bytes behind the last row of A that a kernel may read
CANARY = 0xCD
every_row = pytest.mark.parametrize(
    "kernel", _core.matmul_s8_rows(), indirect=True, ids=lambda row: row[0]
)


def norm(a, b, za, zb, scale, zero_point, qmin=0, qmax=255):
    acc = (a.astype(np.int64) - za) @ (b.astype(np.int64) - zb)
    assert np.array_equal(acc, acc.astype(np.int32)), "prepare refuses what overflows int32"
    y = np.rint(acc.astype(np.int32).astype(F32) * F32(scale))
    return (np.clip(y, qmin - zero_point, qmax - zero_point) + zero_point).astype(np.uint8)


def check(kernel, a, b, *, zeros, scale, out=(17, 0, 255), gaps=(0, 0, 0), shift=0, wrap=None):
    """One product in both forms of B, with `gaps` bytes between the rows of A, B and C and all
    three buffers `shift` bytes off; `wrap` puts the operands into guarded memory."""
    wrap = wrap or (lambda values: values)
    (m, k), n = a.shape, b.shape[1]
    za, zb = zeros
    zero_point, qmin, qmax = out
    want = norm(a, b, za, zb, scale, zero_point, qmin, qmax)

    def spread(rows, gap, tail):
        """The rows' bytes `gap` apart, the last one without a gap."""
        wide = np.pad(rows, ((0, 0), (0, gap)), constant_values=CANARY).ravel()
        wide = np.concatenate([np.full(shift, CANARY, np.uint8), wide[: wide.size - gap]])
        return np.concatenate([wide, np.full(tail, CANARY, np.uint8)])

    rows_of_a = wrap(spread(a, gaps[0], SLACK))
    blank = np.full((m, n), CANARY, np.uint8)
    for transposed in (False, True):
        rows_of_b = wrap(spread(b.T if transposed else b, gaps[1], 0))
        c = wrap(spread(blank, gaps[2], 0))
        _core.matmul_s8_run(
            kernel, rows_of_a, rows_of_b, c, m, k, n, a_stride=k + gaps[0],
            b_stride=(k if transposed else n) + gaps[1], b_transposed=transposed,
            c_stride=n + gaps[2], a_zero_point=za, b_zero_point=zb, scale=scale,
            zero_point=zero_point, qmin=qmin, qmax=qmax,
            a_offset=shift, b_offset=shift, c_offset=shift,
        )  # fmt: skip
        expected = spread(want, gaps[2], 0)
        np.testing.assert_array_equal(c, expected, f"m={m} k={k} n={n} transposed={transposed}")


def random_bytes(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def fitting(k):
    """A multiplier that brings most sums of k products into 8 bits."""
    return 60 / (74 * 74 * np.sqrt(k))


@every_row
@pytest.mark.parametrize("zeros", [(0, 0), (255, 255), (0, 255), (128, 128), (3, 131)])
def test_sizes_on_guard_pages(kernel, rng, guarded, zeros):
    for m in range(1, 18):
        for k, n in ((1, 1), (7, 5), (32, 16), (33, 32)):
            a, b = random_bytes(rng, m, k), random_bytes(rng, k, n)
            check(kernel, a, b, zeros=zeros, scale=fitting(k), wrap=guarded)
    for k in (*range(1, 36), 63, 64, 65, 127, 129):
        a, b = random_bytes(rng, 5, k), random_bytes(rng, k, 19)
        check(kernel, a, b, zeros=zeros, scale=fitting(k), wrap=guarded)
    for n in (*range(1, 68), 127, 128, 129):
        a, b = random_bytes(rng, 5, 11), random_bytes(rng, 11, n)
        check(kernel, a, b, zeros=zeros, scale=fitting(11), wrap=guarded)


@every_row
@pytest.mark.parametrize("shift", [0, 1, 7])
@pytest.mark.parametrize("gaps", [(0, 0, 0), (1, 3, 5), (352, 352, 352)])
def test_strided_and_unaligned(kernel, rng, shift, gaps):
    for m, k, n in ((9, 32, 128), (13, 128, 32), (4, 17, 33), (1, 64, 47)):
        a, b = random_bytes(rng, m, k), random_bytes(rng, k, n)
        check(kernel, a, b, zeros=(90, 141), scale=fitting(k), gaps=gaps, shift=shift)


@every_row
@pytest.mark.parametrize("zeros", [(0, 0), (0, 255), (255, 0), (255, 255), (128, 127)])
def test_corner_values(kernel, rng, zeros):
    """Only the largest products: the sums saturate anything narrower than int32."""
    for k in (2, 31, 512, 33025):
        for low, high in ((0, 0), (255, 255), (0, 255), (127, 129)):
            a = rng.choice(np.array([low, high], np.uint8), (5, k))
            b = rng.choice(np.array([low, high], np.uint8), (k, 17))
            check(kernel, a, b, zeros=zeros, scale=0.7 / (255.0 * k))


@every_row
@pytest.mark.parametrize("out", [(0, 0, 255), (255, 0, 255), (128, 128, 255), (10, 20, 30)])
@pytest.mark.parametrize("scale", [0.0, 1e-40, 0.5, 1.0, 1e30])
def test_bounds_and_scales(kernel, rng, out, scale):
    a, b = random_bytes(rng, 6, 20), random_bytes(rng, 20, 21)
    check(kernel, a, b, zeros=(130, 125), scale=scale, out=out)


@every_row
def test_ties(kernel):
    """Sums 0..15 halved: half to even."""
    a, b = np.ones((5, 1), np.uint8), np.arange(16, dtype=np.uint8).reshape(1, 16)
    check(kernel, a, b, zeros=(0, 0), scale=0.5)
    assert norm(a, b, 0, 0, 0.5, 0)[0, :8].tolist() == [0, 0, 1, 2, 2, 2, 3, 4]


@every_row
def test_large(kernel, rng):
    a, b = random_bytes(rng, 128, 300), random_bytes(rng, 300, 200)
    check(kernel, a, b, zeros=(77, 201), scale=fitting(300))

# SPDX-License-Identifier: Apache-2.0
"""Every pool_f32 kernel against NumPy, bit by bit, with special values and guard pages."""

import numpy as np
import pytest
from f32_values import F32, INF, bits, values

from octavo import _core, fma

ROWS = _core.pool_f32_rows()
SLACK = 60  # bytes past the last channel that a kernel may read


@pytest.fixture(params=ROWS, ids=lambda row: row[0])
def row(request):
    name, isa, _, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return request.param


def norm(op, x, divisor, lo, hi):
    """x [rows, cols, channels]; pixels in order."""
    first, *rest = x.reshape(-1, x.shape[2])
    y = first
    with np.errstate(all="ignore"):
        for pixel in rest:
            y = y + pixel if op == "average" else np.where((pixel > y) | (pixel != pixel), pixel, y)
        return fma.clamp(y if op == "max" else y / F32(divisor), lo, hi)


def check(row, x, divisor=1.0, lo=-INF, hi=INF, *, at_start=False, gap=0):
    rows, cols, channels = x.shape
    pixel = (channels + gap) * 4
    memory = _core.GuardBuffer((rows * cols - 1) * pixel + 4 * channels + SLACK, at_start=at_start)
    flat = np.frombuffer(memory, np.uint8)
    for at, values_ in enumerate(x.reshape(-1, channels)):
        flat[at * pixel : at * pixel + 4 * channels] = values_.view(np.uint8)
    out = _core.GuardBuffer(4 * channels, at_start=at_start)
    _core.pool_f32_run(row[0], memory, cols * pixel, pixel, rows, cols, channels, out,
                       divisor, lo, hi)  # fmt: skip
    found = np.frombuffer(out, F32)
    np.testing.assert_array_equal(bits(found), bits(norm(row[2], x, divisor, lo, hi)))


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
def test_channels(row, rng, at_start):
    for channels in range(1, 140):
        x = values(rng, 1 + channels % 3, 1 + channels % 2, channels)
        check(row, x, 1 + channels % 5, at_start=at_start, gap=channels % 3)


def test_windows(row, rng):
    for rows in range(1, 5):
        for cols in range(1, 5):
            check(row, values(rng, rows, cols, 37), rows * cols, -2, 3)
    check(row, values(rng, 13, 14, 70), 182)


@pytest.mark.parametrize("special", [0.02, 0.3, 1.0])
def test_special_values(row, rng, special):
    for channels in (5, 64, 71):
        for lo, hi in [(-INF, INF), (F32(0), F32(6)), (F32(-1e-40), F32(0))]:
            check(row, values(rng, 3, 3, channels, special=special), 9, lo, hi)

# SPDX-License-Identifier: Apache-2.0
"""Pooling kernels against NumPy: exact, no byte outside the window's channels read or written."""

import numpy as np
import pytest

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError

ROWS = _core.pool_s8_rows()


def every_row(op):
    rows = [row for row in ROWS if row[2] == op]
    return pytest.mark.parametrize("kernel", rows, indirect=True, ids=lambda row: row[0])


def norm_average(window, *, zero_sum, multiplier, zero_point, qmin=0, qmax=255):
    total = window.reshape(-1, window.shape[-1]).astype(np.int64).sum(axis=0) - zero_sum
    with np.errstate(over="ignore"):
        v = total.astype(np.int32).astype(np.float32) * np.float32(multiplier)
    v = np.clip(v, np.float32(qmin - zero_point), np.float32(qmax - zero_point))
    return (np.rint(v).astype(np.int32) + zero_point).astype(np.uint8)


def norm_max(window, *, qmin=0, qmax=255):
    best = window.reshape(-1, window.shape[-1]).max(axis=0)
    return np.minimum(np.maximum(best, qmin), qmax).astype(np.uint8)


def run(kernel, window, *, at_start=False, gap=0, **attributes):
    """Pools window [rows, cols, c]; input and output both touch a guard page."""
    rows, cols, channels = window.shape
    pixel = channels + gap
    row_stride = cols * pixel
    memory = _core.GuardBuffer((rows * cols - 1) * pixel + channels, at_start=at_start)
    flat = np.frombuffer(memory, np.uint8)
    for k, values in enumerate(window.reshape(-1, channels)):
        flat[k * pixel : k * pixel + channels] = values
    before = bytes(memory)
    out = _core.GuardBuffer(channels, at_start=at_start)
    _core.pool_s8_run(kernel, memory, 0, row_stride, pixel, rows, cols, channels, out, 0,
                      **attributes)  # fmt: skip
    assert bytes(memory) == before
    return np.frombuffer(out, np.uint8).copy()


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
@every_row("max")
def test_max_channels(kernel, rng, at_start):
    for channels in range(1, 131):
        window = rng.integers(0, 256, (3, 2, channels), dtype=np.uint8)
        got = run(kernel, window, at_start=at_start, gap=channels % 3)
        np.testing.assert_array_equal(got, norm_max(window))


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
@every_row("average")
def test_average_channels(kernel, rng, at_start):
    for channels in range(1, 131):
        window = rng.integers(0, 256, (2, 3, channels), dtype=np.uint8)
        quant = {"zero_sum": 6 * 100, "multiplier": 1 / 5, "zero_point": 90}
        got = run(kernel, window, at_start=at_start, gap=channels % 3, **quant)
        np.testing.assert_array_equal(got, norm_average(window, **quant))


@every_row("max")
def test_max_windows_and_clamps(kernel, rng):
    for rows, cols in [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3), (7, 7)]:
        for qmin, qmax in [(0, 255), (128, 255), (0, 127), (50, 60), (9, 9)]:
            window = rng.integers(0, 256, (rows, cols, 45), dtype=np.uint8)
            got = run(kernel, window, qmin=qmin, qmax=qmax)
            np.testing.assert_array_equal(got, norm_max(window, qmin=qmin, qmax=qmax))


@every_row("average")
@pytest.mark.parametrize("value", [0, 255, None], ids=["zeros", "full", "random"])
def test_average_windows(kernel, rng, value):
    """Around 257 pixels, where sums of 16 bits are full, and up to 56 x 56."""
    shapes = [(1, 1), (2, 2), (7, 7), (1, 256), (1, 257), (257, 1), (2, 129), (1, 258), (16, 16),
              (17, 17), (14, 14), (56, 56)]  # fmt: skip
    for rows, cols in shapes:
        for channels in (5, 48, 67):
            window = rng.integers(0, 256, (rows, cols, channels), dtype=np.uint8)
            if value is not None:
                window[:] = value
            count = rows * cols
            for zero_point in (0, 128, 255):
                quant = {"zero_sum": count * 31, "multiplier": float(np.float32(1.1 / count)),
                         "zero_point": zero_point}  # fmt: skip
                got = run(kernel, window, **quant)
                np.testing.assert_array_equal(got, norm_average(window, **quant))


@every_row("average")
def test_average_ties(kernel, rng):
    """Sums of four divided by four, with and without clamps: every tie goes to the even side."""
    for channels in (16, 70):
        window = rng.integers(0, 256, (2, 2, channels), dtype=np.uint8)
        for clamps in ({}, {"qmin": 40, "qmax": 200}):
            quant = {"zero_sum": 4 * 120, "multiplier": 0.25, "zero_point": 120, **clamps}
            got = run(kernel, window, **quant)
            np.testing.assert_array_equal(got, norm_average(window, **quant))


@every_row("average")
def test_average_rounding_spelled_out(kernel):
    pairs = np.array([[[0, 1, 2, 5, 254, 255]], [[1, 2, 1, 2, 255, 255]]], np.uint8)
    assert run(kernel, pairs, multiplier=0.5).tolist() == [0, 2, 2, 4, 254, 255]


@every_row("average")
@pytest.mark.parametrize("multiplier", [1.0, 1e8, 3e38, 0.0, 1e-45])
def test_average_extreme_multipliers(kernel, rng, multiplier):
    window = rng.integers(0, 256, (3, 3, 40), dtype=np.uint8)
    quant = {"zero_sum": 9 * 128, "multiplier": multiplier, "zero_point": 17}
    np.testing.assert_array_equal(run(kernel, window, **quant), norm_average(window, **quant))


def test_unknown_kernel_and_bounds():
    memory = np.zeros(64, np.uint8)
    with pytest.raises(IsaError, match="nonsense"):
        _core.pool_s8_run("nonsense", memory, 0, 8, 8, 1, 1, 8, memory, 0)
    with pytest.raises(InvalidArgumentError, match="outside a buffer"):
        _core.pool_s8_run("maxpool_s8_scalar", memory, 0, 32, 8, 3, 4, 8, memory, 0)

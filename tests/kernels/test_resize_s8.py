# SPDX-License-Identifier: Apache-2.0
"""resize_s8: every row against NumPy, bit by bit, on guard-page memory."""

import numpy as np
import pytest

from octavo import _core, quant

ROWS = _core.resize_s8_rows()
ONE = 2048
CANARY = 0xA5


@pytest.fixture(params=ROWS, ids=lambda row: row[0])
def row(request):
    name, isa, _, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return name


def check(row, rng, channels, out_w, *, at_start=False, gap=0, values=None, **quantization):
    """One output row; the two input rows end (or begin) at a guard page, exactly."""
    width = int(rng.integers(1, 9))
    rows = []
    for _ in range(2):
        memory = _core.GuardBuffer(width * channels, at_start=at_start)
        view = np.frombuffer(memory, np.uint8)
        view[:] = (
            rng.integers(0, 256, view.size) if values is None else rng.choice(values, view.size)
        )
        rows.append((memory, view.reshape(width, channels).astype(np.int64)))
    left = rng.integers(0, width, out_w).astype(np.int32)
    right = np.minimum(left + 1, width - 1).astype(np.int32)
    weight = rng.choice([0, 1, 683, 1024, 1365, 2047, ONE], out_w).astype(np.int32)
    bottom = int(rng.choice([0, 1, 1023, 1024, 2047, ONE]))
    q = {
        "in_zero_point": 0,
        "zero_point": 100,
        "qmin": 0,
        "qmax": 255,
        "multiplier": 1.0,
    } | quantization
    m = float(np.float32(q.pop("multiplier")) / np.float32(2**22))
    step = channels + gap
    out = _core.GuardBuffer((out_w - 1) * step + channels, at_start=at_start)
    got = np.frombuffer(out, np.uint8)
    got[:] = CANARY
    _core.resize_s8_run(
        row, rows[0][0], rows[1][0], width, channels, bottom, left, right, weight, out, step,
        multiplier=m, **q,
    )  # fmt: skip
    top, low = (view - q["in_zero_point"] for _, view in rows)
    down = top * (ONE - bottom) + low * bottom
    acc = down[left] * (ONE - weight[:, None]) + down[right] * weight[:, None]
    want = np.full(out_w * step, CANARY, np.uint8).reshape(out_w, step)
    want[:, :channels] = quant.requantize(acc, m, q["zero_point"], q["qmin"], q["qmax"])
    np.testing.assert_array_equal(got, want.reshape(-1)[: got.size])
    return want[:, :channels]


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
def test_channels(row, rng, at_start):
    for channels in range(1, 130):
        check(row, rng, channels, 1 + channels % 5, at_start=at_start, gap=channels % 4)


@pytest.mark.parametrize("in_zp", [0, 1, 128, 255])
@pytest.mark.parametrize("out_zp", [0, 128, 255])
def test_zero_points_and_clamps(row, rng, in_zp, out_zp):
    for qmin, qmax in [(0, 255), (out_zp, 255), (0, out_zp), (77, 77)]:
        out = check(row, rng, 37, 6, in_zero_point=in_zp, zero_point=out_zp, qmin=qmin, qmax=qmax)
        assert out.min() >= qmin
        assert out.max() <= qmax


def test_corner_values(row, rng):
    for channels in (3, 16, 50):
        check(row, rng, channels, 9, values=[0, 255], zero_point=0)
        check(row, rng, channels, 9, values=[255], zero_point=0, in_zero_point=255)


@pytest.mark.parametrize("multiplier", [0.5, 0.25, 1e3, 1e30, 0.0])
def test_ties_and_extreme_multipliers(row, rng, multiplier):
    check(row, rng, 64, 12, values=range(0, 256, 8), multiplier=multiplier, in_zero_point=120)


def test_equal_parameters_and_weights_of_one_copy_the_pixel(row):
    x = np.arange(48, dtype=np.uint8).reshape(3, 16)
    out = np.zeros((3, 16), np.uint8)
    columns = (np.arange(3), np.minimum(np.arange(3) + 1, 2), np.zeros(3))
    _core.resize_s8_run(row, x, x[::-1].copy(), 3, 16, 0, *columns, out, 16, multiplier=2.0**-22)
    np.testing.assert_array_equal(out, x)

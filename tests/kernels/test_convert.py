# SPDX-License-Identifier: Apache-2.0
"""Quantize, dequantize and layout kernels against NumPy float32, NaN and infinities included."""

import numpy as np
import pytest

from octavo import _core

F32 = np.float32
ROWS = _core.convert_rows()
SPECIAL = np.array(
    [0.0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 1.1e-38, 2.0**31,
     -(2.0**31), 2.0**62, -(2.0**62), 12582912.0, -12582912.0, 0.49999997, 0.5, 0.50000006],
    F32,
)  # fmt: skip


def every_row(op):
    rows = [row for row in ROWS if row[2] == op]
    return pytest.mark.parametrize("kernel", rows, indirect=True, ids=lambda row: row[0])


def norm_quantize(x, scale, zero_point, flip=0):
    with np.errstate(all="ignore"):
        v = x / F32(scale)
        assert v.dtype == F32
        q = np.clip(np.rint(v), F32(-zero_point), F32(255 - zero_point))
    q = np.where(np.isnan(x), 0, q).astype(np.int32) + zero_point
    return q.astype(np.uint8) ^ np.uint8(flip)


def bit_patterns(rng, n):
    x = rng.integers(0, 2**32, n, dtype=np.uint32).view(F32)
    x[: SPECIAL.size] = SPECIAL[:n]
    return x


@every_row("quantize")
@pytest.mark.parametrize("scale", [1.0, 0.0173, 3.1e-38, 2.7e38], ids=lambda s: f"scale{s:g}")
@pytest.mark.parametrize(("zero_point", "flip"), [(0, 0), (128, 128), (255, 0), (77, 128)])
def test_quantize_bit_patterns(kernel, rng, scale, zero_point, flip):
    x = bit_patterns(rng, 1 << 17)  # 2^21 patterns over the 16 cases
    before = x.copy()
    out = np.empty(x.size, np.uint8)
    scale = float(F32(scale))
    _core.convert_quantize(kernel, x, out, x.size, scale=scale, zero_point=zero_point, flip=flip)
    np.testing.assert_array_equal(out, norm_quantize(x, scale, zero_point, flip))
    assert x.tobytes() == before.tobytes()


@every_row("quantize")
def test_quantize_ties_and_neighbours(kernel):
    half = np.arange(-300, 300, dtype=F32) + F32(0.5)
    for scale in [0.25, 1.0, 2.0, 0.1, 1 / 255]:
        scale = float(F32(scale))
        near = half * F32(scale)
        x = np.concatenate(
            [near, np.nextafter(near, F32(np.inf)), np.nextafter(near, F32(-np.inf))]
        )
        out = np.empty(x.size, np.uint8)
        for zero_point in (0, 1, 128, 255):
            _core.convert_quantize(kernel, x, out, x.size, scale=scale, zero_point=zero_point)
            np.testing.assert_array_equal(out, norm_quantize(x, scale, zero_point))


@every_row("quantize")
def test_quantize_special_values(kernel):
    """Spelled out, so that this test does not lean on NumPy: NaN, +-inf, +-0 with zero point 7."""
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -7.5], F32)
    out = np.empty(x.size, np.uint8)
    _core.convert_quantize(kernel, x, out, x.size, scale=1.0, zero_point=7)
    assert out.tolist() == [7, 7, 255, 0, 7, 7, 7, 9, 9, 7, 0]


@every_row("quantize")
def test_quantize_sizes_on_guard_pages(kernel, rng, guarded):
    for n in range(131):
        x = guarded(rng.normal(0, 3, n).astype(F32))
        out = guarded(count=n)
        _core.convert_quantize(kernel, x, out, n, scale=0.03125, zero_point=100)
        np.testing.assert_array_equal(out, norm_quantize(x, 0.03125, 100))


def check_chw(kernel, rng, width, channels, channel_gap, pixel_gap, make):
    """Runs planes of `width` with gaps behind them; the gaps between the pixels must survive."""
    stride, pixel = width + channel_gap, channels + pixel_gap
    x = make(rng.normal(0, 2, (channels - 1) * stride + width).astype(F32))
    x[rng.integers(0, x.size)] = np.nan
    out = make(np.full((width - 1) * pixel + channels, 0xCD, np.uint8))
    planes = np.lib.stride_tricks.as_strided(x, (channels, width), (4 * stride, 4))
    want = np.full((width, pixel), 0xCD, np.uint8)
    want[:, :channels] = norm_quantize(planes.T, 0.0171875, 119, 128)
    _core.convert_quantize_chw(
        kernel, x, stride, out, pixel, width, channels, scale=0.0171875, zero_point=119, flip=128
    )
    label = f"width {width}, channels {channels}, pixel stride {pixel}"
    np.testing.assert_array_equal(out, want.reshape(-1)[: out.size], label)


@every_row("quantize_chw")
@pytest.mark.parametrize("pixel_gap", [0, 1, 5])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 19, 31, 32, 36, 64])
def test_quantize_chw(kernel, rng, guarded, channels, pixel_gap):
    for width in [*range(1, 18), 31, 32, 33, 49]:
        check_chw(kernel, rng, width, channels, width % 3, pixel_gap, guarded)


@every_row("quantize_chw")
def test_quantize_chw_rgb_image(kernel, rng, guarded):
    for width in range(1, 140):
        check_chw(kernel, rng, width, 3, 0, 0, guarded)
    check_chw(kernel, rng, 224 * 224, 3, 0, 0, guarded)


@every_row("quantize_chw")
def test_quantize_chw_bit_patterns(kernel, rng):
    x = bit_patterns(rng, 3 << 15)
    out = np.empty(x.size, np.uint8)
    _core.convert_quantize_chw(kernel, x, 1 << 15, out, 3, 1 << 15, 3, scale=0.5, zero_point=3)
    np.testing.assert_array_equal(out.reshape(-1, 3), norm_quantize(x.reshape(3, -1).T, 0.5, 3))


@every_row("dequantize")
@pytest.mark.parametrize("flip", [0, 128])
def test_dequantize_all_values(kernel, rng, flip):
    q = np.arange(256, dtype=np.uint8)
    out = np.empty(256, F32)
    for scale in [1.0, 0.0173, 1.2e-38, 3e38, *np.exp2(rng.uniform(-20, 20, 8))]:
        scale = float(F32(scale))
        for zero_point in range(256):
            _core.convert_dequantize(
                kernel, q, out, 256, scale=scale, zero_point=zero_point, flip=flip
            )
            with np.errstate(over="ignore"):
                want = ((q ^ np.uint8(flip)).astype(np.int32) - zero_point).astype(F32) * F32(scale)
            assert out.tobytes() == want.tobytes(), (scale, zero_point)


@every_row("dequantize")
def test_dequantize_sizes_on_guard_pages(kernel, rng, guarded):
    for n in range(131):
        q = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        out = guarded(count=n, dtype=F32)
        _core.convert_dequantize(kernel, q, out, n, scale=0.7, zero_point=13)
        np.testing.assert_array_equal(out, (q.astype(np.int32) - 13).astype(F32) * F32(0.7))


@every_row("flip")
def test_flip_sizes_on_guard_pages(kernel, rng, guarded):
    for n in range(131):
        values = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        before = values.copy()
        out = guarded(count=n)
        _core.convert_flip(kernel, values, out, n)
        np.testing.assert_array_equal(out, before ^ np.uint8(0x80))
        np.testing.assert_array_equal(values, before)
        _core.convert_flip(kernel, values, values, n)
        np.testing.assert_array_equal(values, before ^ np.uint8(0x80))


@every_row("quantize")
def test_unaligned_bytes(kernel, rng):
    x = rng.normal(0, 1, 200).astype(F32)
    for out_offset, first, n in [(1, 1, 129), (31, 3, 64), (2, 7, 95)]:
        out = np.full(256, 0xCD, np.uint8)
        _core.convert_quantize(kernel, x, out, n, scale=0.01, zero_point=128,
                               in_offset=4 * first, out_offset=out_offset)  # fmt: skip
        want = np.full(256, 0xCD, np.uint8)
        want[out_offset : out_offset + n] = norm_quantize(x[first : first + n], 0.01, 128)
        np.testing.assert_array_equal(out, want)

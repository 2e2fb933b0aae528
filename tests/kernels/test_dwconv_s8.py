# SPDX-License-Identifier: Apache-2.0
"""Depthwise kernels against an int64 NumPy norm: exact, on guard pages, canaries between pixels."""

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError

ROWS = _core.dwconv_s8_rows()
CANARY = 0xA5
SLACK = 63  # bytes past the last channel that a kernel may read
WIDTHS = [1, 2, 3, 4, 5, 6, 7, 8, 13, 33]


@dataclass(frozen=True)
class Row:
    name: str
    isa: str
    kh: int
    kw: int
    stride: int
    dilated: bool
    weight_min: int
    weight_max: int

    @property
    def weight_range(self):
        return self.weight_min, self.weight_max

    def geometries(self):
        """(kh, kw, stride, dilation) that the row takes, at least once each thing that differs."""
        if self.stride:
            return [(self.kh, self.kw, self.stride, 1)]
        return [(3, 3, 1, 1), (1, 1, 1, 1), (5, 5, 1, 1), (5, 5, 2, 1), (3, 3, 1, 2), (3, 3, 3, 3),
                (1, 7, 2, 2), (7, 1, 1, 1), (2, 3, 1, 1), (4, 2, 2, 1), (9, 9, 1, 1)]  # fmt: skip


@pytest.fixture(params=ROWS, ids=lambda row: row[0])
def row(request):
    *fields, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {fields[0]}: this machine lacks {fields[1]}")
    return Row(*fields)


def norm(x, weights, bias, multiplier, *, in_zp, out_zp, qmin, qmax, stride, dilation, out_w):
    """x [kh, columns, c] uint8 -> [out_w, c] uint8; sums in int64, wrapped to int32 at the end."""
    kh, kw, channels = weights.shape
    acc = np.broadcast_to(bias.astype(np.int64), (out_w, channels)).copy()
    a = x.astype(np.int64) - in_zp
    for i, j in itertools.product(range(kh), range(kw)):
        columns = np.arange(out_w) * stride + j * dilation
        acc += a[i, columns] * weights[i, j].astype(np.int64)
    acc32 = (acc & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    with np.errstate(over="ignore"):
        v = acc32.astype(np.float32) * multiplier.astype(np.float32)
    v = np.clip(v, np.float32(qmin - out_zp), np.float32(qmax - out_zp))
    return (np.rint(v).astype(np.int32) + out_zp).astype(np.uint8)


class Case:
    """One output row: input rows on a guard page with exactly the contract's slack behind them."""

    def __init__(self, row, rng, channels, out_w, geometry, *, at_start=False, pixel_gap=0):
        kh, kw, self.stride, self.dilation = geometry
        self.row, self.rng, self.out_w = row, rng, out_w
        self.columns = (out_w - 1) * self.stride + (kw - 1) * self.dilation + 1
        self.pixel_stride = channels + pixel_gap
        self.x = rng.integers(0, 256, (kh, self.columns, channels), dtype=np.uint8)
        low, high = row.weight_range
        self.weights = rng.integers(low, high + 1, (kh, kw, channels)).astype(np.int16)
        self.bias = rng.integers(-5000, 5001, channels).astype(np.int32)
        spread = 128 * 160 * np.sqrt(kh * kw)  # most outputs in range, some beyond both ends
        self.multiplier = (rng.uniform(60, 200, channels) / spread).astype(np.float32)
        self.quant = {"in_zp": 0, "out_zp": 100, "qmin": 0, "qmax": 255}
        self.at_start = at_start

    def memory(self):
        kh, channels = self.x.shape[0], self.x.shape[2]
        row_bytes = (self.columns - 1) * self.pixel_stride + channels
        memory = _core.GuardBuffer(row_bytes * kh + SLACK, at_start=self.at_start)
        flat = np.frombuffer(memory, np.uint8)
        order = self.rng.permutation(kh)  # any of the rows may be the one at the guard page
        offsets = order.astype(np.int64) * row_bytes
        for i, offset in enumerate(offsets):
            for j in range(self.columns):
                at = offset + j * self.pixel_stride
                flat[at : at + channels] = self.x[i, j]
        return memory, offsets

    def check(self, out_gap=3):
        channels = self.x.shape[2]
        quant = self.quant
        layer = _core.DwconvS8(
            self.row.name, self.weights, self.bias, self.multiplier, quant["in_zp"],
            quant["out_zp"], quant["qmin"], quant["qmax"], self.stride, self.dilation,
        )  # fmt: skip
        memory, offsets = self.memory()
        before = bytes(memory)
        step = channels + out_gap
        size = (self.out_w - 1) * step + channels
        out = _core.GuardBuffer(size, at_start=self.at_start)
        view = np.frombuffer(out, np.uint8)
        view[:] = CANARY
        layer.run(memory, offsets, self.pixel_stride, out, 0, step, self.out_w)

        want = np.full(self.out_w * step, CANARY, np.uint8).reshape(self.out_w, step)
        want[:, :channels] = norm(
            self.x, self.weights, self.bias, self.multiplier, **quant, stride=self.stride,
            dilation=self.dilation, out_w=self.out_w,
        )  # fmt: skip
        np.testing.assert_array_equal(view, want.reshape(-1)[:size])
        assert bytes(memory) == before
        return want[:, :channels]


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
def test_channels(row, rng, at_start):
    """Every channel count to two blocks and one, with widths in turn."""
    geometry = row.geometries()[0]
    for channels in range(1, 131):
        out_w = WIDTHS[channels % 8]
        Case(row, rng, channels, out_w, geometry, at_start=at_start).check()


@pytest.mark.parametrize("channels", [1, 7, 8, 16, 24, 31, 33, 64, 96, 160, 257])
def test_widths(row, rng, channels):
    for out_w in WIDTHS:
        case = Case(row, rng, channels, out_w, row.geometries()[0], pixel_gap=channels % 3)
        case.check(out_gap=channels % 5)


def test_geometries(row, rng):
    for geometry in row.geometries():
        for channels, out_w in [(1, 1), (5, 9), (16, 4), (17, 3), (48, 6), (65, 2), (100, 5)]:
            Case(row, rng, channels, out_w, geometry).check()


def test_corner_values(row, rng):
    """Inputs of 0 and 255 only (-128 and 127 as Arm stores them), weights at the ends of their
    range: pairs that would saturate."""
    low, high = row.weight_range
    for geometry in row.geometries():
        for channels in (3, 16, 40, 64, 67):
            case = Case(row, rng, channels, 5, geometry)
            case.x[:] = rng.choice([0, 255], case.x.shape)
            case.weights[:] = rng.choice([low, high], case.weights.shape)
            case.multiplier[:] = np.float32(1e-3)
            case.check()
            for value, weight in itertools.product((0, 255), (low, high)):
                case.x[:], case.weights[:] = value, weight
                case.check()


@pytest.mark.parametrize("large", [0, 1, 3], ids="large{}".format)
def test_columns_that_need_a_second_product(row, rng, large):
    """Weights whose pairs fit int16, and among them a few columns that no split makes fit."""
    for channels, out_w in itertools.product([3, 8, 11, 16, 24, 32, 35, 44, 64, 96], [1, 3, 6, 29]):
        case = Case(row, rng, channels, out_w, row.geometries()[0])
        case.x[:] = rng.choice([0, 1, 254, 255], case.x.shape)
        case.weights[:] = rng.integers(-40, 41, case.weights.shape)
        sign = rng.choice([-1, 1])
        for c, j in zip(rng.integers(0, channels, large), rng.integers(0, 3, large), strict=True):
            case.weights[:, j, c] = sign * rng.integers(86, 128, len(case.weights))  # 3 * 86 > 256
        case.multiplier[:] = rng.uniform(5e-4, 4e-3, channels)
        for qmin, qmax in [(0, 255), (0, 254), (1, 255), (30, 90)]:
            case.quant.update(in_zp=5, out_zp=30, qmin=qmin, qmax=qmax)
            case.check()


@pytest.mark.parametrize("weight", [-128, -127, 126, 127])
def test_equal_weights(row, rng, weight):
    """A smooth filter is the worst case: all three weights of a column large and of one sign."""
    for channels in (7, 16, 33):
        case = Case(row, rng, channels, 9, row.geometries()[0])
        case.weights[:] = max(weight, row.weight_min)
        case.x[:] = rng.choice([254, 255], case.x.shape)
        case.check()


def test_every_tap_alone(row, rng):
    """One weight of one tap at a time: catches a tap that is swapped, lost or counted twice."""
    for geometry in row.geometries()[:6]:
        kh, kw = geometry[:2]
        for i, j in itertools.product(range(kh), range(kw)):
            case = Case(row, rng, 70, 4, geometry)
            case.weights[:] = 0
            case.weights[i, j] = rng.integers(*row.weight_range, 70)
            case.bias[:] = 0
            case.check()


@pytest.mark.parametrize("in_zp", [0, 1, 128, 255])
@pytest.mark.parametrize("out_zp", [0, 3, 128, 255])
def test_zero_points_and_clamps(row, rng, in_zp, out_zp):
    for qmin, qmax in [(0, 255), (out_zp, 255), (0, out_zp), (10, 200), (77, 77)]:
        case = Case(row, rng, 37, 6, row.geometries()[0])
        case.quant.update(in_zp=in_zp, out_zp=out_zp, qmin=qmin, qmax=qmax)
        out = case.check()
        assert out.min() >= qmin
        assert out.max() <= qmax


@pytest.mark.parametrize("shift", [1, 2, 3, 8])
def test_ties_round_half_to_even(row, rng, shift):
    """A power-of-two multiplier puts many sums exactly between two integers."""
    case = Case(row, rng, 64, 33, row.geometries()[0])
    case.weights //= 16
    case.bias[:] = rng.integers(-200, 200, 64)
    case.multiplier[:] = np.float32(2.0**-shift)
    case.quant.update(in_zp=120, out_zp=128)
    case.check()


def test_rounding_spelled_out(row):
    """acc / 2 for acc = -5..5 around zero point 10, without any help of NumPy."""
    kh, kw, stride, dilation = row.geometries()[0]
    channels = 11
    bias = np.arange(-5, 6, dtype=np.int32)
    weights = np.zeros((kh, kw, channels), np.int16)
    half = np.full(channels, 0.5, np.float32)
    layer = _core.DwconvS8(row.name, weights, bias, half, 0, 10, 0, 255, stride, dilation)
    memory = np.zeros(4096, np.uint8)
    out = np.zeros(channels, np.uint8)
    layer.run(memory, np.zeros(kh, np.int64), channels, out, 0, channels, 1)
    assert out.tolist() == [8, 8, 8, 9, 10, 10, 10, 11, 12, 12, 12]


@pytest.mark.parametrize("multiplier", [1.0, 1e4, 1e10, 3.4e38, 0.0, 1.2e-38, 1e-45])
def test_extreme_multipliers(row, rng, multiplier):
    """Products beyond int32 and float32 saturate on both sides; 0 and subnormals give zp."""
    case = Case(row, rng, 50, 7, row.geometries()[0])
    case.multiplier[:] = np.float32(multiplier)
    case.bias[:10] = 0
    case.weights[:, :, :10] = 0
    case.quant.update(in_zp=128, out_zp=7)
    out = case.check()
    assert (out[:, :10] == 7).all()


def test_large_sums(row, rng):
    """Sums above 2^24 round on their way to float32; those beyond int32 wrap, as the norm says."""
    for bias in (2**24 + 1, -(2**24) - 1, 2**31 - 1, -(2**31), 2**30 + 64):
        case = Case(row, rng, 35, 4, row.geometries()[0])
        case.bias[:] = bias
        case.multiplier[:] = rng.choice([2.0**-24, 2.0**-25, 1e-7, 5e-8], 35)
        case.quant.update(in_zp=9, out_zp=120)
        case.check()


def test_unaligned_memory(row, rng):
    geometry = row.geometries()[0]
    for offset in range(0, 64, 7):
        case = Case(row, rng, 64 + offset, 3, geometry)
        case.check(out_gap=offset)


def test_rows_refuse_what_they_cannot_hold(row):
    bias, scale = np.zeros(4, np.int32), np.ones(4, np.float32)
    for beyond in (row.weight_min - 1, row.weight_max + 1):
        weights = np.full((row.kh or 3, row.kw or 3, 4), beyond, np.int16)
        with pytest.raises(InvalidArgumentError, match=rf"leave {row.weight_min}\.\."):
            _core.DwconvS8(row.name, weights, bias, scale, stride=max(row.stride, 1))
    if row.stride:
        with pytest.raises(InvalidArgumentError, match="7x7"):
            _core.DwconvS8(row.name, np.zeros((7, 7, 4), np.int16), bias, scale, stride=row.stride)
        with pytest.raises(InvalidArgumentError, match="dilation 2"):
            _core.DwconvS8(row.name, np.zeros((row.kh, row.kw, 4), np.int16), bias, scale,
                           stride=row.stride, dilation=2)  # fmt: skip


def test_unknown_kernel():
    with pytest.raises(IsaError, match="nonsense"):
        _core.DwconvS8("nonsense", np.zeros((1, 1, 1), np.int16), np.zeros(1, np.int32),
                       np.zeros(1, np.float32))  # fmt: skip


def test_select():
    def select(isa, k=3, stride=1, dilation=1, weights=(-127, 127)):
        return _core.dwconv_s8_select(isa, 64, k, k, stride, dilation, *weights)

    assert select("scalar") == "dwconv_s8_any_scalar"
    for name, isa, *_, supported in ROWS:
        if isa == "scalar" or not supported:
            continue
        assert select(isa).startswith("dwconv_s8_3x3s1")
        assert select(isa, stride=2).startswith("dwconv_s8_3x3s2")
        assert select(isa, k=5).startswith("dwconv_s8_5x5s1")
        assert select(isa, k=5, stride=2).startswith("dwconv_s8_5x5s2")
        for other in (select(isa, k=7), select(isa, dilation=2), select(isa, stride=3)):
            assert other.startswith("dwconv_s8_any")
            assert other.endswith(isa)
        arm = isa.startswith("neon")
        assert select(isa, weights=(-255, 0)).endswith("_neon" if arm else "_avx2"), name
        full = select(isa, weights=(-128, 127))
        assert full == ("dwconv_s8_any_x8_neon" if isa == "neon" else select(isa))

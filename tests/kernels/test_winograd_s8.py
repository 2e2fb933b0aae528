# SPDX-License-Identifier: Apache-2.0
"""Winograd kernels against an int64 NumPy norm and the direct kernels, byte for byte.

Whatever the bytes of image and weights are: inputs that make the largest V, weights that make the
largest U, channel sums of products far beyond int32.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError, ShapeError

ROWS = _core.winograd_s8_rows()
SLACK = {name: channels - 1 for name, _, _, channels, _ in ROWS}  # bytes read past a pixel
CANARY = 0xA5
F32 = np.float32
# B^T and G as docs/numerics.md has them.
INPUT = np.array([[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
                  [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]])  # fmt: skip
WEIGHT = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 6]])


@pytest.fixture(params=ROWS, ids=lambda row: row[0])
def kernel(request):
    name, isa, *_, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return name


@dataclass
class Case:
    """One image: x [h + 2, w + 2, channels] with its padding, weights [n, 3, 3, channels]."""

    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    za: int = 7
    quant: dict = field(default_factory=lambda: {"out_zero_point": 100, "qmin": 0, "qmax": 255})
    panel: int = 16
    pixel_gap: int = 0
    out_gap: int = 3

    def sums(self):
        """int64 [h, w, n]"""
        h, w = self.x.shape[0] - 2, self.x.shape[1] - 2
        a, weights = self.x.astype(np.int64) - self.za, self.weights.astype(np.int64)
        acc = np.zeros((h, w, weights.shape[0]), np.int64) + self.bias
        for i in range(3):
            for j in range(3):
                acc += a[i : i + h, j : j + w] @ weights[:, i, j].T
        return acc

    def norm(self):
        zp, qmin, qmax = self.quant.values()
        with np.errstate(over="ignore"):
            v = self.sums().astype(F32) * self.multiplier
        return (np.rint(np.clip(v, F32(qmin - zp), F32(qmax - zp))).astype(np.int32) + zp).astype(
            np.uint8
        )

    def run(self, kernel, *, at_start=False):
        """Input and output on guard pages, canaries between the pixels and between the rows."""
        height, width, channels = self.x.shape
        pixel = channels + self.pixel_gap
        row = width * pixel + self.pixel_gap
        size = (height - 1) * row + (width - 1) * pixel + channels
        memory = _core.GuardBuffer(size + SLACK[kernel], at_start=at_start)
        flat = np.frombuffer(memory, np.uint8)
        strided(flat, (height, width, channels), row, pixel)[:] = self.x
        before = bytes(memory)
        h, w, n = height - 2, width - 2, self.weights.shape[0]
        out_pixel = n + self.out_gap
        out_row = w * out_pixel + self.out_gap
        out = _core.GuardBuffer((h - 1) * out_row + (w - 1) * out_pixel + n, at_start=at_start)
        view = np.frombuffer(out, np.uint8)
        view[:] = CANARY
        layer = _core.WinogradS8(kernel, self.weights, self.bias, self.multiplier, self.za,
                                 **self.quant, panel=self.panel)  # fmt: skip
        layer.run(memory, 0, row, pixel, out, 0, out_row, out_pixel, h, w)
        assert bytes(memory) == before
        y = strided(view, (h, w, n), out_row, out_pixel)
        result = y.copy()
        y[:] = CANARY
        assert (view == CANARY).all(), "written outside of the output"
        return result

    def check(self, kernel, **how):
        np.testing.assert_array_equal(self.run(kernel, **how), self.norm())


def strided(flat, shape, row, pixel):
    return np.lib.stride_tricks.as_strided(flat, shape, (row, pixel, 1))


def make_case(rng, h, w, channels, n, **options):
    """Most outputs in range, some beyond both ends."""
    multiplier = rng.uniform(0.5, 2, n) * 60 / (128 * 70 * np.sqrt(9 * channels))
    return Case(
        rng.integers(0, 256, (h + 2, w + 2, channels), dtype=np.uint8),
        rng.integers(-128, 128, (n, 3, 3, channels)).astype(np.int16),
        rng.integers(-5000, 5001, n).astype(np.int32),
        multiplier.astype(F32),
        **options,
    )


def direct(case, kernel="gemm_s8_1x4c4_scalar"):
    """The same layer by the direct kernel."""
    height, width, channels = case.x.shape
    h, w, n = height - 2, width - 2, case.weights.shape[0]
    line = width * channels
    layer = _core.GemmS8(kernel, case.weights.reshape(n, 3, 3 * channels), case.bias,
                         case.multiplier, case.za, np.arange(3) * line,
                         **case.quant)  # fmt: skip
    y, x = np.mgrid[:h, :w]
    out = np.empty((h * w, n), np.uint8)
    a = np.append(case.x.ravel(), np.zeros(3, np.uint8))
    layer.run(a, (y * line + x * channels).ravel(), out, np.arange(h * w) * n)
    return out.reshape(h, w, n)


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
def test_heights_and_widths(kernel, rng, at_start):
    """Every cut of a tile at the bottom and at the right."""
    for h in range(1, 14):
        for w in range(1, 14):
            panel = int(rng.integers(1, 20))
            make_case(rng, h, w, 5, 6, panel=panel).check(kernel, at_start=at_start)


def test_channels(kernel, rng):
    """Input and output channels around multiples of the blocks, one after the other."""
    counts = [*range(1, 35), 47, 48, 49, 63, 64, 65]
    for channels in counts:
        make_case(rng, 5, 6, channels, 7, pixel_gap=channels % 3).check(kernel)
    for n in counts:
        make_case(rng, 6, 5, 6, n, out_gap=n % 5).check(kernel, at_start=n % 2 == 1)


def test_panels(kernel, rng):
    """Every number of tiles that a panel may have, the rest of one included."""
    for panel in range(1, 27):
        make_case(rng, 17, 20, 4, 17, panel=panel).check(kernel)  # 25 tiles


def test_equals_the_direct_kernel(kernel, rng):
    for h, w, channels, n in [(4, 4, 16, 16), (13, 13, 48, 20), (7, 7, 96, 33), (9, 14, 3, 40)]:
        case = make_case(rng, h, w, channels, n)
        np.testing.assert_array_equal(case.run(kernel), direct(case))


@pytest.mark.parametrize("za", [0, 255])
def test_worst_case(kernel, rng, za):
    """Windows of 0 and 255 and weights of -128 and 127 with the signs of each of the 36 points,
    where V, U and their sum are largest; the sums of products leave int32 by far."""
    channels, beyond = 96, 0
    for point in range(36):
        row, col = divmod(point, 6)
        signs = np.outer(INPUT[row], INPUT[col])
        window = np.where(signs * rng.choice([-1, 1]) > 0, 255, 0).astype(np.uint8)
        w_signs = np.outer(WEIGHT[row], WEIGHT[col])
        weight = np.where(w_signs > 0, 127, -128).astype(np.int16)
        case = make_case(rng, 4, 4, channels, 19, za=za)
        case.x[:] = window[:, :, None]
        case.weights[:] = weight[:, :, None]
        case.weights[1::2] = np.where(w_signs > 0, -128, 127)[:, :, None]
        case.multiplier[:] = F32(2e-6)
        v = INPUT @ window.astype(np.int64) @ INPUT.T
        u = WEIGHT @ weight.astype(np.int64) @ WEIGHT.T
        beyond += abs(v * u).max() * channels > 2 * 2**31
        case.check(kernel)
    assert beyond > 18


def test_corner_values(kernel, rng):
    for channels, n in [(3, 5), (16, 16), (40, 33), (110, 8)]:
        for za in (0, 128, 255):
            case = make_case(rng, 6, 9, channels, n, za=za)
            case.x[:] = rng.choice([0, 255], case.x.shape)
            case.weights[:] = rng.choice([-128, 127], case.weights.shape)
            case.check(kernel)
            for value in (-128, 127):
                case.weights[:] = value
                case.check(kernel)


def test_every_tap_alone(kernel, rng):
    """One weight at a time: catches a tap that is swapped, lost or counted twice."""
    for i in range(3):
        for j in range(3):
            case = make_case(rng, 5, 5, 20, 18)
            taps = rng.integers(-128, 128, (18, 20))
            case.weights[:] = 0
            case.weights[:, i, j] = taps
            case.check(kernel)


@pytest.mark.parametrize("za", [0, 1, 128, 255])
@pytest.mark.parametrize("zp", [0, 3, 128, 255])
def test_zero_points_and_clamps(kernel, rng, za, zp):
    for qmin, qmax in [(0, 255), (zp, 255), (0, zp), (10, 200), (77, 77)]:
        quant = {"out_zero_point": zp, "qmin": qmin, "qmax": qmax}
        make_case(rng, 5, 4, 6, 18, za=za, quant=quant).check(kernel)


@pytest.mark.parametrize("shift", [1, 2, 3, 8])
def test_ties_round_half_to_even(kernel, rng, shift):
    case = make_case(rng, 8, 8, 3, 21)
    case.weights //= 16
    case.multiplier[:] = F32(2.0**-shift)
    case.check(kernel)


@pytest.mark.parametrize("multiplier", [1.0, 1e4, 1e10, 3.4e38, 0.0, 1.2e-38, 1e-45])
def test_extreme_multipliers(kernel, rng, multiplier):
    """Multipliers are divided by 64 when packed, which subnormal ones do not survive: their
    products round to 0 with and without."""
    case = make_case(rng, 5, 5, 8, 17)
    case.multiplier[:] = F32(multiplier)
    case.check(kernel)


def test_sums_at_the_limit(kernel):
    """Sums of +-(2^25 - 1), which 64-fold just fit int32, and round on their way to float32."""
    channels, limit = 116, 2**25 - 1
    weights = np.full((4, 3, 3, channels), 126, np.int16)  # 33,543,720 with 255
    weights[1::2] = -126
    bias = np.array([1, -1, 1, -1], np.int32) * (limit - 9 * channels * 126 * 255)
    x = np.full((6, 6, channels), 255, np.uint8)
    case = Case(x, weights, bias, np.full(4, 2.0**-18, F32), za=0)
    assert np.abs(case.sums()).max() == np.abs(case.sums()).min() == limit
    case.check(kernel)
    case.bias += np.array([1, -1, 1, -1], np.int32)
    with pytest.raises(InvalidArgumentError, match="not exact"):
        case.run(kernel)


def test_nine_bit_weights(kernel, rng):
    """Weights minus a zero point: taken while every U fits int16."""
    case = make_case(rng, 5, 6, 7, 18)
    case.weights[:] = rng.integers(-200, 201, case.weights.shape)
    case.weights[:, 1:] //= 8
    case.check(kernel)
    case.weights[3, :, :, 2] = 255  # the first column: 144 * 255
    with pytest.raises(InvalidArgumentError, match="not exact"):
        case.run(kernel)


def test_exact():
    def exact(weights, bias=0, za=0):
        weights = np.asarray(weights, np.int16)
        return _core.winograd_s8_exact(weights, np.full(weights.shape[0], bias, np.int32), za)

    ones = np.ones((3, 3, 3, 1000))
    assert exact(ones)
    assert exact(ones, bias=2**25 - 1 - 9000 * 255)
    assert not exact(ones, bias=2**25 - 9000 * 255)
    assert exact(ones, bias=2**25 - 1 - 9000 * 55, za=200)
    assert exact(ones, bias=-(2**25) + 1 + 9000 * 200, za=200)
    assert not exact(ones, bias=-(2**25) + 9000 * 200, za=200)
    assert not exact(-ones, bias=2**25 - 9000 * 200, za=200)
    assert exact(np.full((1, 3, 3, 1), -128))
    assert exact(np.full((1, 3, 3, 1), 227))  # 144 * 227 = 32,688
    assert not exact(np.full((1, 3, 3, 1), 228))


def test_refusals():
    ones = np.ones((4, 3, 3, 4), np.int16)
    bias, multiplier = np.zeros(4, np.int32), np.ones(4, F32)
    with pytest.raises(IsaError, match="nonsense"):
        _core.WinogradS8("nonsense", ones, bias, multiplier)
    name = ROWS[-1][0]
    with pytest.raises(ShapeError):
        _core.WinogradS8(name, ones[:, :2], bias, multiplier)
    with pytest.raises(ShapeError):
        _core.WinogradS8(name, ones, bias[1:], multiplier)
    layer = _core.WinogradS8(name, ones, bias, multiplier)
    with pytest.raises(InvalidArgumentError, match="outside"):
        layer.run(np.zeros(35, np.uint8), 0, 12, 4, np.zeros(4, np.uint8), 0, 4, 4, 1, 1)

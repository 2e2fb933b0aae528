# SPDX-License-Identifier: Apache-2.0
"""Every gemm_f32 kernel against the norm in NumPy, bit by bit; the norm against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from f32_values import F32, INF, TINY, bits, values
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo import _core, fma
from octavo.errors import InvalidArgumentError, IsaError, ShapeError

ROWS = {row[0]: row for row in _core.gemm_f32_rows()}
CANARY = F32(-7.25)


@pytest.fixture(params=ROWS.values(), ids=ROWS)
def row(request):
    name, isa, *_, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return request.param


class Layer:
    """weights [n, segments, length]; segment offsets in floats."""

    def __init__(self, rng, n, segments, length, offsets=None, lo=-INF, hi=INF, special=0.0):
        self.weights = values(rng, n, segments, length, special=special)
        self.bias = values(rng, n, special=special)
        self.offsets = [s * length for s in range(segments)] if offsets is None else offsets
        self.lo, self.hi = F32(lo), F32(hi)

    @property
    def n(self):
        return len(self.bias)

    def floats_read(self):
        return max(self.offsets) + self.weights.shape[2]

    def build(self, row):
        offsets = np.array(self.offsets) * 4
        return _core.GemmF32(row[0], self.weights, self.bias, offsets, self.lo, self.hi)

    def norm(self, a, a_rows):
        taps = np.add.outer(self.offsets, np.arange(self.weights.shape[2])).ravel()
        x = np.asarray(a)[np.add.outer(a_rows, taps)]
        weights = self.weights.reshape(self.n, -1)
        return fma.dot(x[:, None], weights[None], self.bias, self.lo, self.hi)


def check(row, layer, a, a_rows, gap=0, want=None):
    """Runs the kernel into rows `n + gap` apart and compares every bit, gaps included."""
    a_rows = np.asarray(a_rows)
    m, stride = len(a_rows), layer.n + gap
    c = np.full(m * stride + 16, CANARY)
    expected = c.copy()
    want = layer.norm(a, a_rows) if want is None else want
    expected[: m * stride].reshape(m, stride)[:, : layer.n] = want
    layer.build(row).run(a, a_rows * 4, c, np.arange(m) * stride * 4)
    np.testing.assert_array_equal(bits(c), bits(expected))


def rounded(exact):
    """A fraction to the nearest float32, ties to even."""
    guess = F32(float(exact))
    near = [F32(np.nextafter(guess, -INF)), guess, F32(np.nextafter(guess, INF))]
    finite = [v for v in near if np.isfinite(v)]
    return min(finite, key=lambda v: (abs(Fraction(float(v)) - exact), bits(v).item() & 1))


def test_the_norm_rounds_once(rng):
    """Random operands, sums that cancel, and sums so near a tie that float64 takes them for one."""
    a = values(rng, 3000)
    b = values(rng, 3000)
    c = values(rng, 3000)
    c[:1000] = -(a[:1000] * b[:1000])
    a[1000:1200] = np.ldexp(a[1000:1200], -75)
    b[1000:1200] = np.ldexp(b[1000:1200], -70)
    c[1000:1200] = TINY * np.arange(200).astype(F32)
    c[1200:2000] = np.ldexp(c[1200:2000], rng.integers(-40, 60, 800))
    # Half a unit of c, less 2^-46 of that: a tie in float64, which would go to the even neighbour.
    a[2000:2500] = F32(2.0**-24) * F32(1 + 2.0**-23) * rng.choice([-1, 1], 500).astype(F32)
    b[2000:2500] = F32(1 - 2.0**-23)
    c[2000:2500] = (1 + 2.0**-23 * rng.integers(0, 2**22, 500)).astype(F32)
    found = fma.fma(a, b, c)
    for i in range(a.size):
        exact = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        want = rounded(exact)
        assert found[i] == want, (a[i], b[i], c[i])
    assert (found[2000:2500] == c[2000:2500]).all()


def test_one_rounding_in_kernels(row):
    """Products that cancel the bias leave their rounding error, which two roundings would lose."""
    x = np.array([1 + 2.0**-23, 1 + 2.0**-12, 3.0, 1e-30], F32)
    w = np.array([1 - 2.0**-23, 1 + 2.0**-12, 1 / 3, 1e-30], F32)
    layer = Layer(np.random.default_rng(0), 4, 1, 1)
    for value in x:
        layer.weights = w.reshape(4, 1, 1)
        layer.bias = -(w * value)
        want = layer.norm(np.array([value]), [0])
        assert (want != 0).any()
        check(row, layer, np.array([value]), [0], want=want)


def test_every_m(row, rng):
    _, _, mr, nr, _ = row
    for n, k in [(nr, 12), (nr // 2 - 1, 5), (5 * nr - 1, 3)]:
        layer = Layer(rng, n, 1, k, lo=-3, hi=4)
        a = values(rng, (2 * mr + 2) * k)
        want = layer.norm(a, np.arange(2 * mr + 2) * k)
        for m in range(1, 2 * mr + 2):
            check(row, layer, a[: m * k].copy(), np.arange(m) * k, gap=5, want=want[:m])


def test_every_n(row, rng):
    for n in (*range(1, 2 * row[3] + 2), 3 * row[3] + 1, 4 * row[3], 5 * row[3] - 7):
        layer = Layer(rng, n, 1, 5)
        a = values(rng, 7 * 5)
        for m in (1, 2, 7):
            check(row, layer, a[: m * 5].copy(), np.arange(m) * 5, gap=1)


def test_every_k(row, rng):
    for k in (*range(1, 20), 31, 64, 257, 1500):
        layer = Layer(rng, row[3] + 1, 1, k)
        check(row, layer, values(rng, 3 * k), np.arange(3) * k)


@pytest.mark.parametrize("length", [1, 3, 8, 21])
def test_segments_in_any_order(row, rng, length):
    offsets = [205, 0, 51, 103, 154, 51]  # one of them twice
    layer = Layer(rng, row[3] + 2, len(offsets), length, offsets)
    m = row[2] + 1
    a = values(rng, 7 * m + layer.floats_read())
    for a_rows in (np.arange(m) * 7, np.arange(m)[::-1] * 3, np.zeros(m, int)):  # overlapping
        check(row, layer, a, a_rows, gap=2)
    layer.offsets = [o - 205 for o in offsets]
    check(row, layer, a, 205 + np.arange(4), gap=2)


@pytest.mark.parametrize("special", [0.02, 0.3, 1.0])
def test_special_values(row, rng, special):
    """NaN of any sign and payload, infinities, their products with 0, subnormals, signed zeros."""
    for n, k in [(row[3] + 3, 1), (2 * row[3], 3), (5, 9)]:
        layer = Layer(rng, n, 1, k, special=special)
        for m in (1, 2, 2 * row[2] + 1):
            a = values(rng, m * k, special=special)
            for layer.lo, layer.hi in [(-INF, INF), (F32(0), F32(6)), (F32(-1e-40), F32(0))]:
                check(row, layer, a, np.arange(m) * k)


def test_special_values_are_there(rng):
    x = values(rng, 4000, special=0.5)
    assert np.isnan(x).any() and np.isinf(x).any() and (np.abs(x[x != 0]) < 2.0**-126).any()
    assert len(np.unique(bits(x[np.isnan(x)]))) > 3
    assert np.signbit(x[x == 0]).any() and not np.signbit(x[x == 0]).all()


def test_zero_keeps_its_sign_under_a_clamp_at_zero(row):
    layer = Layer(np.random.default_rng(0), 3, 1, 1, lo=0, hi=INF)
    layer.weights[:] = F32(0)
    layer.bias = np.array([-0.0, 0.0, -0.0], F32)
    want = np.array([[-0.0, 0.0, -0.0]], F32)
    check(row, layer, np.array([-1.0], F32), [0], want=want)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_guard_pages(row, rng, guarded, k):
    """Exactly the runs are read, exactly the columns are written."""
    for n in sorted({1, 3, 7, row[3] - 1, row[3], row[3] + 1, 4 * row[3] + 5}):
        layer = Layer(rng, n, 2, k, [0, k + 1])
        for m in (1, 2, row[2], row[2] + 1):
            a = guarded(values(rng, 3 * (m - 1) + layer.floats_read()))
            c = guarded(count=m * n, dtype=F32)
            before = a.copy()
            layer.build(row).run(a, np.arange(m) * 12, c, np.arange(m) * n * 4)
            np.testing.assert_array_equal(bits(c), bits(layer.norm(a, np.arange(m) * 3)).ravel())
            np.testing.assert_array_equal(a, before)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_shape(data):
    row = data.draw(st.sampled_from([r for r in ROWS.values() if r[-1]]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    m = data.draw(st.integers(1, 2 * row[2] + 1), "m")
    n = data.draw(st.integers(1, 5 * row[3] + 1), "n")
    offsets = data.draw(st.lists(st.integers(0, 90), min_size=1, max_size=4), "offsets")
    stride = data.draw(st.integers(0, 40), "stride")
    special = data.draw(st.sampled_from([0.0, 0.1]), "special")
    length = data.draw(st.integers(1, 9), "length")
    layer = Layer(rng, n, len(offsets), length, offsets, special=special)
    a = values(rng, stride * m + layer.floats_read(), special=special)
    check(row, layer, a, np.arange(m) * stride, gap=data.draw(st.integers(0, 9), "gap"))


def test_refusals(rng):
    layer = Layer(rng, 4, 2, 3)
    name = next(iter(reversed(ROWS)))
    with pytest.raises(IsaError, match="no usable kernel 'nothing'"):
        layer.build(("nothing",))
    with pytest.raises(ShapeError, match="not empty"):
        _core.GemmF32(name, layer.weights, layer.bias[1:], [0, 12], -INF, INF)
    built = layer.build(ROWS[name])
    c = np.zeros(4, F32)
    with pytest.raises(InvalidArgumentError, match="outside a buffer"):
        built.run(np.zeros(5, F32), [0], c, [0])
    with pytest.raises(ShapeError, match="output rows"):
        built.run(np.zeros(6, F32), [0], c, [0, 0])

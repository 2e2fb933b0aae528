# SPDX-License-Identifier: Apache-2.0
"""Every dwconv_f32 kernel against the norm in NumPy, bit by bit, guard pages around both sides."""

import numpy as np
import pytest
from f32_values import F32, INF, bits, values

from octavo import _core, fma

ROWS = _core.dwconv_f32_rows()
CANARY = F32(-7.25)
SLACK = 60  # bytes past the last channel that a kernel may read
GEOMETRIES = [(3, 3, 1, 1), (3, 3, 2, 1), (1, 1, 1, 1), (5, 5, 2, 1), (3, 3, 1, 2), (2, 3, 3, 3),
              (1, 7, 2, 2), (7, 1, 1, 1)]  # fmt: skip


@pytest.fixture(params=ROWS, ids=lambda row: row[0])
def row(request):
    name, isa, *_, supported = request.param
    if not supported:
        pytest.skip(f"NOT RUN: {name}: this machine lacks {isa}")
    return request.param


class Case:
    """One output row; (kh, kw, stride, dilation) is the geometry."""

    def __init__(self, rng, channels, out_w, geometry, *, special=0.0, lo=-INF, hi=INF):
        kh, kw, self.stride, self.dilation = geometry
        self.rng, self.out_w, self.lo, self.hi = rng, out_w, F32(lo), F32(hi)
        self.columns = (out_w - 1) * self.stride + (kw - 1) * self.dilation + 1
        self.x = values(rng, kh, self.columns, channels, special=special)
        self.weights = values(rng, channels, kh, kw, special=special)
        self.bias = values(rng, channels, special=special)

    def norm(self):
        """[out_w, channels]; taps in the order of rows, then columns."""
        channels, kh, kw = self.weights.shape
        columns = np.add.outer(np.arange(self.out_w) * self.stride, np.arange(kw) * self.dilation)
        window = self.x[:, columns]  # [kh, out_w, kw, channels]
        window = window.transpose(1, 3, 0, 2).reshape(self.out_w, channels, kh * kw)
        weights = self.weights.reshape(channels, kh * kw)
        return fma.dot(window, weights, self.bias, self.lo, self.hi)

    def memory(self, gap, at_start):
        """The input rows in any order, exactly the contract's slack behind the last."""
        kh, _, channels = self.x.shape
        row_floats = (self.columns - 1) * (channels + gap) + channels
        memory = _core.GuardBuffer(row_floats * kh * 4 + SLACK, at_start=at_start)
        flat = np.frombuffer(memory, np.uint8)
        offsets = self.rng.permutation(kh) * row_floats * 4
        for i, offset in enumerate(offsets):
            for j in range(self.columns):
                at = offset + j * (channels + gap) * 4
                flat[at : at + 4 * channels] = self.x[i, j].view(np.uint8)
        return memory, offsets

    def check(self, row, gap=0, out_gap=3, at_start=False):
        channels = self.x.shape[2]
        layer = _core.DwconvF32(
            row[0], self.weights, self.bias, self.stride, self.dilation, self.lo, self.hi
        )
        memory, offsets = self.memory(gap, at_start)
        before = bytes(memory)
        step = channels + out_gap
        size = (self.out_w - 1) * step + channels
        out = _core.GuardBuffer(4 * size, at_start=at_start)
        view = np.frombuffer(out, np.uint8)
        view[:] = np.full(size, CANARY).view(np.uint8)
        layer.run(memory, offsets, (channels + gap) * 4, out, step * 4, self.out_w)
        want = np.full((self.out_w, step), CANARY)
        want[:, :channels] = self.norm()
        found = np.frombuffer(view.tobytes(), F32)
        np.testing.assert_array_equal(bits(found), bits(want).ravel()[:size])
        assert bytes(memory) == before


@pytest.mark.parametrize("at_start", [False, True], ids=["guard_after", "guard_before"])
def test_channels(row, rng, at_start):
    for channels in range(1, 2 * row[2] + 2):
        for geometry in GEOMETRIES[:2]:
            Case(rng, channels, 1 + channels % 9, geometry).check(row, at_start=at_start)


@pytest.mark.parametrize("channels", [1, 8, 24, 33])
def test_widths(row, rng, channels):
    for out_w in range(1, 19):
        for geometry in GEOMETRIES[:2]:
            case = Case(rng, channels, out_w, geometry, lo=-2, hi=3)
            case.check(row, gap=channels % 3, out_gap=out_w % 4)


def test_geometries(row, rng):
    for geometry in GEOMETRIES:
        for channels, out_w in [(1, 1), (5, 9), (16, 4), (17, 3), (35, 2)]:
            Case(rng, channels, out_w, geometry).check(row, gap=1)


@pytest.mark.parametrize("special", [0.02, 0.3, 1.0])
def test_special_values(row, rng, special):
    for geometry in GEOMETRIES[:3]:
        for lo, hi in [(-INF, INF), (0, 6)]:
            Case(rng, 37, 11, geometry, special=special, lo=lo, hi=hi).check(row)


def test_input_past_the_channels_does_not_matter(row, rng):
    """What lies behind the last channel of a pixel is NaN here."""
    case = Case(rng, 5, 6, (3, 3, 1, 1))
    memory, offsets = case.memory(3, False)
    flat = np.frombuffer(memory, np.uint8)
    for offset in offsets:
        for j in range(case.columns - 1):
            at = offset + (j * 8 + 5) * 4
            flat[at : at + 12] = np.full(3, np.nan, F32).view(np.uint8)
    layer = _core.DwconvF32(row[0], case.weights, case.bias, 1, 1, -INF, INF)
    out = np.empty((6, 5), F32)
    layer.run(memory, offsets, 32, out, 20, 6)
    np.testing.assert_array_equal(bits(out), bits(case.norm()))

# SPDX-License-Identifier: Apache-2.0
"""Which convolutions may run as Winograd, and which do. That all kernels of a step give the same
bits is tested in test_steps, the kernels in tests/kernels."""

import numpy as np
import pytest
import reference
from networks import ISAS, emit, load, run, window
from plan_bytes import Builder

from octavo import _core

PADDED = window(3, 1, (1, 1, 1, 1))


def conv(rng, size, channels, out, w=PADDED, groups=1, weights=None, zero_point=0):
    """The plan of one convolution, and what it must give."""
    b = Builder()
    x = b.tensor("x", "u8", [1, size, size, channels], halo=(1, 1, 1, 1), zero_point=zero_point)
    values = rng.integers(0, 256, (1, size, size, channels), np.uint8)
    load(b, x, values)
    if weights is None:
        weights = rng.integers(-20, 21, (out, w[0], w[1], channels // groups)).astype(np.int8)
    zw = np.zeros(out, np.int32)
    bias = np.zeros(out, np.int32)
    acc = reference.conv_acc(values, zero_point, weights, zw, bias, w, groups)
    multiplier = np.full(out, 100 / max(1, np.abs(acc).max()), np.float32)
    y = b.tensor("y", "u8", acc.shape, zero_point=100)
    b.step("conv_s8", [x], [y], [*w, groups, 0, 255, 0], consts=[weights, bias, multiplier])
    emit(b, y)
    return b.build(), reference.requantize(acc, multiplier, 100)


def kernels_of(data, isa):
    """Of the convolution, the cost model's choice first."""
    plan = _core.Plan.from_bytes(data)
    found = [kernels for _, _, kernels in _core.tunable_steps(plan, isa, 1)]
    assert len(found) <= 1
    chosen = _core.Session(plan, isa, 1).kernels()[1]["kernel"]
    assert not found or chosen == found[0][0]
    return found[0] if found else [chosen]


def may_be_winograd(data, isa):
    return any(kernel.startswith("winograd_s8") for kernel in kernels_of(data, isa))


@pytest.mark.parametrize("isa", ISAS)
def test_only_plain_3x3(rng, isa):
    assert may_be_winograd(conv(rng, 6, 4, 5)[0], isa)
    assert may_be_winograd(conv(rng, 6, 4, 5, window(3))[0], isa)
    others = [window(1), window(5), window(3, 2), window(3, 1, (0, 0, 0, 0), 2),
              [3, 1, 1, 1, 1, 1, 0, 0, 0, 0], [3, 3, 1, 2, 1, 1, 0, 0, 0, 0]]  # fmt: skip
    for w in others:
        assert not may_be_winograd(conv(rng, 6, 4, 5, w)[0], isa)
    assert not may_be_winograd(conv(rng, 6, 4, 4, PADDED, groups=2)[0], isa)


@pytest.mark.parametrize("isa", ISAS)
def test_only_where_it_is_exact(rng, isa):
    """116 channels of 126: sums of at most 33,543,720, just below 2^25; 127 exceed it."""
    for value, expected in ((126, True), (127, False), (-126, True), (-127, False)):
        weights = np.full((2, 3, 3, 116), value, np.int8)
        data, want = conv(rng, 5, 116, 2, weights=weights)
        assert may_be_winograd(data, isa) == expected
        np.testing.assert_array_equal(run(data, [], isa=isa)[0], want)
    # Weights of both signs, and a zero point in the middle, halve the sums.
    weights = np.full((2, 3, 3, 116), 127, np.int8)
    assert may_be_winograd(conv(rng, 5, 116, 2, weights=weights, zero_point=128)[0], isa)
    weights[..., ::2] = -127
    assert may_be_winograd(conv(rng, 5, 116, 2, weights=weights)[0], isa)


@pytest.mark.parametrize("isa", ISAS)
def test_cost_model(rng, isa):
    """Never on scalar, nor beside sdot, whose 16 products of bytes stand against 4 of int16.
    Elsewhere where the layer is large, its weights are not, and not for an RGB image, whose
    vectors are half empty."""
    pays = isa not in ("scalar", "neondot", "neoni8mm")
    for size, channels, out in ((56, 64, 64), (28, 128, 128), (16, 32, 32)):
        data, _ = conv(rng, size, channels, out)
        assert kernels_of(data, isa)[0].startswith("winograd_s8") == pays
    for size, channels, out in ((7, 512, 512), (32, 3, 16), (1, 64, 64)):
        data, _ = conv(rng, size, channels, out)
        assert kernels_of(data, isa)[0].startswith("gemm_s8")

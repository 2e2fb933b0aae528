# SPDX-License-Identifier: Apache-2.0
"""Convolution and linear steps on awkward layouts against NumPy: halos too small, views with gaps,
batches, groups. Every op's meaning on ordinary layouts is tested through its examples in tests/ops.
"""

import numpy as np
import pytest
import reference
from networks import ISAS, choices_of, emit, isas, load, run, strides_of, window
from plan_bytes import Builder

from octavo import _core

CONVS = {
    "1x1": (1, 7, 6, 5, 8, 1, window(1), {}),
    "1x1 stride 2": (1, 7, 6, 16, 33, 1, window(1, 2), {}),
    "3x3 pad": (1, 8, 9, 4, 20, 1, window(3, 1, (1, 1, 1, 1)), {}),
    "3x3 halo": (1, 8, 9, 4, 20, 1, window(3, 1, (1, 1, 1, 1)), {"halo": (1, 1, 1, 1)}),
    "3x3 larger halo": (2, 8, 9, 4, 20, 1, window(3, 1, (1, 1, 1, 1)), {"halo": (3, 2, 2, 3)}),
    "3x3 halo too small": (1, 8, 9, 4, 5, 1, window(3, 1, (1, 1, 1, 1)), {"halo": (1, 1, 1, 0)}),
    "3x3 stride 2, right padding unused": (
        1,
        9,
        9,
        3,
        16,
        1,
        window(3, 2, (0, 0, 1, 1)),
        {"halo": (0, 0, 0, 0)},
    ),
    "3x3, two images of many tiles": (2, 13, 18, 20, 35, 1, window(3, 1, (1, 1, 1, 1)), {}),
    "3x3 uneven padding": (1, 5, 6, 4, 9, 1, window(3, 1, (2, 0, 0, 2)), {"halo": (2, 0, 0, 2)}),
    "dilated": (1, 11, 10, 6, 7, 1, window(3, 1, (2, 2, 2, 2), 2), {}),
    "dilated halo": (1, 11, 10, 6, 7, 1, window(3, 1, (2, 2, 2, 2), 2), {"halo": (2, 2, 2, 2)}),
    "batch 3": (3, 6, 5, 4, 9, 1, window(3, 2, (1, 1, 1, 1)), {}),
    "groups": (2, 6, 7, 12, 8, 4, window(3, 1, (1, 1, 1, 1)), {}),
    "groups of one, multiplier 2": (1, 6, 7, 5, 10, 5, window(3, 1, (1, 1, 1, 1)), {}),
    "depthwise": (2, 9, 8, 19, 19, 19, window(3, 1, (1, 1, 1, 1)), {}),
    "depthwise halo": (1, 9, 8, 32, 32, 32, window(3, 1, (1, 1, 1, 1)), {"halo": (1, 1, 1, 1)}),
    "depthwise stride 2": (1, 9, 8, 40, 40, 40, window(3, 2, (0, 1, 1, 0)), {}),
    "depthwise 5x5 dilated": (1, 13, 12, 8, 8, 8, window(5, 1, (4, 4, 4, 4), 2), {}),
    "view with gaps": (1, 6, 7, 8, 11, 1, window(3, 1, (1, 1, 1, 1)), {"gap": 5}),
    "view with gaps, no padding": (1, 6, 7, 8, 11, 1, window(3), {"gap": 5}),
    "view with gaps, depthwise": (1, 6, 7, 16, 16, 16, window(3), {"gap": 8}),
    "u8 weights with zero points": (1, 6, 7, 9, 6, 1, window(3), {"weights": "u8"}),
    "depthwise u8 weights": (1, 6, 7, 16, 16, 16, window(3), {"weights": "u8"}),
    "many pixels": (1, 33, 31, 8, 16, 1, window(1), {}),
    "kernel as large as the image": (1, 4, 5, 6, 7, 1, [4, 5, 1, 1, 1, 1, 0, 0, 0, 0], {}),
    "kernel of 70 rows, depthwise": (1, 70, 3, 4, 4, 4, [70, 1, 1, 1, 1, 1, 0, 0, 0, 0], {}),
}


def conv_case(rng, case):
    n, height, width, channels, out, groups, w, options = CONVS[case]
    b = Builder()
    gap = options.get("gap", 0)
    zx = int(rng.integers(0, 256))
    base = b.tensor(
        "base",
        "u8",
        [n, height, width, channels + gap],
        halo=options.get("halo", (0, 0, 0, 0)),
        zero_point=zx,
    )
    x = base
    if gap:
        x = b.view(base, "x", [n, height, width, channels], strides_of(b, base), 3)
    values = rng.integers(0, 256, (n, height, width, channels), np.uint8)
    load(b, x, values)
    dtype = np.uint8 if options.get("weights") else np.int8
    info = np.iinfo(dtype)
    shape = (out, w[0], w[1], channels // groups)
    weights = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    bias = rng.integers(-5000, 5000, out, np.int32)
    multiplier = rng.uniform(1e-4, 2e-3, out).astype(np.float32)
    zw = rng.integers(0, 256, out, np.int32) if dtype == np.uint8 else np.zeros(out, np.int32)
    consts = [weights, bias, multiplier] + ([zw] if dtype == np.uint8 else [])
    acc = reference.conv_acc(values, zx, weights, zw, bias, w, groups)
    zy = int(rng.integers(0, 256))
    # The output is a slice of a wider buffer, with a halo.
    wide = b.tensor("wide", "u8", [*acc.shape[:3], out + 7], halo=(1, 0, 0, 2), zero_point=zy)
    y = b.view(wide, "y", acc.shape, strides_of(b, wide), 2)
    b.step("conv_s8", [x], [y], [*w, groups, 2, 253, 0], consts=consts)
    emit(b, y)
    return b.build(), reference.requantize(acc, multiplier, zy, 2, 253)


@isas
@pytest.mark.parametrize("case", CONVS)
@pytest.mark.parametrize("threads", [1, 3])
def test_conv(rng, case, isa, threads):
    data, want = conv_case(rng, case)
    for kernels in [(), *choices_of(_core.Plan.from_bytes(data), isa)]:
        for poison in (0x00, 0xFF):
            (got,) = run(data, [], isa=isa, threads=threads, poison=poison, kernels=kernels)
            np.testing.assert_array_equal(got, want, err_msg=str(kernels))


@isas
def test_large_conv_on_threads(rng, isa):
    """Enough work to be shared: by rows, and (7x7 pixels) by channels."""
    for height, channels, out in ((40, 32, 64), (7, 256, 320)):
        CONVS["big"] = (1, height, height, channels, out, 1, window(3, 1, (1, 1, 1, 1)), {})
        data, want = conv_case(rng, "big")
        del CONVS["big"]
        for kernels in [(), *choices_of(_core.Plan.from_bytes(data), isa)]:
            for threads in (1, 2, 3, 5):
                (got,) = run(data, [], isa=isa, threads=threads, kernels=kernels)
                np.testing.assert_array_equal(got, want, err_msg=str(kernels))


def test_extreme_weights_do_not_saturate(rng):
    """(255, 255) times (127, 127): 64,770 does not fit the int16 of vpmaddubsw."""
    b = Builder()
    x = b.tensor("x", "u8", [1, 64], zero_point=0)
    load(b, x, np.full((1, 64), 255, np.uint8))
    weights = np.full((5, 64), 127, np.int8)
    weights[1] = -128
    weights[2, ::2] = -128
    zeros = np.zeros(5, np.int32)
    multiplier = np.full(5, 1e-4, np.float32)
    y = b.tensor("y", "u8", [1, 5], zero_point=128)
    b.step("linear_s8", [x], [y], [0, 255, 0], consts=[weights, zeros, multiplier])
    emit(b, y)
    acc = 255 * weights.astype(np.int64).sum(axis=1)
    want = reference.requantize(acc, multiplier, 128)
    for isa in ISAS:
        (got,) = run(b.build(), [], isa=isa)
        np.testing.assert_array_equal(got[0], want)


@isas
@pytest.mark.parametrize(
    "dims", [(1, 33), (5, 16), (2, 3, 4, 7), (300, 8), (1,)], ids=lambda d: "x".join(map(str, d))
)
def test_linear(rng, dims, isa):
    b = Builder()
    pad = [*dims[:-1], dims[-1] + 3]
    base = b.tensor("base", "u8", pad, zero_point=77)
    x = b.view(base, "x", dims, strides_of(b, base), 2)
    values = rng.integers(0, 256, dims, np.uint8)
    load(b, x, values)
    weights = rng.integers(-128, 128, (21, dims[-1]), np.int8)
    bias = rng.integers(-999, 999, 21, np.int32)
    multiplier = rng.uniform(1e-3, 4e-3, 21).astype(np.float32)
    y = b.tensor("y", "u8", [*dims[:-1], 21], zero_point=100)
    b.step("linear_s8", [x], [y], [10, 240, 0], consts=[weights, bias, multiplier])
    emit(b, y)
    acc = (values.astype(np.int64) - 77) @ weights.astype(np.int64).T + bias
    (got,) = run(b.build(), [], isa=isa, threads=2)
    np.testing.assert_array_equal(got, reference.requantize(acc, multiplier, 100, 10, 240))


def test_concat_halo_is_filled_though_only_slices_are_written(rng):
    """Two producers write channel slices of a buffer with a halo; the reader needs the halo."""
    b = Builder()
    both = b.tensor("both", "u8", [1, 5, 5, 12], halo=(1, 1, 1, 1), zero_point=200)
    s = strides_of(b, both)
    values = rng.integers(0, 256, (1, 5, 5, 12), np.uint8)
    for first, count in ((0, 4), (4, 8)):
        part = b.view(both, f"part{first}", [1, 5, 5, count], s, first)
        load(b, part, np.ascontiguousarray(values[..., first : first + count]))
    weights = rng.integers(-128, 128, (6, 3, 3, 12), np.int8)
    bias, multiplier = np.zeros(6, np.int32), np.full(6, 1e-3, np.float32)
    y = b.tensor("y", "u8", [1, 5, 5, 6], zero_point=128)
    w = window(3, 1, (1, 1, 1, 1))
    b.step("conv_s8", [both], [y], [*w, 1, 0, 255, 0], consts=[weights, bias, multiplier])
    emit(b, y)
    acc = reference.conv_acc(values, 200, weights, np.zeros(6), bias, w, 1)
    for poison in (0x00, 0xCD):
        (got,) = run(b.build(), [], poison=poison)
        np.testing.assert_array_equal(got, reference.requantize(acc, multiplier, 128))

# SPDX-License-Identifier: Apache-2.0
"""Steps on awkward layouts against NumPy: halos too small, views with gaps, batches, groups,
broadcasting, permutations. (Every op's meaning on ordinary layouts is tested through its examples in tests/ops.)
"""

import itertools

import numpy as np
import pytest
import reference
from networks import run, usable_isas, window
from plan_bytes import Builder

ISAS = usable_isas()
isas = pytest.mark.parametrize("isa", ISAS)


def strides_of(builder, index):
    record = builder.tensors[index]
    return record["strides"][: record["rank"]]


def load(builder, tensor, values):
    builder.step("load_constant", [], [tensor], consts=[values])


def emit(builder, tensor, name="out"):
    """Copies an arena tensor to a model output."""
    t = builder.tensors[tensor]
    dtype = {1: "f32", 2: "u8", 3: "s8"}[t["dtype"]]
    target = builder.output(name, dtype, t["dims"][: t["rank"]], 1.0, 0)
    builder.step("copy", [tensor], [target])


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
    for poison in (0x00, 0xFF):
        (got,) = run(data, [], isa=isa, threads=threads, poison=poison)
        np.testing.assert_array_equal(got, want)


@isas
def test_large_conv_on_threads(rng, isa):
    """Enough work to be shared: by rows, and (7x7 pixels) by channels."""
    for height, channels, out in ((40, 32, 64), (7, 256, 320)):
        CONVS["big"] = (1, height, height, channels, out, 1, window(3, 1, (1, 1, 1, 1)), {})
        data, want = conv_case(rng, "big")
        del CONVS["big"]
        for threads in (1, 2, 3, 5):
            (got,) = run(data, [], isa=isa, threads=threads)
            np.testing.assert_array_equal(got, want)


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


SHAPES = [
    ((1, 5, 6, 16), (1, 5, 6, 16)),
    ((1, 5, 6, 16), (16,)),
    ((1, 5, 6, 16), (1, 1, 1, 16)),
    ((1, 5, 6, 16), (1, 5, 6, 1)),
    ((2, 5, 6, 3), (2, 1, 1, 3)),
    ((1, 40, 60, 5), (1, 1, 1, 5)),
    ((3, 1, 6, 4), (1, 5, 1, 4)),
    ((1,), (7, 9)),
    ((), (4,)),
    ((4, 1), (1, 5)),
    ((2, 3, 1), (2, 3, 300)),
    ((1, 2, 3, 700), (1, 2, 3, 700)),
]


@isas
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("layout", ["dense", "gaps", "swapped"])
@pytest.mark.parametrize("op", ["add_s8", "mul_s8"])
def test_eltwise(rng, shapes, layout, op, isa):
    b = Builder()
    if layout == "swapped":
        shapes = shapes[::-1]

    def tensor(name, dims, zero_point):
        gap = 3 if layout == "gaps" and dims else 0
        stored = [*dims[:-1], dims[-1] + gap] if dims else []
        base = b.tensor(name, "u8", stored, zero_point=zero_point)
        return b.view(base, name, dims, strides_of(b, base), gap) if gap else base

    x, y = (tensor(n, s, z) for n, s, z in zip("ab", shapes, (3, 250), strict=True))
    values = [rng.integers(0, 256, s, np.uint8) for s in shapes]
    load(b, x, values[0])
    load(b, y, values[1])
    dims = np.broadcast_shapes(*shapes)
    z = tensor("y", dims, 90)
    if op == "add_s8":
        b.step(op, [x, y], [z], [5, 250, 0], [0.37, 0.81])
        want = reference.add(values[0], 3, 0.37, values[1], 250, 0.81, 90, 5, 250)
    else:
        b.step(op, [x, y], [z], [5, 250, 0], [0.0021])
        want = reference.mul(values[0], 3, values[1], 250, 0.0021, 90, 5, 250)
    emit(b, z)
    for threads in (1, 3):
        (got,) = run(b.build(), [], isa=isa, threads=threads, poison=0xAA)
        np.testing.assert_array_equal(got, want)


@isas
def test_lut_of_single_channel_views(rng, isa):
    """A last dimension of 1 is dense by definition, though its neighbours are not adjacent."""
    b = Builder()
    base = b.tensor("base", "u8", [1, 4, 5, 3])
    values = rng.integers(0, 256, (1, 4, 5, 3), np.uint8)
    load(b, base, values)
    middle = b.view(base, "middle", [1, 4, 5, 1], strides_of(b, base), 1)
    table = rng.permutation(256).astype(np.uint8)
    b.step("lut_s8", [middle], [middle], consts=[table])
    dense = b.tensor("dense", "u8", [1, 4, 5, 1])
    b.step("lut_s8", [middle], [dense], consts=[table])
    product = b.tensor("product", "u8", [1, 4, 5, 1])
    b.step("mul_s8", [middle, dense], [product], [0, 255, 0], [0.01])
    emit(b, base, "base")
    emit(b, dense, "dense")
    emit(b, product, "product")
    base_out, dense_out, product_out = run(b.build(), [], isa=isa)
    want = values.copy()
    want[..., 1] = table[values[..., 1]]
    np.testing.assert_array_equal(base_out, want)
    np.testing.assert_array_equal(dense_out[..., 0], table[want[..., 1]])
    product_want = reference.mul(want[..., 1], 0, dense_out[..., 0], 0, 0.01, 0, 0, 255)
    np.testing.assert_array_equal(product_out[..., 0], product_want)


PERMUTATIONS = [p for p in itertools.permutations(range(4)) if p != (0, 1, 2, 3)]


@pytest.mark.parametrize("dtype", ["u8", "s16", "f32", "s64"])
@pytest.mark.parametrize("perm", PERMUTATIONS, ids=str)
@pytest.mark.parametrize("dims", [(2, 9, 17, 5), (1, 3, 20, 33)], ids=str)
def test_copy_permutes(rng, perm, dims, dtype):
    from plan_bytes import NUMPY

    b = Builder()
    x = b.input("x", dtype, dims)
    out = [dims[axis] for axis in perm]
    y = b.output("y", dtype, out)
    middle = b.tensor("middle", dtype, dims)
    b.step("copy", [x], [middle])
    view = b.view(middle, "view", out, [strides_of(b, middle)[axis] for axis in perm])
    b.step("copy", [view], [y])
    if np.issubdtype(NUMPY[dtype], np.integer):
        info = np.iinfo(NUMPY[dtype])
        values = rng.integers(info.min, info.max, dims, NUMPY[dtype], endpoint=True)
    else:
        values = rng.normal(size=dims).astype(NUMPY[dtype])
    for threads in (1, 2):
        (got,) = run(b.build(), [values], threads=threads)
        np.testing.assert_array_equal(got, values.transpose(perm))


def test_copy_of_slices_backwards_and_broadcast(rng):
    b = Builder()
    x = b.input("x", "s32", (6, 10))
    middle = b.tensor("middle", "s32", (6, 10))
    b.step("copy", [x], [middle])
    back = b.view(middle, "back", [3, 4], [-80, -8], 5 * 40 + 9 * 4)
    wide = b.view(middle, "wide", [4, 10], [0, 4], 40)
    first, second = b.output("first", "s32", (3, 4)), b.output("second", "s32", (4, 10))
    b.step("copy", [back], [first])
    b.step("copy", [wide], [second])
    values = rng.integers(-(2**31), 2**31, (6, 10), np.int32)
    got = run(b.build(), [values])
    np.testing.assert_array_equal(got[0], values[5::-2, 9:2:-2])
    np.testing.assert_array_equal(got[1], np.broadcast_to(values[1], (4, 10)))


@isas
@pytest.mark.parametrize("dtype", ["u8", "s8"])
@pytest.mark.parametrize("halo", [(0, 0, 0, 0), (1, 2, 1, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4, 20])
def test_layout_change_at_the_edges(rng, isa, dtype, halo, channels):
    """NCHW float input to NHWC bytes and back, in every way the planner may write it."""
    if dtype == "s8" and any(halo):
        halo = (0, 0, 0, 0)
    low = -128 if dtype == "s8" else 0
    zero_point = low + 100
    dims = (2, channels, 37, 23)
    b = Builder()
    x = b.input("x", "f32", dims)
    nhwc = (2, 37, 23, channels)
    q = b.tensor("q", dtype, nhwc, halo=halo, scale=0.03, zero_point=zero_point)
    s = strides_of(b, q)
    nchw = b.view(q, "q:nchw", dims, [s[0], s[3], s[1], s[2]])
    b.step("quantize", [x], [nchw])
    by_axes = b.tensor("r", dtype, nhwc, scale=0.03, zero_point=zero_point)
    b.step("quantize", [x], [by_axes], [0, 2, 3, 1])
    outs = [
        b.output("planes", "f32", dims),
        b.output("pixels", "f32", nhwc),
        b.output("flipped", "u8" if dtype == "s8" else "s8", dims),
        b.output("axes", dtype, nhwc, 0.03, zero_point),
    ]
    b.step("dequantize", [nchw], [outs[0]])
    b.step("dequantize", [q], [outs[1]])
    b.step("flip", [nchw], [outs[2]])
    b.step("copy", [by_axes], [outs[3]])
    values = rng.normal(0, 3, dims).astype(np.float32)
    values[0, 0, 0, :4] = [np.nan, np.inf, -np.inf, 0]
    divided = np.rint(values / np.float32(0.03))
    codes = np.clip(np.nan_to_num(divided, nan=0.0) + zero_point, low, low + 255)
    codes = codes.astype(np.int8 if dtype == "s8" else np.uint8)
    real = (codes.astype(np.int64) - zero_point).astype(np.float32) * np.float32(0.03)
    for threads in (1, 3):
        got = run(b.build(), [values], isa=isa, threads=threads, poison=0xCD)
        np.testing.assert_array_equal(got[0], real)
        np.testing.assert_array_equal(got[1], real.transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(got[2].view(np.uint8), codes.view(np.uint8) ^ 0x80)
        np.testing.assert_array_equal(got[3], codes.transpose(0, 2, 3, 1))


@isas
@pytest.mark.parametrize("include", [0, 1])
def test_pools_on_views(rng, isa, include):
    b = Builder()
    base = b.tensor("base", "u8", [2, 9, 8, 40], scale=0.1, zero_point=17)
    values = rng.integers(0, 256, (2, 9, 8, 40), np.uint8)
    load(b, base, values)
    x = b.view(base, "x", [2, 9, 8, 33], strides_of(b, base), 4)
    part = values[..., 4:37]
    w = window(3, 2, (1, 1, 1, 1), 1)
    largest = b.tensor("max", "u8", [2, 5, 4, 33], scale=0.1, zero_point=17)
    b.step("maxpool_s8", [x], [largest], [*w, 20, 200])
    mean = b.tensor("mean", "u8", [2, 5, 4, 33], scale=0.07, zero_point=40)
    b.step("avgpool_s8", [x], [mean], [*w, 0, 255, 0, include])
    emit(b, largest, "max")
    emit(b, mean, "mean")
    got_max, got_mean = run(b.build(), [], isa=isa, threads=2)
    views = [v for _, _, v in reference.taps(part.astype(np.int64), w, -1)]
    np.testing.assert_array_equal(got_max, np.clip(np.max(views, axis=0), 20, 200))
    total = sum(v for _, _, v in reference.taps(part.astype(np.int64) - 17, w, 0))
    ones = np.ones(part.shape, np.int64)
    count = 9 if include else sum(v for _, _, v in reference.taps(ones, w, 0))
    m = np.float32(0.1) / (np.float32(0.07) * np.asarray(count, np.float32))
    np.testing.assert_array_equal(got_mean, reference.requantize(total, m, 40))


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

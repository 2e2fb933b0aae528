# SPDX-License-Identifier: Apache-2.0
"""Element-wise steps, copies, conversions and pools on awkward layouts against NumPy: broadcasting,
views with gaps, permutations, halos."""

import itertools

import numpy as np
import pytest
import reference
from networks import emit, isas, load, run, strides_of, window
from plan_bytes import NUMPY, Builder

from octavo.errors import ShapeError

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


EMPTY = {
    "before": [2, 2, 1, 1, 1, 1, 2, 0, 0, 0],
    "after": [2, 2, 1, 1, 1, 1, 0, 0, 0, 2],
    "stepped over by dilation": [2, 2, 1, 1, 9, 1, 5, 0, 5, 0],
}


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("kind", ["maxpool_s8", "avgpool_s8", "maxpool_f32", "avgpool_f32"])
def test_a_pool_over_padding_only_is_refused(case, kind):
    w = EMPTY[case]
    height = 3 + w[6] + w[8] - w[4] * (w[0] - 1)
    width = 3 + w[7] + w[9] - w[5] * (w[1] - 1)
    b = Builder()
    dtype = kind[-3:] if kind.endswith("f32") else "u8"
    x, y = b.tensor("x", dtype, [1, 3, 3, 4]), b.tensor("y", dtype, [1, height, width, 4])
    tail = {"maxpool_s8": [0, 255], "avgpool_s8": [0, 255, 0, 0], "maxpool_f32": []}
    floats = [-np.inf, np.inf] if dtype == "f32" else []
    b.step(kind, [x], [y], [*w, *tail.get(kind, [0])], floats)
    with pytest.raises(ShapeError, match="sees padding only"):
        run(b.build(), [])

# SPDX-License-Identifier: Apache-2.0
"""What `prepare` refuses: every argument of every kind, bent. Each refusal names the step."""

import numpy as np
import pytest
from networks import conv_consts, small_net, small_net_inputs, window
from plan_bytes import Builder

from octavo import _core
from octavo.errors import FormatError, OctavoError, ShapeError, UnsupportedError

INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def prepare(builder):
    return _core.Session(_core.Plan.from_bytes(builder.build()), "scalar")


def conv(rng, *, ints=None, consts=None, x=None, y=None, kind="conv_s8"):
    """A 3x3 convolution of [1, 6, 7, 4] into [1, 6, 7, 8]; arguments replace parts of it."""
    b = Builder()
    source = b.tensor("x", "u8", x or [1, 6, 7, 4], zero_point=100)
    target = b.tensor("y", "u8", y or [1, 6, 7, 8], zero_point=20)
    ints = [*window(3, 1, (1, 1, 1, 1)), 1, 0, 255, 0] if ints is None else ints
    consts = conv_consts(rng, 8, 3, 4) if consts is None else consts
    b.step(kind, [source], [target], ints, consts=consts, name="the step")
    return b


def test_the_unbent_one_is_accepted(rng):
    prepare(conv(rng))


@pytest.mark.parametrize("value", [INT_MIN, -1, 0, 2, 5, 300, INT_MAX])
@pytest.mark.parametrize("index", range(14))
def test_every_int_of_a_convolution(rng, index, value):
    """Divisors of 0, strides below it, sizes that overflow: refused, or another valid step."""
    ints = [*window(3, 1, (1, 1, 1, 1)), 1, 0, 255, 0]
    if ints[index] == value:
        return
    ints[index] = value
    try:
        prepare(conv(rng, ints=ints))
    except OctavoError as error:
        assert "step 'the step' (conv_s8)" in str(error)
    else:
        assert (index, value) in {(11, 2), (11, 5), (12, 2), (12, 5), (12, 0)}


@pytest.mark.parametrize("value", [INT_MIN, -1, 0, 1, 7, INT_MAX])
def test_every_int_of_every_kind(rng, value):
    """Bends each int of each step of a network; whatever is accepted must run."""
    builder = small_net(rng, size=5)
    inputs = small_net_inputs(rng, size=5)
    for index in range(len(builder.ints)):
        bent = small_net(np.random.default_rng(1), size=5)
        bent.ints[index] = value
        try:
            session = prepare(bent)
        except OctavoError:
            continue
        outputs = [np.zeros((1, 10), np.float32), np.zeros((1, 10), np.int8)]
        session.run(inputs, [*outputs, np.zeros((1, 4), np.float32)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0])
def test_every_float_of_every_kind(rng, value):
    builder = small_net(rng, size=5)
    inputs = small_net_inputs(rng, size=5)
    for index in range(len(builder.floats)):
        bent = small_net(np.random.default_rng(1), size=5)
        bent.floats[index] = value
        try:
            session = prepare(bent)
        except OctavoError:
            continue
        outputs = [np.zeros((1, 10), np.float32), np.zeros((1, 10), np.int8)]
        session.run(inputs, [*outputs, np.zeros((1, 4), np.float32)])


def test_wrong_constants(rng):
    weights, bias, multiplier = conv_consts(rng, 8, 3, 4)
    cases = [
        ([weights[:7], bias, multiplier], ShapeError, "weights has"),
        ([weights, bias[:7], multiplier], ShapeError, "bias has"),
        ([weights, bias, multiplier[:7]], ShapeError, "multiplier has"),
        ([weights.astype(np.int16), bias, multiplier], UnsupportedError, "weights are s16"),
        ([weights, bias.astype(np.float32), multiplier], FormatError, "bias is f32"),
        ([weights, bias, bias], FormatError, "multiplier is s32"),
        ([weights, bias], FormatError, "2 constants"),
        ([weights, bias, multiplier, bias, bias], FormatError, "5 constants"),
        ([weights, bias, multiplier, bias + 1000], FormatError, "weight zero point"),
    ]
    for bad in (np.nan, np.inf, -1.0):
        values = multiplier.copy()
        values[3] = bad
        cases.append(([weights, bias, values], FormatError, "multiplier of channel 3"))
    for consts, error, message in cases:
        with pytest.raises(error, match=message):
            prepare(conv(rng, consts=consts))


def test_wrong_8bit_weights_of_float_steps(rng):
    weights, scale = np.ones((3, 5), np.int8), np.ones(3, np.float32)
    bias, zero = np.zeros(3, np.float32), np.zeros(3, np.int32)
    cases = [
        ([weights, bias], FormatError, "need scales"),
        ([weights, bias, scale[:2]], ShapeError, "weight scale has"),
        ([weights, bias, zero], FormatError, "weight scale is s32"),
        ([weights, bias, scale * np.nan], FormatError, "weight scale of channel 0"),
        ([weights, bias, scale, zero + 200], FormatError, "weight zero point 200"),
        ([weights[:2], bias, scale], ShapeError, "weights has"),
        ([weights.astype(np.float32), bias, scale], FormatError, "take no scales"),
        ([weights.astype(np.int16), bias, scale], FormatError, "take no scales"),
        ([weights.astype(np.int16), bias], FormatError, "weights is s16"),
    ]
    for consts, error, message in cases:
        b = Builder()
        x, y = b.tensor("x", "f32", [2, 5]), b.tensor("y", "f32", [2, 3])
        b.step("load_constant", [], [x], consts=[np.ones((2, 5), np.float32)])
        b.step("linear_f32", [x], [y], floats=[-np.inf, np.inf], consts=consts)
        b.step("copy", [y], [b.output("out", "f32", [2, 3])])
        with pytest.raises(error, match=message):
            prepare(b)


def test_wrong_parts_of_16_bit_steps(rng):
    weights, scale, bias = np.ones((3, 5), np.int8), np.ones(3, np.float32), np.zeros(3, np.int32)
    cases = [
        ([0, 255, 0], [weights, bias, scale], "s16", 3, FormatError, "zero point 3"),
        ([-32769, 5, 0], [weights, bias, scale], "s16", 0, FormatError, "qmin"),
        ([0, 32768, 0], [weights, bias, scale], "s16", 0, FormatError, "qmax"),
        ([5, 4, 0], [weights, bias, scale], "s16", 0, FormatError, "qmax"),
        ([0, 256, 0], [weights, bias, scale], "u8", 0, FormatError, "qmax"),
        ([0, 255, 1], [weights, bias, scale], "u8", 0, UnsupportedError, "rounding mode 1"),
        ([0, 255, 0], [weights, bias, scale * np.inf], "u8", 0, FormatError, "weight scale is inf"),
        ([0, 255, 0], [weights, bias, bias], "u8", 0, FormatError, "weight scale is s32"),
        ([0, 255, 0], [weights, bias], "u8", 0, FormatError, "2 constants"),
        ([0, 255, 0], [weights, bias, scale], "f32", 0, FormatError, "f32"),
    ]
    for ints, consts, dtype, zero_point, error, message in cases:
        b = Builder()
        x = b.tensor("x", "s16", [2, 5])
        y = b.tensor("y", dtype, [2, 3], zero_point=zero_point)
        b.step("load_constant", [], [x], consts=[np.ones((2, 5), np.int16)])
        b.step("linear_s16", [x], [y], ints, (), consts)
        b.step("copy", [y], [b.output("out", dtype, [2, 3])])
        with pytest.raises(error, match=message):
            prepare(b)


def test_wrong_constants_of_dynamic_steps(rng):
    weights, scale, bias = np.ones((3, 5), np.int8), np.ones(3, np.float32), np.zeros(3, np.float32)
    large = np.full((3, 70000), 127, np.int8)
    cases = [
        ([weights, bias, scale * np.nan], FormatError, "weight scale nan"),
        ([weights, bias, -scale], FormatError, "weight scale -1"),
        ([weights, bias, scale * 2.0**25], FormatError, "weight scale 3.3"),
        ([weights, bias + np.inf, scale], FormatError, "bias inf"),
        ([weights, bias], FormatError, "2 constants"),
        ([weights, bias, scale, np.full(3, -200, np.int32)], FormatError, "weight zero point -200"),
        ([weights.astype(np.float32), bias, scale], UnsupportedError, "weights are f32"),
        ([large, bias, scale], UnsupportedError, "channel 0 can reach"),
    ]
    for consts, error, message in cases:
        b = Builder()
        shape = [2, consts[0].shape[1]]
        x, y = b.tensor("x", "f32", shape), b.tensor("y", "f32", [2, 3])
        b.step("load_constant", [], [x], consts=[np.ones(shape, np.float32)])
        b.step("linear_dynamic_s8", [x], [y], [0], [-np.inf, np.inf], consts)
        b.step("copy", [y], [b.output("out", "f32", [2, 3])])
        with pytest.raises(error, match=message):
            prepare(b)


def test_wrong_shapes(rng):
    for x, y in (
        ([1, 6, 7, 4], [1, 6, 8, 8]),
        ([1, 6, 7, 4], [1, 5, 7, 8]),
        ([2, 6, 7, 4], [1, 6, 7, 8]),
        ([6, 7, 4], [1, 6, 7, 8]),
        ([1, 6, 7, 3], [1, 6, 7, 8]),
    ):
        with pytest.raises(ShapeError, match="step 'the step'"):
            prepare(conv(rng, x=x, y=y))


@pytest.mark.parametrize("length", [65792, 65793, 65794, 131073])
def test_accumulators_that_could_overflow_are_refused(length):
    """255 * 127 * 65793 + 8 * 255 is just below 2^31 only for short enough sums."""
    b = Builder()
    x, y = b.tensor("x", "u8", [1, length]), b.tensor("y", "u8", [1, 2], zero_point=128)
    b.step("load_constant", [], [x], consts=[np.full((1, length), 255, np.uint8)])
    weights = np.full((2, length), 127, np.int8)
    weights[1] = -127
    bias, multiplier = np.zeros(2, np.int32), np.full(2, 2.0**-25, np.float32)
    b.step("linear_s8", [x], [y], [0, 255, 0], consts=[weights, bias, multiplier])
    target = b.output("out", "u8", [1, 2])
    b.step("copy", [y], [target])
    total = 255 * 127 * length
    if total >= 2**31:
        with pytest.raises(UnsupportedError, match=f"channel 0 can reach {total}"):
            prepare(b)
        return
    for isa in [r["name"] for r in _core.isa_list() if r["built"] and r["supported"]]:
        out = np.zeros((1, 2), np.uint8)
        _core.Session(_core.Plan.from_bytes(b.build()), isa).run([], [out])
        want = np.clip(np.rint(np.float32([total, -total]) * 2.0**-25) + 128, 0, 255)
        np.testing.assert_array_equal(out[0], want)


def test_bias_counts_towards_the_accumulator():
    b = Builder()
    x, y = b.tensor("x", "u8", [1, 4], zero_point=255), b.tensor("y", "u8", [1, 1])
    weights = np.ones((1, 4), np.int8)
    consts = [weights, np.array([INT_MIN], np.int32), np.ones(1, np.float32)]
    b.step("linear_s8", [x], [y], [0, 255, 0], consts=consts)
    with pytest.raises(UnsupportedError, match="channel 0 can reach 2147484668"):
        prepare(b)


def test_unknown_kind():
    b = Builder()
    x = b.tensor("x", "u8", [4])
    b.step("conv_s9", [x], [x], name="new")
    with pytest.raises(UnsupportedError, match=r"step 'new' \(conv_s9\)"):
        prepare(b)


def test_output_over_its_input(rng):
    b = conv(rng)
    b.tensors[1]["offset"] = b.tensors[0]["offset"] + 64
    with pytest.raises(FormatError, match="output 'y' overlaps input 'x'"):
        prepare(b)


def test_side_by_side_slices_do_not_overlap(rng):
    b = Builder()
    both = b.tensor("both", "u8", [1, 6, 7, 12], zero_point=3)
    s = b.tensors[both]["strides"][:4]
    x = b.view(both, "x", [1, 6, 7, 4], s)
    y = b.view(both, "y", [1, 6, 7, 8], s, 4)
    ints = [*window(3, 1, (1, 1, 1, 1)), 1, 0, 255, 0]
    b.step("conv_s8", [x], [y], ints, consts=conv_consts(rng, 8, 3, 4))
    prepare(b)
    b.tensors[y]["offset"] -= 1
    with pytest.raises(FormatError, match="overlaps"):
        prepare(b)


@pytest.mark.parametrize("kind", ["lut_s8", "conv_s8", "unary_f32"])
def test_only_edge_steps_touch_model_inputs(rng, kind):
    b = Builder()
    dtype = "f32" if kind == "unary_f32" else "u8"
    x, y = b.input("x", dtype, [1, 6, 7, 4]), b.tensor("y", dtype, [1, 6, 7, 4])
    if kind == "lut_s8":
        b.step(kind, [x], [y], consts=[np.zeros(256, np.uint8)])
    elif kind == "conv_s8":
        b.step(kind, [x], [y], [*window(1), 1, 0, 255, 0], consts=conv_consts(rng, 4, 1, 4))
    else:
        b.step(kind, [x], [y], [3])
    with pytest.raises(FormatError, match="'x' is a model input or output"):
        prepare(b)


def test_softmax_table(rng):
    for bad in (np.zeros(256, np.uint32), np.full(256, 2**23 + 1, np.uint32)):
        b = Builder()
        x = b.tensor("x", "u8", [1, 9])
        b.step("softmax_s8", [x], [x], [0, 255, 0], consts=[bad])
        with pytest.raises(FormatError, match=r"table\[0\]"):
            prepare(b)


@pytest.mark.parametrize("axes", [[0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 4], [0, -1, 2, 3]])
def test_quantize_axes(axes):
    b = Builder()
    x, y = b.input("x", "f32", [1, 2, 3, 4]), b.tensor("y", "u8", [1, 2, 3, 4])
    b.step("quantize", [x], [y], axes)
    with pytest.raises(FormatError, match="ax"):
        prepare(b)


def adjusting(dims, consts, *, dtype="u8", strides=None):
    """A quantize step with these constants."""
    b = Builder()
    x, y = b.input("x", "f32", dims), b.tensor("y", dtype, dims)
    if strides is not None:
        b.tensors[y]["strides"][: len(strides)] = strides
        b.tensors[y]["offset"] += sum(
            -s * (d - 1) for s, d in zip(strides, dims, strict=True) if s < 0
        )
    b.step("quantize", [x], [y], consts=consts)
    return b


@pytest.mark.parametrize(
    "consts, dtype, strides, message",
    [
        ([np.ones(4, np.float32)], "u8", None, "constants"),
        ([np.ones(4, np.float32), np.ones(3, np.float32)], "u8", None, "shift has 12 bytes"),
        ([np.ones(5, np.float32), np.ones(5, np.float32)], "u8", None, "gain has 20 bytes"),
        ([np.ones(4, np.int32), np.ones(4, np.float32)], "u8", None, "gain"),
        ([np.ones(4, np.float32)] * 2, "s16", None, "for 8 bits"),
        ([np.ones(4, np.float32)] * 2, "u8", [64, 20, 5, 1], "stride 20 of axis 1|of axis 2"),
        ([np.ones(4, np.float32)] * 2, "u8", [64, 24, 8, 2], "dense last"),
        ([np.ones(4, np.float32)] * 2, "u8", [24, 12, -4, 1], "stride -4 of axis 2"),
    ],
)
def test_quantize_factors(consts, dtype, strides, message):
    with pytest.raises((FormatError, ShapeError), match=message):
        prepare(adjusting([1, 2, 3, 4], consts, dtype=dtype, strides=strides))


@pytest.mark.parametrize("dims, count", [([1, 2, 3, 4], 3), ([1, 2, 3, 4], 24), ([5], 2)])
def test_fill_bytes_per_channel(dims, count):
    b = Builder()
    b.step("fill", [], [b.tensor("y", "u8", dims)], list(range(count)))
    with pytest.raises(FormatError, match=f"{count} bytes to repeat"):
        prepare(b)

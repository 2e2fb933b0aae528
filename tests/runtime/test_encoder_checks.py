# SPDX-License-Identifier: Apache-2.0
"""Hostile arguments of the steps that transformers and detectors add: each is refused by name, or
the step runs."""

import numpy as np
import pytest
from encoder_net import encoder_inputs, encoder_net, kernels_of, resize_tables
from networks import ISAS, allocate, emit, isas, load, run, small_net, small_net_inputs
from plan_bytes import Builder

from octavo import _core
from octavo.errors import FormatError, OctavoError, ShapeError, UnsupportedError

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
NETS = {"small": (small_net, small_net_inputs), "encoder": (encoder_net, encoder_inputs)}
nets = pytest.mark.parametrize("net", NETS)


def fresh(net):
    build, make_inputs = NETS[net]
    return build(np.random.default_rng(1)), make_inputs(np.random.default_rng(2))


def survives(builder, inputs, isa):
    """Whether the plan ran; a refusal has to name a step or the record at fault."""
    try:
        plan = _core.Plan.from_bytes(builder.build())
        session = _core.Session(plan, isa)
    except OctavoError as error:
        assert "step '" in str(error) or "plan: " in str(error)
        return False
    session.run(inputs, allocate(plan.outputs))
    return True


@isas
def test_the_network_has_the_kernels_that_it_is_for(isa):
    kernels = kernels_of(fresh("encoder")[0].build(), isa)
    wanted = ["gather", "cast", "layer_norm_s8", "layer_norm_f32", "matmul_s8", "mean_f32"]
    wanted += ["resize_s8", "resize_nearest", "resize_f32", "gemm_f32", "dwconv_f32", "softmax_f32"]
    wanted += [] if isa == "scalar" else ["winograd_s8"]
    for family in wanted:
        assert any(name.startswith(family) for name in kernels), family


@pytest.mark.parametrize("what", ["inputs", "outputs", "ints", "floats", "consts"])
@nets
def test_every_count_of_every_step(net, what):
    """Fewer and more arguments than a step takes: what lies beside a step's own belongs to another
    step, or to nobody."""
    builder, inputs = fresh(net)
    refused = 0
    for step in builder.steps:
        span = step[what]
        whole = list(span)
        for count in range(whole[1] + 3):
            span[1] = count
            refused += not survives(builder, inputs, ISAS[-1])
        span[:] = whole
    assert refused > len(builder.steps)


@pytest.mark.parametrize("value", [INT_MIN, -1, 0, 1, 7, INT_MAX])
def test_every_int(value):
    builder, inputs = fresh("encoder")
    for index, old in enumerate(builder.ints):
        builder.ints[index] = value
        survives(builder, inputs, ISAS[-1])
        builder.ints[index] = old


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-38, 0.0])
def test_every_float(value):
    builder, inputs = fresh("encoder")
    for index, old in enumerate(builder.floats):
        builder.floats[index] = value
        survives(builder, inputs, ISAS[-1])
        builder.floats[index] = old


@pytest.mark.parametrize("value", [0, 1, 5, 41, 2**15 + 1, 2**24 + 1, INT_MAX])
def test_every_dim(value):
    builder, inputs = fresh("encoder")
    for tensor in builder.tensors:
        for d in range(tensor["rank"]):
            old, tensor["dims"][d] = tensor["dims"][d], value
            survives(builder, inputs, ISAS[-1])
            tensor["dims"][d] = old


@pytest.mark.parametrize("value", [-(2**40), -40, -1, 0, 1, 3, 2**31, 2**40])
def test_every_stride(value):
    builder, inputs = fresh("encoder")
    for tensor in builder.tensors:
        for d in range(tensor["rank"]):
            old, tensor["strides"][d] = tensor["strides"][d], value
            survives(builder, inputs, ISAS[-1])
            tensor["strides"][d] = old


def resize(dtype, mode, tables, size=3):
    b = Builder()
    x = b.tensor("x", dtype, [1, size, size, 2])
    y = b.tensor("y", dtype, [1, 4, 5, 2])
    ints, floats = ([mode, 0, 255, 0], [1.0]) if dtype == "u8" else ([mode], [])
    b.step(f"resize_{'s8' if dtype == 'u8' else 'f32'}", [x], [y], ints, floats, tables)
    return _core.Session(_core.Plan.from_bytes(b.build()), "scalar")


@pytest.mark.parametrize("dtype", ["u8", "f32"])
def test_linear_resizing_needs_weights(rng, dtype):
    one = np.int32(2048) if dtype == "u8" else np.float32(1)
    tables = resize_tables(rng, (4, 5), (3, 3), one)
    resize(dtype, 1, tables)
    resize(dtype, 0, tables[:2])
    for count in (2, 3):
        with pytest.raises(FormatError, match=f"step 'resize_.*{count} constants, no weights"):
            resize(dtype, 1, tables[:count])


@pytest.mark.parametrize("index", [INT_MIN, -1, 3, INT_MAX])
@pytest.mark.parametrize("table", [0, 1])
def test_resizing_from_pixels_that_do_not_exist(rng, table, index):
    tables = resize_tables(rng, (4, 5), (3, 3))
    tables[table][2] = index
    with pytest.raises(FormatError, match=rf"input coordinate {index} outside 0\.\.2"):
        resize("u8", 0, tables)


@pytest.mark.parametrize(("dtype", "bad"), [("u8", -1), ("u8", 2049), ("f32", -0.1)])
@pytest.mark.parametrize("table", [2, 3])
def test_resizing_with_weights_out_of_range(rng, table, dtype, bad):
    tables = resize_tables(rng, (4, 5), (3, 3), np.int32(2048) if dtype == "u8" else np.float32(1))
    tables[table][1] = bad
    with pytest.raises(FormatError, match=r"weight -?[0-9.]+ outside 0\.\."):
        resize(dtype, 1, tables)


@pytest.mark.parametrize("dtype", ["s32", "s64"])
def test_gather_goes_to_the_nearest_row(dtype):
    kind = np.int32 if dtype == "s32" else np.int64
    info = np.iinfo(kind)
    indices = [0, 4, -1, -5, -6, 5, info.min, info.max, info.min + 4, info.max - 5]
    want = np.array([0, 4, 4, 0, 0, 4, 0, 4, 0, 4], np.uint8)
    b = Builder()
    wanted, y = b.tensor("wanted", dtype, [len(indices)]), b.tensor("y", "u8", [1, 10, 1])
    load(b, wanted, np.array(indices, kind))
    b.step("gather", [wanted], [y], consts=[np.arange(5, dtype=np.uint8)])
    emit(b, y)
    for isa in ISAS:
        np.testing.assert_array_equal(run(b.build(), [], isa=isa)[0].ravel(), want)


def prepare(kind, inputs, output, ints=(), floats=(), consts=()):
    b = Builder()
    sources = [b.tensor(f"x{i}", *t) for i, t in enumerate(inputs)]
    b.step(kind, sources, [b.tensor("y", *output)], ints, floats, consts, name="s")
    _core.Session(_core.Plan.from_bytes(b.build()), "scalar")


ROUND = [0, 255, 0]
REFUSED = {
    "gather, float indices": (
        FormatError,
        "indices are f32",
        ("gather", [("f32", [2]), ("u8", [1, 3, 4])], ("u8", [1, 2, 4])),
    ),
    "gather, table of part of a row": (
        ShapeError,
        "does not fit the output",
        ("gather", [("s32", [2])], ("u8", [1, 2, 4]), (), (), [np.zeros(7, np.uint8)]),
    ),
    "gather, empty table": (
        ShapeError,
        "does not fit the output",
        ("gather", [("s32", [2])], ("u8", [1, 2, 4]), (), (), [np.zeros(0, np.uint8)]),
    ),
    "gather, rows of another length": (
        ShapeError,
        "do not fit the output",
        ("gather", [("s32", [2]), ("u8", [1, 3, 5])], ("u8", [1, 2, 4])),
    ),
    "matmul, sums beyond int32": (
        UnsupportedError,
        "can reach",
        ("matmul_s8", [("u8", [1, 40000]), ("u8", [40000, 1])], ("u8", [1, 1]), ROUND, [1.0]),
    ),
    "matmul, inner sizes": (
        ShapeError,
        "2 x 3 times 4 x 2",
        ("matmul_s8", [("u8", [2, 3]), ("u8", [4, 2])], ("u8", [2, 2]), ROUND, [1.0]),
    ),
    "layer norm, epsilon 0": (
        FormatError,
        "epsilon is 0",
        ("layer_norm_s8", [("u8", [1, 4])], ("u8", [1, 4]), ROUND, [0.0], [np.ones(4, "f4")] * 2),
    ),
    "layer norm, gain of infinity": (
        FormatError,
        "gain is not finite",
        (
            "layer_norm_s8",
            [("u8", [1, 1])],
            ("u8", [1, 1]),
            ROUND,
            [1.0],
            [np.array([np.inf], "f4"), np.ones(1, "f4")],
        ),
    ),
    "cast of bytes": (FormatError, "from u8", ("cast", [("u8", [4])], ("f32", [4]))),
    "mean of a scalar": (ShapeError, "at least 1", ("mean_f32", [("f32", [])], ("f32", []))),
    "mean of two": (ShapeError, "must be 1", ("mean_f32", [("f32", [4])], ("f32", [2]))),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    error, message, arguments = REFUSED[case]
    with pytest.raises(error, match=rf"step 's' \({arguments[0]}\): .*{message}"):
        prepare(*arguments)

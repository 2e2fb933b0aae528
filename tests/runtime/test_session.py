# SPDX-License-Identifier: Apache-2.0
"""Sessions: what they refuse, and that results depend on nothing but model and input."""

import ctypes
import gc

import numpy as np
import pytest
from networks import ISAS, allocate, run, small_net, small_net_inputs
from plan_bytes import Builder

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError, LimitError, ShapeError


@pytest.fixture
def net(rng):
    return small_net(rng, size=40).build(), small_net_inputs(rng, size=40)


@pytest.fixture
def session(net):
    return _core.Session(_core.Plan.from_bytes(net[0]))


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_inputs_decide_the_result(net, rng):
    data, inputs = net
    first = run(data, inputs)
    assert len(np.unique(first[0])) > 1
    other = [inputs[0] + rng.normal(0, 1, inputs[0].shape).astype(np.float32), inputs[1]]
    assert any(not np.array_equal(a, b) for a, b in zip(first, run(data, other), strict=True))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_on_every_isa_and_thread_count(net, isa, threads):
    same(run(*net, isa="scalar"), run(*net, isa=isa, threads=threads))


@pytest.mark.parametrize("isa", ISAS)
def test_nothing_depends_on_what_lay_in_memory(net, isa):
    same(run(*net, isa=isa, poison=0x00), run(*net, isa=isa, poison=0xCD))


def test_second_run_equals_the_first(session, net):
    first, second = allocate(plan_outputs(net)), allocate(plan_outputs(net))
    session.run(net[1], first)
    session.run(net[1], second)
    same(first, second)


def plan_outputs(net):
    return _core.Plan.from_bytes(net[0]).outputs


def test_session_outlives_plan_and_bytes(net):
    data, inputs = net
    want = run(data, inputs)
    session = _core.Session(_core.Plan.from_bytes(bytes(bytearray(data))))
    gc.collect()
    got = allocate(plan_outputs(net))
    session.run(inputs, got)
    same(want, got)


def test_bound_run(session, net):
    want, got = run(*net), allocate(plan_outputs(net))
    inputs = [array.copy() for array in net[1]]
    bound = session.bind(inputs, got)
    bound.run()
    same(want, got)
    inputs[0][:] = 0
    bound.run()
    same(run(net[0], [np.zeros_like(net[1][0]), net[1][1]]), got)
    del session, inputs
    gc.collect()
    bound.run()


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("size", [1, 100000])
def test_bound_array_resized(session, net, which, size):
    arrays = [[array.copy() for array in net[1]], allocate(plan_outputs(net))]
    bound = session.bind(*arrays)
    arrays[which][0].resize(size, refcheck=False)
    with pytest.raises(InvalidArgumentError, match="resized"):
        bound.run()


def test_inputs_are_never_written(session, net):
    before = [array.copy() for array in net[1]]
    for array in net[1]:
        array.setflags(write=False)
    session.run(net[1], allocate(plan_outputs(net)))
    same(before, net[1])


def test_rounding_mode_and_flush_to_zero_of_the_caller(session, net):
    """A caller's MXCSR or fesetround must not reach the results, and is restored."""
    libm = ctypes.CDLL("libm.so.6")
    want, got = run(*net), allocate(plan_outputs(net))
    upward = 0x800
    libm.fesetround(upward)
    try:
        session.run(net[1], got)
        assert libm.fegetround() == upward
    finally:
        libm.fesetround(0)
    same(want, got)


WRONG = {
    "float64": (
        lambda a: a.astype(np.float64),
        InvalidArgumentError,
        "dtype float64, expected float32",
    ),
    "float16": (lambda a: a.astype(np.float16), InvalidArgumentError, "dtype float16"),
    "int32 of equal size": (lambda a: a.view(np.int32), InvalidArgumentError, "dtype int32"),
    "big endian": (lambda a: a.astype(">f4"), InvalidArgumentError, "dtype >f4"),
    "object": (lambda a: a.astype(object), InvalidArgumentError, "dtype"),
    "structured": (lambda a: a.view([("a", "<f4")]), InvalidArgumentError, "dtype"),
    "rank": (lambda a: a[0], ShapeError, r"shape \(3, 40, 40\), expected \(1, 3, 40, 40\)"),
    "shape": (lambda a: np.zeros((1, 3, 40, 41), np.float32), ShapeError, "shape"),
    "empty": (lambda a: np.zeros((0, 3, 40, 40), np.float32), ShapeError, "shape"),
    "scalar": (lambda a: np.float32(1), InvalidArgumentError, "numpy.float32"),
    "0-d": (lambda a: np.array(1, np.float32), ShapeError, r"shape \(\)"),
    "Fortran order": (lambda a: np.asfortranarray(a), InvalidArgumentError, "not C-contiguous"),
    "strided": (lambda a: np.repeat(a, 2, 3)[..., ::2], InvalidArgumentError, "not C-contiguous"),
    "reversed": (lambda a: a[..., ::-1], InvalidArgumentError, "not C-contiguous"),
    "broadcast": (
        lambda a: np.broadcast_to(np.float32(0), a.shape),
        InvalidArgumentError,
        "not C-contiguous",
    ),
    "unaligned": (
        lambda a: (
            np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(np.float32).reshape(a.shape)
        ),
        InvalidArgumentError,
        "not aligned",
    ),
    "list": (lambda a: a.tolist(), InvalidArgumentError, "is a list"),
    "None": (lambda a: None, InvalidArgumentError, "NoneType"),
    "masked": (lambda a: np.ma.masked_array(a), InvalidArgumentError, "MaskedArray"),
    "bytes": (lambda a: a.tobytes(), InvalidArgumentError, "is a bytes"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("call", ["run", "bind"])
def test_wrong_input(session, net, case, call):
    bend, error, message = WRONG[case]
    with pytest.raises(error, match=message) as caught:
        getattr(session, call)([bend(net[1][0]), net[1][1]], allocate(plan_outputs(net)))
    assert "image" in str(caught.value)


def test_memmap_is_an_array(session, net, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(net[1][0].tobytes())
    mapped = np.memmap(path, np.float32, "r", shape=net[1][0].shape)
    got = allocate(plan_outputs(net))
    session.run([mapped, net[1][1]], got)
    same(run(*net), got)


def test_wrong_output(session, net):
    outputs = allocate(plan_outputs(net))
    outputs[0].setflags(write=False)
    with pytest.raises(InvalidArgumentError, match="output 'probs' is read-only"):
        session.run(net[1], outputs)
    outputs = allocate(plan_outputs(net))
    outputs[1] = outputs[1].view(np.uint8)
    with pytest.raises(InvalidArgumentError, match="output 'plain' has dtype"):
        session.run(net[1], outputs)


def test_wrong_counts(session, net):
    outputs = allocate(plan_outputs(net))
    with pytest.raises(InvalidArgumentError, match="1 input arrays, the plan has 2"):
        session.run(net[1][:1], outputs)
    with pytest.raises(InvalidArgumentError, match="4 output arrays, the plan has 3"):
        session.run(net[1], [*outputs, outputs[0]])


def test_overlap(session, net):
    memory = np.zeros(100, np.float32)
    probs, logits = memory[:10].reshape(1, 10), memory[9:13].reshape(1, 4)
    plain = np.zeros((1, 10), np.int8)
    with pytest.raises(InvalidArgumentError, match=r"'logits' and 'probs' overlap"):
        session.run(net[1], [probs, plain, logits])
    image = net[1][0]
    inside = image.reshape(-1)[5:15].reshape(1, 10)
    with pytest.raises(InvalidArgumentError, match=r"'probs' and 'image' overlap"):
        session.run(net[1], [inside, plain, np.zeros((1, 4), np.float32)])


def test_unknown_isa(net):
    plan = _core.Plan.from_bytes(net[0])
    with pytest.raises(IsaError, match=r"unknown ISA 'sse9'; usable here: scalar"):
        _core.Session(plan, "sse9")
    unusable = [r["name"] for r in _core.isa_list() if not (r["built"] and r["supported"])]
    for name in unusable:
        with pytest.raises(IsaError, match=f"'{name}' is not .*usable here"):
            _core.Session(plan, name)


@pytest.mark.parametrize("threads", [-1, 257, -(2**31)])
def test_thread_count(net, threads):
    with pytest.raises(InvalidArgumentError, match="threads"):
        _core.Session(_core.Plan.from_bytes(net[0]), None, threads)


def test_all_cpus(net):
    session = _core.Session(_core.Plan.from_bytes(net[0]), None, 0)
    assert session.threads == _core.cpu_info()["cpus"]


def test_more_memory_than_the_machine_has():
    b = Builder()
    x = b.tensor("x", "u8", [2**30, 900], scale=1.0)
    b.step("fill", [], [x], [0])
    with pytest.raises(LimitError, match="memory"):
        _core.Session(_core.Plan.from_bytes(b.build()))


def test_kernels_and_profile(session, net):
    rows = session.kernels()
    plan = _core.Plan.from_bytes(net[0])
    assert [r["kind"] for r in rows] == [s["kind"] for s in plan.steps]
    assert {r["precision"] for r in rows} == {"int8", "float32", "copy"}
    by_kind = {r["kind"]: r for r in rows}
    assert by_kind["linear_s8"]["kernel"].startswith("gemm_s8_")
    assert by_kind["linear_s8"]["isa"] == _core.best_isa()
    depthwise = [r["kernel"] for r in rows if r["kernel"].startswith("dwconv_s8_")]
    assert len(depthwise) == 1
    times = session.profile(net[1], allocate(plan_outputs(net)), 5)
    assert len(times) == len(rows)
    assert all(0 <= fastest <= median for fastest, median in times)
    with pytest.raises(InvalidArgumentError, match="repeats"):
        session.profile(net[1], allocate(plan_outputs(net)), 0)


def test_read_tensor(session, net):
    session.run(net[1], allocate(plan_outputs(net)))
    x = session.read_tensor("x")
    assert x.shape == (1, 40, 40, 3)
    q = np.clip(np.rint(net[1][0] / np.float32(0.02)) + 117, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(x, q.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(session.read_tensor("x:nchw"), q)
    left = session.read_tensor("left")
    np.testing.assert_array_equal(left, session.read_tensor("both")[..., :16])
    with pytest.raises(InvalidArgumentError, match="no tensor 'nope'"):
        session.read_tensor("nope")


def test_sizes(session, net):
    assert session.arena_bytes == _core.Plan.from_bytes(net[0]).arena_bytes
    assert session.packed_bytes > 0
    assert session.scratch_bytes >= 0

# SPDX-License-Identifier: Apache-2.0
"""NamedRun: dictionaries in, a dictionary out, or None for whatever is not exactly as expected."""

import sys
import threading
import time

import numpy as np
import pytest
from networks import allocate, run, small_net, small_net_inputs

from octavo import _core
from octavo.errors import InvalidArgumentError


class Subclass(np.ndarray):
    pass


class Unequal(str):
    """Hashes like a name but fails to compare."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        raise RuntimeError("not comparable")


@pytest.fixture
def net(rng):
    return small_net(rng).build(), small_net_inputs(rng)


@pytest.fixture
def case(net):
    """NamedRun, inputs and outputs by name, expected outputs."""
    data, inputs = net
    plan = _core.Plan.from_bytes(data)
    names = [t["name"] for t in plan.inputs], [t["name"] for t in plan.outputs]
    named = _core.Session(plan).named(*names)
    arrays = dict(zip(names[0], inputs, strict=True))
    out = dict(zip(names[1], allocate(plan.outputs), strict=True))
    return named, arrays, out, dict(zip(names[1], run(data, inputs), strict=True))


def same(got, want):
    assert list(got) == list(want)
    for name, array in want.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)


def test_new_outputs(case):
    named, inputs, _, want = case
    first, second = named.run(inputs), named.run(inputs)
    same(first, want)
    same(second, want)
    for name in want:
        assert first[name].flags.owndata
        assert not np.shares_memory(first[name], second[name])


def test_given_outputs(case):
    named, inputs, out, want = case
    for array in out.values():
        array.fill(7)
    got = named.run(inputs, dict(reversed(out.items())))
    same(got, want)
    assert all(got[name] is out[name] for name in out)


def test_references_are_given_back(case):
    named, inputs, out, _ = case
    objects = [*inputs.values(), *out.values(), *inputs, np.dtype(np.float32), np.dtype(np.uint8)]
    before = [sys.getrefcount(item) for item in objects]
    for _ in range(100):
        named.run(inputs, out)
        named.run(inputs)
        named.run(inputs, {})
    assert [sys.getrefcount(item) for item in objects] == before


def strided(array):
    return np.repeat(array, 2, axis=-1)[..., ::2]


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)
    return raw[1:].view(array.dtype).reshape(array.shape) if array.itemsize > 1 else strided(array)


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


CHANGES = {
    "list": lambda array: array.tolist(),
    "none": lambda array: None,
    "subclass": lambda array: array.view(Subclass),
    "dtype": lambda array: array.astype(np.float64),
    "byte order": lambda array: (
        array.astype(array.dtype.newbyteorder()) if array.itemsize > 1 else array.astype(">u2")
    ),
    "rank": lambda array: array[None],
    "shape": lambda array: np.concatenate([array, array]),
    "strided": strided,
    "unaligned": unaligned,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("role", ["inputs", "out"])
def test_anything_else_is_none_and_writes_nothing(case, change, role):
    named, inputs, out, _ = case
    for array in out.values():
        array.fill(7)
    arrays = {"inputs": inputs, "out": out}
    for name, array in arrays[role].items():
        changed = {**arrays, role: {**arrays[role], name: CHANGES[change](array)}}
        assert named.run(changed["inputs"], changed["out"]) is None
    for array in out.values():
        assert (array == 7).all()


def test_read_only_inputs_are_fine_and_outputs_are_not(case):
    named, inputs, out, want = case
    same(named.run({name: read_only(array) for name, array in inputs.items()}), want)
    name = next(iter(out))
    assert named.run(inputs, {**out, name: read_only(out[name])}) is None


def test_other_names_and_containers(case):
    named, inputs, out, _ = case
    name, array = next(iter(inputs.items()))
    others = {key: value for key, value in inputs.items() if key != name}
    for wrong in (
        {},
        others,
        {**others, "other": array},
        {**inputs, "other": array},
        {None: array},
    ):
        assert named.run(wrong) is None
    for wrong in (None, 1, list(inputs.values()), array if len(inputs) > 1 else [array]):
        assert named.run(wrong) is None
        if wrong is not None:
            assert named.run(inputs, wrong) is None
    assert named.run(inputs, {**out, "other": array}) is None


def test_errors_of_a_lookup_are_not_swallowed(case):
    named, inputs, _, _ = case
    strange = {Unequal(name): array for name, array in inputs.items()}
    with pytest.raises(RuntimeError, match="not comparable"):
        named.run(strange)


def test_outputs_over_inputs_or_each_other_are_none(case):
    named, inputs, out, _ = case
    for name, array in out.items():
        memory = np.zeros(array.nbytes * 2 + 4096, np.uint8)
        at = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
        for key, value in inputs.items():
            over = memory[: value.nbytes].view(value.dtype).reshape(value.shape)
            if over.nbytes == value.nbytes:
                assert named.run({**inputs, key: over}, {**out, name: at}) is None


def test_names_must_fit_the_plan(net):
    plan = _core.Plan.from_bytes(net[0])
    outputs = [t["name"] for t in plan.outputs]
    with pytest.raises(InvalidArgumentError, match="names for"):
        _core.Session(plan).named(["a", "b", "c", "d"], outputs)


def test_arrays_dropped_by_others_during_the_run(rng):
    """The dictionary held the only references when the run began."""
    data, inputs = small_net(rng, size=40).build(), small_net_inputs(rng, size=40)
    plan = _core.Plan.from_bytes(data)
    names = [t["name"] for t in plan.inputs], [t["name"] for t in plan.outputs]
    named = _core.Session(plan).named(*names)
    want = dict(zip(names[1], run(data, inputs), strict=True))
    shared = {}
    stop = threading.Event()

    def clear():
        while not stop.is_set():
            shared.clear()
            time.sleep(0)

    thread = threading.Thread(target=clear)
    thread.start()
    done = 0
    try:
        for _ in range(300):
            shared.update({n: a.copy() for n, a in zip(names[0], inputs, strict=True)})
            got = named.run(shared)
            if got is not None:
                same(got, want)
                done += 1
    finally:
        stop.set()
        thread.join()
    assert done > 0

# SPDX-License-Identifier: Apache-2.0
"""Every rule of the plan section in docs/format.md, one refusal each."""

import numpy as np
import pytest
from networks import small_net
from plan_bytes import CODES, Builder, container

from octavo import _core
from octavo.errors import FormatError, LimitError


@pytest.fixture
def net(rng):
    return small_net(rng)


def refused(builder, error, message):
    with pytest.raises(error, match=message):
        _core.Plan.from_bytes(builder.build())


HEADER = {
    "version": (2, FormatError, "version 2"),
    "tensors": (65537, LimitError, "65537 tensors"),
    "steps": (2**32 - 1, LimitError, "steps"),
    "consts": (65537, LimitError, "constants"),
    "inputs": (65537, LimitError, "inputs"),
    "outputs": (2**31, LimitError, "outputs"),
    "ints": (2**32 - 1, FormatError, "ints need"),
    "floats": (2**30, FormatError, "floats need"),
    "refs": (2**31, FormatError, "refs need"),
    "strings": (2**32 - 1, FormatError, "string bytes need"),
    "arena": (2**40 + 1, LimitError, "arena_bytes"),
    "lower_bound": (2**63, LimitError, "lower_bound_bytes"),
    "reserved": (1, FormatError, "reserved"),
}


@pytest.mark.parametrize("field", HEADER)
def test_header(net, field):
    value, error, message = HEADER[field]
    net.header[field] = value
    refused(net, error, message)


@pytest.mark.parametrize("field", ["tensors", "steps", "consts", "inputs", "outputs", "strings"])
@pytest.mark.parametrize("by", [-1, 1])
def test_counts_off_by_one(net, field, by):
    count = len(net.strings if field == "strings" else getattr(net, field))
    net.header[field] = count + by
    with pytest.raises((FormatError, LimitError)):
        _core.Plan.from_bytes(net.build())


# Tensor 2 of small_net is "x": u8, rank 4 with a halo; 0 is the model's first input.
TENSOR = {
    "dtype 0": ("x", {"dtype": 0}, FormatError, "dtype code 0"),
    "dtype 9": ("x", {"dtype": 9}, FormatError, "dtype code 9"),
    "location 3": ("x", {"location": 3}, FormatError, "location 3"),
    "rank 9": ("x", {"rank": 9}, LimitError, "rank 9"),
    "flags": ("x", {"flags": 1}, FormatError, "flags"),
    "dim 0": ("x", {"dims": [1, 0, 9, 3, 1, 1, 1, 1]}, FormatError, "dim 1 is 0"),
    "dim -1": ("x", {"dims": [1, 9, 9, -1, 1, 1, 1, 1]}, FormatError, "dim 3 is -1"),
    "dim INT_MIN": ("x", {"dims": [-(2**31), 9, 9, 3, 1, 1, 1, 1]}, FormatError, "dim 0"),
    "dims beyond rank": ("x", {"dims": [1, 9, 9, 3, 2, 1, 1, 1]}, FormatError, "beyond the rank"),
    "strides beyond rank": (
        "x",
        {"strides": [363, 33, 3, 1, 1, 0, 0, 0]},
        FormatError,
        "beyond the rank",
    ),
    "elements overflow": ("x", {"dims": [2**31 - 1] * 4 + [1] * 4}, LimitError, r"overflows|2\^40"),
    "stride overflow": ("x", {"strides": [2**62, 33, 3, 1, 0, 0, 0, 0]}, LimitError, "stride 0"),
    "offset beyond the arena": ("x", {"offset": 2**39}, FormatError, "leave the arena"),
    "offset 2^63": ("x", {"offset": 2**63}, LimitError, "offset"),
    "halo below the arena": ("x", {"offset": 35}, FormatError, "leave the arena"),
    "negative stride below the arena": (
        "row",
        {"strides": [-(2**30), 0, 0, 0, 0, 0, 0, 0]},
        FormatError,
        "leave the arena",
    ),
    "halo of rank 1": ("row", {"halo": [1, 0, 0, 0]}, FormatError, "halo"),
    "halo of an input": ("image", {"halo": [1, 0, 0, 0]}, FormatError, "halo"),
    "halo wider than the gap": ("x", {"halo": [1, 3, 1, 3]}, FormatError, "no room"),
    "halo of an s8 tensor": ("x", {"dtype": CODES["s8"], "zero_point": 0}, FormatError, "halo"),
    "scale 0": ("x", {"scale": 0.0}, FormatError, "scale 0"),
    "scale < 0": ("x", {"scale": -1.0}, FormatError, "scale -1"),
    "scale NaN": ("x", {"scale": float("nan")}, FormatError, "scale -?nan"),
    "scale inf": ("x", {"scale": float("inf")}, FormatError, "scale inf"),
    "scale subnormal": ("x", {"scale": 1e-40}, FormatError, "subnormal"),
    "zero point 256": ("x", {"zero_point": 256}, FormatError, "zero point 256"),
    "zero point -1": ("x", {"zero_point": -1}, FormatError, "zero point -1"),
    "s8 zero point 128": ("codes", {"zero_point": 128}, FormatError, "zero point 128"),
    "s8 zero point -129": ("codes", {"zero_point": -129}, FormatError, "zero point -129"),
    "f32 unaligned": ("f", {"offset": 2}, FormatError, "not aligned"),
    "f32 stride": ("f", {"strides": [40, 6, 0, 0, 0, 0, 0, 0]}, FormatError, "element size"),
    "input index": ("image", {"offset": 2}, FormatError, "index 2 of 2"),
    "output index": ("probs", {"offset": 3}, FormatError, "index 3 of 3"),
    "input gaps": ("codes", {"strides": [20, 2, 0, 0, 0, 0, 0, 0]}, FormatError, "contiguous"),
    "input order": ("codes", {"offset": 0}, FormatError, "is not a model input number 1"),
    "name beyond strings": ("x", {"name": 2**31}, FormatError, "beyond"),
}


@pytest.mark.parametrize("case", TENSOR)
def test_tensor(net, case):
    name, changes, error, message = TENSOR[case]
    names = [bytes(net.strings[t["name"] :]).split(b"\0")[0].decode() for t in net.tensors]
    net.tensors[names.index(name)].update(changes)
    refused(net, error, message)


def test_arena_may_not_exceed_its_tensors(net):
    net.arena += 2**20 - 64
    _core.Plan.from_bytes(net.build())
    net.arena += 2**33
    refused(net, FormatError, "the last tensor ends at")


def test_slack_after_every_tensor():
    b = Builder()
    x = b.tensor("x", "u8", [64], scale=1.0)
    b.step("fill", [], [x], [0])
    b.arena = 128
    _core.Plan.from_bytes(b.build())
    b.arena = 127
    refused(b, FormatError, "64 of slack")


STEP = {
    "inputs beyond refs": ({"inputs": [2**31, 1]}, FormatError, "inputs"),
    "outputs wrap around": ({"outputs": [2**32 - 1, 2]}, FormatError, "outputs"),
    "ints beyond": ({"ints": [0, 60000]}, LimitError, "ints"),
    "floats beyond": ({"floats": [60, 60]}, FormatError, "floats"),
    "constants beyond": ({"consts": [2**20, 3]}, FormatError, "constants"),
    "too many arguments": ({"inputs": [0, 65]}, LimitError, "65 inputs"),
    "kind beyond strings": ({"kind": 2**30}, FormatError, "step kind"),
    "name beyond strings": ({"name": 2**32 - 1}, FormatError, "step name"),
}


@pytest.mark.parametrize("case", STEP)
def test_step(net, case):
    changes, error, message = STEP[case]
    net.steps[1].update(changes)
    refused(net, error, message)


def test_reference_beyond_tensors(net):
    net.refs[net.steps[1]["inputs"][0]] = len(net.tensors)
    refused(net, FormatError, "inputs: index")


def test_reference_beyond_constants(net):
    net.refs[net.steps[1]["consts"][0]] = len(net.consts)
    refused(net, FormatError, "constants: index")


def test_step_may_not_write_an_input(net):
    net.refs[net.steps[0]["outputs"][0]] = net.inputs[0]
    refused(net, FormatError, "writes the model input 'image'")


def test_step_may_not_read_an_output(net):
    net.refs[net.steps[-1]["inputs"][0]] = net.outputs[0]
    refused(net, FormatError, "reads the model output 'probs'")


def test_broadcast_view_may_not_be_written(net):
    target = net.refs[net.steps[-2]["outputs"][0]]
    net.tensors[target]["strides"][1] = 0
    refused(net, FormatError, "strides let elements overlap")


def test_every_output_is_written(net):
    net.refs[net.steps[-1]["outputs"][0]] = net.refs[net.steps[-1]["inputs"][0]]
    refused(net, FormatError, "no step writes the model output 'logits'")


def test_edge_that_is_an_arena_tensor(net):
    net.inputs[1] = 5
    refused(net, FormatError, "is not a model input number 1")


@pytest.mark.parametrize("index", [2**32 - 1, 1000])
def test_edge_beyond_tensors(net, index):
    net.outputs[0] = index
    refused(net, FormatError, "is tensor")


def test_alias_of_an_input_may_not_be_larger(net):
    """Callers' arrays are checked against the first record; a larger alias would read past them."""
    net.view(net.inputs[1], "alias", [1, 11], [11, 1])
    refused(net, FormatError, "differs from 'codes' in dtype or bytes")


CONST = {
    "offset unaligned": ({"offset": 4}, "bytes of"),
    "offset beyond": ({"offset": 2**40 * 64}, "bytes of"),
    "size beyond": ({"size": 2**63}, "bytes of"),
    "size wraps": ({"size": 2**64 - 64}, "bytes of"),
    "size no multiple": ({"size": 7, "dtype": CODES["s32"]}, "bytes of s32"),
    "dtype": ({"dtype": 77}, "dtype code 77"),
    "reserved": ({"reserved": 1}, "reserved 1"),
}


@pytest.mark.parametrize("case", CONST)
def test_constant(net, case):
    changes, message = CONST[case]
    net.consts[1].update(changes)
    refused(net, FormatError, message)


def test_name_without_end(net):
    del net.strings[-1]
    refused(net, FormatError, "does not end")


def test_name_of_1024_bytes(net):
    at = len(net.strings)
    net.strings += b"a" * 1024 + b"\0"
    net.tensors[5]["name"] = at
    _core.Plan.from_bytes(net.build())
    net.strings[-1:] = b"a\0"
    refused(net, LimitError, "1025 bytes")


@pytest.mark.parametrize(
    "name",
    [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ab\xe2\x82", b"\x80"],
    ids=["invalid", "overlong", "surrogate", "beyond", "cut", "continuation"],
)
def test_name_that_is_not_utf8(net, name):
    net.tensors[5]["name"] = net.string(name)
    refused(net, FormatError, "not UTF-8")


def test_name_in_any_script(net):
    net.tensors[5]["name"] = net.string("層/свёртка/🐙")
    plan = _core.Plan.from_bytes(net.build())
    assert "層/свёртка/🐙" in [t["name"] for t in plan.tensors]


def test_bytes_after_the_last_array(net):
    sections = [("plan", net.plan() + b"\0" * 16, 1), ("constants", bytes(net.payload), 1)]
    with pytest.raises(FormatError, match="after the last array"):
        _core.Plan.from_bytes(container(sections))


def test_plan_section_beyond_64_mib():
    sections = [("plan", b"\0" * (2**26 + 1), 1), ("constants", b"", 1)]
    with pytest.raises(LimitError, match="64 MiB"):
        _core.Plan.from_bytes(container(sections))


def test_what_the_plan_tells(net):
    plan = _core.Plan.from_bytes(net.build())
    assert [t["name"] for t in plan.inputs] == ["image", "codes"]
    assert plan.inputs[1] == {
        "name": "codes",
        "dtype": "s8",
        "shape": (1, 10),
        "scale": np.float32(0.1),
        "zero_point": -3,
    }
    assert plan.outputs[0]["scale"] is None
    assert plan.arena_bytes == net.arena
    assert plan.macs == sum(s["macs"] for s in plan.steps)
    assert plan.steps[0]["kind"] == "quantize"
    assert plan.steps[1]["inputs"] == ["x"]
    assert next(t for t in plan.tensors if t["name"] == "x")["halo"] == (1, 1, 1, 1)

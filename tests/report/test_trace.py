# SPDX-License-Identifier: Apache-2.0
"""`octavo.profile` and its trace, against what the trace event format requires."""

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.errors import InvalidArgumentError

#: Fields that the format requires of each kind of event, and their types.
REQUIRED = {
    "M": {"name": str, "pid": int, "tid": int, "args": dict},
    "X": {"name": str, "cat": str, "pid": int, "tid": int, "ts": float, "dur": float, "args": dict},
    "C": {"name": str, "pid": int, "ts": float, "args": dict},
}


@pytest.fixture
def model():
    with resources.as_file(resources.files("octavo.demo") / "digits_int8.octavo") as path:
        return octavo.load(Path(path))


def digits(batch):
    return np.random.default_rng(3).uniform(0, 1, (batch, 1, 8, 8)).astype(np.float32)


@pytest.fixture
def trace(model, tmp_path):
    path = tmp_path / "trace.json"
    octavo.profile(model, digits(2), repeats=3, trace=path)
    return json.loads(path.read_text())


def test_every_event_has_the_required_fields(trace):
    assert trace["displayTimeUnit"] in ("ms", "ns")
    for event in trace["traceEvents"]:
        for name, kind in REQUIRED[event["ph"]].items():
            assert isinstance(event[name], kind), (event, name)
    names = {e["name"]: e["args"]["name"] for e in trace["traceEvents"] if e["ph"] == "M"}
    assert set(names) == {"process_name", "thread_name"} and all(names.values())


def test_steps_follow_each_other_inside_the_run(trace, model):
    whole, *steps = [e for e in trace["traceEvents"] if e["ph"] == "X"]
    assert [e["name"] for e in steps] == [k.node for k in model.compile().kernels()]
    assert whole["ts"] == 0 and len({(e["pid"], e["tid"]) for e in (whole, *steps)}) == 1
    time = 0.0
    for event in steps:
        assert event["ts"] == pytest.approx(time, abs=0.01)
        assert event["dur"] >= 0
        time += event["dur"]
    assert whole["dur"] == pytest.approx(time, abs=0.05)


def test_arguments_say_what_ran(trace):
    steps = [e["args"] for e in trace["traceEvents"] if e["ph"] == "X" and "kernel" in e["args"]]
    layers = [a for a in steps if a["macs"]]
    assert layers
    for arguments in layers:
        assert arguments["isa"] and arguments["kernel"] and arguments["threads"] >= 1
        assert arguments["GMAC/s"] > 0 and arguments["share of peak"] > 0
        assert "2×" in arguments["inputs"] and arguments["bytes"] > 0


def test_counter_ends_at_zero(trace):
    counters = [e for e in trace["traceEvents"] if e["ph"] == "C"]
    assert counters[-1]["args"] == {"GMAC/s": 0.0}
    assert [e["ts"] for e in counters] == sorted(e["ts"] for e in counters)


def test_profile_is_the_table_and_the_list_of_layers(model):
    found = octavo.profile(model, {model.inputs[0].name: digits(1)}, repeats=2)
    assert [layer.kernel.node for layer in found] == [k.node for k in model.compile().kernels()]
    assert found[0].kernel.node in str(found)


def test_bytes_of_a_step_are_its_tensors_and_constants(model):
    kernels = model.compile().kernels()
    weights = sum(k.bytes for k in kernels)
    assert weights > model.weight_bytes  # constants and, beside them, activations
    (quantize,) = [k for k in kernels if k.op == "quantize"]
    assert quantize.inputs == ("f32 1×1×8×8",)
    assert quantize.bytes == 64 * 4 + 64


def test_timeline_of_other_shapes_counts_their_work(model):
    session = model.compile()
    one, four = (session.timeline(digits(n), repeats=1) for n in (1, 4))
    assert sum(k.macs for k, _, _ in four) == 4 * sum(k.macs for k, _, _ in one)
    with pytest.raises(InvalidArgumentError, match="repeats"):
        session.timeline(digits(1), repeats=0)


def test_a_trace_that_cannot_be_written(model, tmp_path):
    with pytest.raises(InvalidArgumentError, match="absent"):
        octavo.profile(model, digits(1), trace=tmp_path / "absent" / "t.json")

# SPDX-License-Identifier: Apache-2.0
"""Choice of kernels: every one gives the same bits, measured times are remembered, and a choice
that cannot run is refused."""

import json

import numpy as np
import pytest
from networks import ISAS, allocate, choices_of, run, small_net, small_net_inputs

from octavo import _core, tuning
from octavo.errors import FormatError, InvalidArgumentError


@pytest.fixture
def net(rng):
    return small_net(rng, size=40).build(), small_net_inputs(rng, size=40)


@pytest.fixture
def plan(net):
    return _core.Plan.from_bytes(net[0])


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(tuning, "_measured", {})
    monkeypatch.setattr(tuning, "_BUDGET_NS", 1)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_choice_gives_the_same_bits(net, plan, isa, threads):
    expected = run(*net, isa="scalar")
    for chosen in choices_of(plan, isa):
        session = _core.Session(plan, isa, threads, chosen)
        outputs = allocate(plan.outputs)
        session.run(net[1], outputs)
        for a, b in zip(expected, outputs, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=str(chosen))


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "scalar"])
def test_the_chosen_kernel_runs(plan, isa):
    seen = set()
    for chosen in choices_of(plan, isa):
        step = next(i for i, kernel in enumerate(chosen) if kernel)
        assert _core.Session(plan, isa, 1, chosen).kernels()[step]["kernel"] == chosen[step]
        seen.add(chosen[step])
    assert len(seen) > 1


def test_a_kernel_that_cannot_run_the_step_is_refused(plan):
    with pytest.raises(InvalidArgumentError, match=r"step '.*cannot run with kernel 'bogus'"):
        _core.Session(plan, None, 1, ["bogus"])
    with pytest.raises(InvalidArgumentError, match="kernels for"):
        _core.Session(plan, None, 1, [""] * (len(plan.steps) + 1))


def test_a_step_that_does_not_exist_is_refused(plan):
    with pytest.raises(InvalidArgumentError, match="step 999"):
        _core.time_kernels(plan, 999)


def test_times_are_remembered_in_the_process(plan, monkeypatch):
    first = tuning.choose_kernels(plan, None, 1)
    monkeypatch.setattr(_core, "time_kernels", lambda *_: pytest.fail("measured again"))
    assert tuning.choose_kernels(plan, None, 1) == first


def test_times_are_remembered_in_a_file(plan, monkeypatch, tmp_path):
    file = tmp_path / "tuning.json"
    first = tuning.choose_kernels(plan, None, 1, file)
    monkeypatch.setattr(tuning, "_measured", {})
    monkeypatch.setattr(_core, "time_kernels", lambda *_: pytest.fail("measured again"))
    assert tuning.choose_kernels(plan, None, 1, file) == first


def test_the_fastest_measured_kernel_wins(plan, monkeypatch):
    def slowest_first(plan, step, *_):
        kernels = next(k for s, _, k in _core.tunable_steps(plan) if s == step)
        return [(name, 1000 - i) for i, name in enumerate(kernels)]

    monkeypatch.setattr(_core, "time_kernels", slowest_first)
    chosen = tuning.choose_kernels(plan, None, 1)
    for step, _, kernels in _core.tunable_steps(plan):
        assert chosen[step] == kernels[-1]


def test_times_of_another_cpu_are_measured_anew(plan, tmp_path):
    file = tmp_path / "tuning.json"
    tuning.choose_kernels(plan, None, 1, file)
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "cpu": "another", "us": {"x": {"bogus": 1.0}}}))
    tuning.choose_kernels(plan, None, 1, file)
    assert json.loads(file.read_text()).keys() == document.keys()
    assert "x" not in json.loads(file.read_text())["us"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"format": "octavo-tuning-1"}', "\x00\xff"]
)
def test_other_files_are_refused_or_measured_anew(plan, tmp_path, content):
    file = tmp_path / "tuning.json"
    file.write_text(content, encoding="latin-1")
    if content == '{"format": "octavo-tuning-1"}':  # of no CPU
        assert tuning.choose_kernels(plan, None, 1, file)
    else:
        with pytest.raises(FormatError, match="tuning file"):
            tuning.choose_kernels(plan, None, 1, file)
        assert file.read_text(encoding="latin-1") == content

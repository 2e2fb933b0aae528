# SPDX-License-Identifier: Apache-2.0
"""What counts as slower: beyond the noise, and not because the whole machine was."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from octavo.benchmark.regressions import compare_reports, regressions, render_changes
from octavo.benchmark.results import ModelResult, Report, RuntimeResult
from octavo.benchmark.timing import Timing
from octavo.errors import InvalidArgumentError


def report(octavo, peer=None, *, spread=0.0, threads=1, version="1", **machine):
    def timed(low):
        high = low * (1 + spread)
        return RuntimeResult(timing=Timing(low, high, 3, [(low, low), (high, high), (high, high)]))

    model = ModelResult("m", threads, sha256="same")
    model.runtimes = {"octavo": timed(octavo)} | ({"p": timed(peer)} if peer else {})
    return Report(
        command=[],
        settings={"bound": False, "isa": None},
        machine={"cpu": "a CPU", "cpus": 2, "isa": "avx2", **machine},
        versions={"p": version},
        runtime_settings={},
        models=[model],
    )


def verdict(old, new):
    return compare_reports(old, new)[0].verdict


@pytest.mark.parametrize(
    "new, expected",
    [(1.0, "same"), (1.02, "same"), (1.05, "SLOWER"), (0.99, "same"), (0.9, "faster")],
)
def test_three_percent_are_noise(new, expected):
    assert verdict(report(1.0), report(new)) == expected


@pytest.mark.parametrize("noisy", ["old", "new"])
def test_the_spread_of_either_report_widens_the_noise(noisy):
    old = report(1.0, spread=0.10 if noisy == "old" else 0)
    new = report(1.08, spread=0.10 if noisy == "new" else 0)
    assert verdict(old, new) == "same"
    assert verdict(report(1.0), report(1.08)) == "SLOWER"


def test_a_machine_that_became_slower_is_no_regression():
    assert verdict(report(1.0, 2.0), report(1.2, 2.4)) == "unclear"
    assert verdict(report(1.0, 2.0), report(1.2, 2.0)) == "SLOWER"


def test_a_peer_of_another_version_says_nothing_about_the_machine():
    (own, _) = compare_reports(report(1.0, 2.0), report(1.2, 2.4, version="2"))
    assert own.drift is None and own.verdict == "SLOWER"


def test_only_octavo_fails_the_comparison():
    changes = compare_reports(report(1.0, 2.0), report(1.0, 4.0))
    assert [c.runtime for c in changes] == ["octavo", "p"]
    assert not regressions(changes)


def test_the_table_says_by_how_much():
    changes = compare_reports(report(1.0), report(1.25))
    assert regressions(changes) == changes
    assert "SLOWER m, 1 thread(s): +25.0 % (1.0000 to 1.2500 ms)" in render_changes(changes)


def test_another_file_is_said_so():
    new = report(1.0)
    new.models[0].sha256 = "other"
    assert "same (other file)" in render_changes(compare_reports(report(1.0), new))


@pytest.mark.parametrize(
    "other, what",
    [
        (report(1.0, cpu="another"), "cpu"),
        (report(1.0, cpus=64), "cpus"),
        (report(1.0, isa="avx512vnni"), "isa"),
        (report(1.0, threads=2), "thread counts"),
        (replace(report(1.0), settings={"bound": True, "isa": None}), "bound"),
    ],
)
def test_what_cannot_be_compared_is_refused(other, what):
    with pytest.raises(InvalidArgumentError, match=what):
        compare_reports(report(1.0), other)
    if what != "thread counts":  # with these nothing would be left
        assert compare_reports(report(1.0), other, anyway=True)


def test_nothing_in_common_is_refused():
    with pytest.raises(InvalidArgumentError, match="in common"):
        compare_reports(report(1.0), report(1.0, threads=2), anyway=True)


def test_the_documented_schema_names_every_field():
    """docs/bench.md lists the keys of the JSON."""
    text = (Path(__file__).parents[2] / "docs/bench.md").read_text(encoding="utf-8")
    document = json.loads(json.dumps(report(1.0).document()))
    (model,) = document["models"]
    keys = {*document, *model, *model["runtimes"]["octavo"]}
    keys |= {*model["runtimes"]["octavo"]["timing"]}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]

# SPDX-License-Identifier: Apache-2.0
"""Every ISA of this machine gives the outputs whose SHA-256 stand in tests/golden/*.json."""

import json
import sys
from pathlib import Path

import pytest

from octavo import _core

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import golden
import golden_cases

ISAS = {row["name"]: row["supported"] for row in _core.isa_list() if row["built"]}


@pytest.fixture(scope="module")
def cases():
    return golden.made(list(golden_cases.KINDS))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("isa", ISAS)
def test_same_bits_as_ever(cases, isa, threads, capsys):
    if not ISAS[isa]:
        pytest.skip(f"NOT RUN: this machine lacks {isa}")
    failed = golden.check(cases, [isa], threads)
    assert not failed, capsys.readouterr().out


def test_every_operator_and_a_few_networks_under_two_seeds(cases):
    seeds = {case.name.rpartition("@")[2] for found in cases.values() for case in found}
    assert len(seeds) >= 2
    assert len({case.name for case in cases["ops"]}) == len(cases["ops"]) >= 50
    operators = {case.name.partition("/")[0] for case in cases["ops"]}
    assert operators == set(golden_cases.ops.names())
    assert len(cases["models"]) >= 2 * 10


def test_the_file_holds_exactly_the_cases(cases):
    for kind, found in cases.items():
        assert golden.golden(kind).keys() == {case.name for case in found}


def test_cases_survive_the_way_to_another_machine(cases, tmp_path):
    golden_cases.save(tmp_path / "cases.npz", cases)
    moved = golden_cases.load(tmp_path / "cases.npz")
    assert golden.built(moved) == golden.built(cases)
    assert golden.outputs(moved, "scalar", 1) == golden.outputs(cases, "scalar", 1)


@pytest.fixture
def altered(tmp_path, monkeypatch):
    """altered("ops") makes a copy with one digest changed the golden file."""

    def alter(name, count=1):
        for path in golden.GOLDEN.glob("*.json"):
            content = json.loads(path.read_text())
            if path.stem == name:
                content.update(dict.fromkeys(list(content)[:count], "0" * 64))
            (tmp_path / path.name).write_text(json.dumps(content))
        monkeypatch.setattr(golden, "GOLDEN", tmp_path)

    return alter


def test_a_difference_is_named_and_fails(cases, altered, capsys):
    altered("models")
    assert golden.check(cases, ["scalar"], 1) == 1
    first = min(case.name for case in cases["models"])
    assert f"DIFFERS: {first}\n" in capsys.readouterr().out


def test_another_plan_is_not_compared_but_too_many_fail(cases, altered, capsys):
    altered("built")
    assert golden.check(cases, ["scalar"], 1) == 0
    assert capsys.readouterr().out.count("NOT RUN: ") == 1
    altered("built", count=100)
    assert golden.check(cases, ["scalar"], 1) == 1

# SPDX-License-Identifier: Apache-2.0
"""`octavo search`."""

import pytest

import octavo

pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")


def test_a_table_recipes_and_limits(octavo_cli, float_onnx, digits, tmp_path):
    common = ("search", float_onnx, "--data", digits, "--journal", tmp_path / "j.jsonl")
    common = (*common, "--trials", "3", "--precision", "int8")
    files = ("--output", tmp_path / "best.json", "--save", tmp_path / "all.json")
    result = octavo_cli(*common, *files, "--json")
    assert result.code == 0, result.err
    document = result.json
    best = octavo.Recipe.from_dict(document["best"]["recipe"])
    assert octavo.Recipe.load(tmp_path / "best.json") == best
    assert document["trials"] == 3
    text = octavo_cli(*common)
    assert ("Pareto set of 3 trials" in text.out, "float32" in text.out) == (True, True), text
    hard = ("search", float_onnx, "--data", digits, "--trials", "1", "--precision", "int8")
    unmet = octavo_cli(*hard, "--max-bytes", "10")
    assert (unmet.code, "not met: size is" in unmet.out) == (3, True)
    octavo_cli(*hard, "--max-drop", "-1").refused("InvalidArgumentError", "max_drop")

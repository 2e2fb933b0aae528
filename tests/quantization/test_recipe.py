# SPDX-License-Identifier: Apache-2.0
"""The recipe: one file for the CLI and Python, errors that name what is wrong."""

import json

import numpy as np
import pytest

from octavo.errors import FormatError, InvalidArgumentError
from octavo.ir import Graph, Node, Value
from octavo.quantization.recipe import Recipe, Rule, Settings


def chain(*nodes: tuple[str, str]) -> Graph:
    """x -> nodes in a row."""
    values = {"x": Value("x", "f32", (1, 4))}
    made = []
    last = "x"
    for name, op in nodes:
        values[f"{name}_y"] = Value(f"{name}_y", "f32", (1, 4))
        made.append(Node(name, op, (last,), (f"{name}_y",)))
        last = f"{name}_y"
    return Graph("chain", tuple(made), values, ("x",), (last,))


GRAPH = chain(("stem", "Conv"), ("block.0/conv", "Conv"), ("block.1/conv", "Conv"), ("head", "Add"))


def test_later_rules_win_setting_by_setting():
    recipe = Recipe(
        rules=(
            Rule(r"block\..*", settings={"precision": "int16", "rounding": "nearest"}),
            Rule(op="Conv", settings={"activation_ranges": "minmax"}),
            Rule(r"block\.1/conv", settings={"precision": "float32"}),
        )
    )
    found = recipe.resolve(GRAPH)
    assert found["stem"] == Settings(activation_ranges="minmax")
    assert found["block.0/conv"].precision == "int16"
    assert found["block.1/conv"] == Settings(
        precision="float32", rounding="nearest", activation_ranges="minmax"
    )
    assert found["head"] == Settings()


def test_a_rule_matches_whole_names_only():
    with pytest.raises(InvalidArgumentError, match="no node matches the rule for 'block'"):
        Recipe(rules=(Rule("block"),)).resolve(GRAPH)
    with pytest.raises(InvalidArgumentError, match="'stem' and op 'Add'"):
        Recipe(rules=(Rule("stem", "Add"),)).resolve(GRAPH)


def test_names_with_special_characters_are_matched_literally():
    rule = Rule.for_nodes(["block.0/conv"], precision="float32")
    assert [rule.matches(node) for node in GRAPH.nodes] == [False, True, False, False]


def test_file_round_trip(tmp_path):
    recipe = Recipe(
        Settings(weight_ranges="minmax", percentile=99.9, symmetric=True),
        (Rule("a|b", "Conv", {"precision": "dynamic"}),),
        equalize=False,
        smooth=None,
        optimization_samples=7,
        seed=3,
    )
    recipe.save(tmp_path / "r.json")
    assert Recipe.load(tmp_path / "r.json") == recipe
    assert json.loads((tmp_path / "r.json").read_text())["rules"][0]["precision"] == "dynamic"


@pytest.mark.parametrize(
    ("document", "error", "words"),
    [
        ([], FormatError, "JSON object"),
        ({"format": "octavo-recipe", "version": 2}, FormatError, "version 2"),
        ({"rulez": []}, InvalidArgumentError, "unknown entries"),
        ({"rules": [{"nodes": "("}]}, InvalidArgumentError, "not a regular expression"),
        ({"rules": [{"bits": 4}]}, InvalidArgumentError, "'bits' is unknown"),
        ({"rules": ["x"]}, FormatError, "not an object"),
        ({"defaults": {"precision": "int4"}}, InvalidArgumentError, "int8, int16"),
        ({"defaults": {"percentile": 0.5}}, InvalidArgumentError, "above 50"),
        ({"defaults": {"symmetric": 1}}, InvalidArgumentError, "true or false"),
        ({"defaults": {"percentile": "99"}}, InvalidArgumentError, "a number"),
        ({"smooth": 2}, InvalidArgumentError, "from 0 to 1"),
        ({"seed": -1}, InvalidArgumentError, "whole number"),
    ],
)
def test_bad_recipes_say_what_is_wrong(tmp_path, document, error, words):
    if isinstance(document, dict):
        document = {"format": "octavo-recipe", "version": 1, **document}
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(error, match=words) as caught:
        Recipe.load(tmp_path / "r.json")
    assert "r.json" in str(caught.value)


def test_damaged_and_missing_files(tmp_path):
    (tmp_path / "r.json").write_bytes(np.random.default_rng(1).bytes(200))
    with pytest.raises(FormatError, match="not JSON"):
        Recipe.load(tmp_path / "r.json")
    with pytest.raises(InvalidArgumentError, match="no such recipe"):
        Recipe.load(tmp_path / "none.json")

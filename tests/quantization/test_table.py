# SPDX-License-Identifier: Apache-2.0
"""The calibration table: read back it gives the same bytes, edited what it says, else an error."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mixed_nets import image_net

import octavo
from octavo.errors import FormatError, InvalidArgumentError
from octavo.quantization import Quantized, run_quantizer, save_table
from octavo.quantization.recipe import Recipe, Settings


@pytest.fixture(scope="module")
def model() -> octavo.Model:
    return octavo.Model(image_net(3, batch=1))


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((12, 9, 10, 3)).astype(np.float32)


def made(model: octavo.Model, data: np.ndarray | None, **options: Any) -> Quantized:
    return run_quantizer(model.source, data, **options)


def saved(result: Quantized) -> bytes:
    return octavo.Model(result.graph).plan_bytes().data


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(activation_type="s8", activation_ranges="percentile"),
        Settings(symmetric=True),
        Settings(symmetric=True, activation_type="s8", activation_ranges="minmax"),
    ],
)
def test_read_back_it_gives_the_same_bytes(
    model: octavo.Model, data: np.ndarray, tmp_path: Path, settings: Settings
) -> None:
    recipe = Recipe(settings)
    first = made(model, data, recipe=recipe)
    save_table(tmp_path / "t.json", first.table())
    again = made(model, data, recipe=recipe, table=tmp_path / "t.json")
    assert saved(again) == saved(first)
    without = made(model, None, recipe=recipe, table=tmp_path / "t.json")
    assert without.ranges.keys() == first.ranges.keys()
    for name, entry in first.ranges.items():
        assert without.ranges[name].affine.same(entry.affine), name
        assert without.ranges[name].dtype == settings.activation_type


def test_ranges_of_an_equalized_network_keep_it(model: octavo.Model, data: np.ndarray) -> None:
    first = made(model, data)
    table = first.table()
    assert table["equalized"]
    alone = made(model, None, table=table)
    assert alone.graph.metadata["equalized"] == table["equalized"]
    x = np.random.default_rng(1).standard_normal((1, 9, 10, 3)).astype(np.float32)
    want, got = (
        next(iter(octavo.Model(graph).compile().run(x).values()))
        for graph in (model.source, alone.graph)
    )
    assert np.square(want - got).sum() < 0.01 * np.square(want).sum()
    with pytest.raises(InvalidArgumentError, match="equalized by other data"):
        made(model, 3.0 * data, table=table)


def test_it_says_what_was_seen_and_chosen(model: octavo.Model, data: np.ndarray) -> None:
    table = made(model, data, ranges="minmax").table()
    assert table["samples"] == 12
    entry = table["tensors"]["x"]
    assert entry["observed"] == [float(data.min()), float(data.max())]
    assert [entry["low"], entry["high"]] == entry["observed"]
    assert entry["method"] == "minmax" and entry["dtype"] == "u8"
    assert entry["scale"] == float(np.float32((entry["high"] - entry["low"]) / 255))


def test_an_edited_range_counts_and_a_deleted_one_comes_from_the_data(
    model: octavo.Model, data: np.ndarray
) -> None:
    first = made(model, data)
    table = json.loads(json.dumps(first.table()))
    table["tensors"]["x"] |= {"low": -1.0, "high": 1.5}
    gone = next(name for name in table["tensors"] if name != "x")
    del table["tensors"][gone]
    result = made(model, data, table=table)
    assert (result.ranges["x"].low, result.ranges["x"].high) == (-1.0, 1.5)
    assert result.ranges["x"].method == "table"
    assert float(result.ranges["x"].affine.scale) == float(np.float32(2.5 / 255))
    assert result.ranges[gone] == first.ranges[gone]
    with pytest.raises(InvalidArgumentError, match="no range for"):
        made(model, None, table=table)


def shared(table: dict[str, Any], ranges: dict[str, Any]) -> str:
    """A tensor that shares its parameters with another."""
    seen: dict[int, str] = {}
    for name, entry in ranges.items():
        if id(entry) in seen:
            return name
        seen[id(entry)] = name
    raise AssertionError("no tensors share parameters")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"low": 1.0}, "contains 0"),
        ({"high": -1.0}, "contains 0"),
        ({"high": 1e39}, "finite"),
        ({"low": "a"}, "no number"),
        ({"low": True}, "no number"),
        ({"dtype": "u4"}, "u8 or s8"),
        ({"symmetric": 1}, "true or false"),
    ],
)
def test_bad_entries_are_named(
    model: octavo.Model, data: np.ndarray, entry: dict[str, Any], words: str
) -> None:
    table = copy.deepcopy(made(model, data).table())
    table["tensors"]["x"] |= entry
    with pytest.raises(InvalidArgumentError, match=f"tensor 'x'.*{words}"):
        made(model, data, table=table)


def test_unknown_missing_and_contradicting_tensors(model: octavo.Model, data: np.ndarray) -> None:
    first = made(model, data)
    table = copy.deepcopy(first.table())
    table["tensors"]["nonsense"] = table["tensors"]["x"]
    with pytest.raises(InvalidArgumentError, match=r"\['nonsense'\]"):
        made(model, data, table=table)
    del table["tensors"]["nonsense"]
    del table["tensors"]["x"]["low"]
    with pytest.raises(InvalidArgumentError, match="tensor 'x': no low"):
        made(model, data, table=table)
    with pytest.raises(FormatError, match="not an object"):
        made(model, data, table={"tensors": {"x": 3}})
    with pytest.raises(FormatError, match="tensors"):
        made(model, data, table={})
    with pytest.raises(InvalidArgumentError, match="needs calibration data"):
        made(model, None)


def test_a_table_alone_is_not_enough_for_16_bits(model: octavo.Model, data: np.ndarray) -> None:
    recipe = Recipe().with_defaults(precision="int16")
    table = made(model, data, recipe=recipe).table()
    assert saved(made(model, data, recipe=recipe, table=table))
    with pytest.raises(InvalidArgumentError, match="precision int16"):
        made(model, None, recipe=recipe, table=table)


def test_files_that_are_no_tables(model: octavo.Model, data: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(InvalidArgumentError, match="no such calibration table"):
        made(model, data, table=path)
    for text, words in [
        ("{", "not JSON"),
        ("[]", "no calibration table"),
        ('{"format": "octavo-calibration-table", "version": 9}', "version 9"),
    ]:
        path.write_text(text)
        with pytest.raises(FormatError, match=words):
            made(model, data, table=path)

# SPDX-License-Identifier: Apache-2.0
"""octavo compare: order and number of rows, the end-to-end line."""

import numpy as np
import pytest

import octavo


def rows(text):
    """The table's lines: between the rule and the end-to-end line."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("─")) + 1
    last = next(i for i, line in enumerate(lines) if line.startswith("  logits: SQNR"))
    return [line.split() for line in lines[first:last]]


@pytest.mark.parametrize("key, column", [("sqnr", 3), ("own", 4)])
def test_the_worst_come_first(octavo_cli, int8_plan, float_plan, digits, key, column):
    arguments = ("--reference", float_plan, "--input", digits)
    result = octavo_cli("compare", int8_plan, *arguments, "--sort", key, "--top", 5)
    assert result.code == 0, result.err
    found = [float(row[column].replace("∞", "inf")) for row in rows(result.out)]
    assert len(found) == 5 and found == sorted(found)
    everything = octavo.compare(int8_plan, float_plan, np.load(digits)).layers
    name = "sqnr_db" if key == "sqnr" else "own_db"
    assert found[0] == pytest.approx(min(getattr(layer, name) for layer in everything), abs=0.06)


def test_json_has_the_end_to_end_figures(octavo_cli, int8_plan, float_plan, digits):
    result = octavo_cli(
        "compare", int8_plan, "--reference", float_plan, "--input", digits, "--json"
    ).json
    assert result["samples"] == 40
    (output,) = result["end_to_end"]
    assert output["output"] == "logits" and output["top1_agreement"] >= 0.95
    assert output["cosine"] > 0.99 and output["sqnr_db"] > 20
    assert all("own_db" in layer for layer in result["layers"])

# SPDX-License-Identifier: Apache-2.0
"""`octavo sensitivity`."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import octavo

pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")


def test_a_table_a_recipe_and_a_picture(octavo_cli, float_onnx, digits, tmp_path):
    pytest.importorskip("matplotlib", reason="NOT RUN: needs pip install 'octavo[report]'")
    np.save(tmp_path / "labels.npy", np.zeros(40, np.int64))
    common = ("sensitivity", float_onnx, "--data", digits, "--journal", tmp_path / "j.jsonl")
    options = ("--suggest", tmp_path / "r.json", "--count", "2", "--png", tmp_path / "p.png")
    document = octavo_cli(*common, *options, "--json").json
    assert len(document["layers"]) >= 3
    assert [layer["rank"] for layer in document["layers"]][:2] == [1, 2]
    recipe = octavo.Recipe.load(tmp_path / "r.json")
    worst = [layer["node"] for layer in document["layers"][:2]]
    assert all(any(rule.matches(node) for rule in recipe.rules) for node in _nodes(worst))
    assert (tmp_path / "p.png").stat().st_size > 5000
    text = octavo_cli(*common)
    assert (text.code, worst[0] in text.out, "all in 8 bits" in text.out) == (0, True, True)
    metric = ("--metric", "accuracy", "--labels", tmp_path / "labels.npy", "--sweep", "only")
    shown = octavo_cli("sensitivity", float_onnx, "--data", digits, *metric)
    assert "only accuracy" in shown.out, shown
    assert "without" not in shown.out.replace("without dB", "").replace("without accuracy", "")


def _nodes(names):
    return [octavo.ir.Node(name, "Conv", (), ()) for name in names]


def test_refusals(octavo_cli, float_onnx, digits, tmp_path):
    common = ("sensitivity", float_onnx, "--data")
    octavo_cli(*common, tmp_path / "no.npy").refused("InvalidArgumentError", "no.npy")
    octavo_cli(*common, digits, "--labels", float_onnx).refused("FormatError", "whole numbers")
    octavo_cli(*common, digits, "--metric", "accuracy").refused("InvalidArgumentError", "labels")
    octavo_cli(*common, digits, "--recipe", digits).refused("FormatError", "JSON")


@pytest.mark.skipif(os.name == "nt", reason="NOT RUN: no SIGINT for a child on Windows")
def test_an_interrupt_leaves_a_journal_to_go_on_with(
    cli_environment, octavo_cli, float_onnx, digits, tmp_path
):
    journal = tmp_path / "j.jsonl"
    command = ("sensitivity", str(float_onnx), "--data", str(digits), "--sweep", "only")
    command = (*command, "--journal", str(journal))
    process = subprocess.Popen(
        [sys.executable, "-m", "octavo.cli", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cli_environment,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b"\n") >= 3:
            process.send_signal(signal.SIGINT)
            break
        time.sleep(0.005)
    out, err = process.communicate(timeout=60)
    if process.returncode != 0:  # else it was done before the signal came
        assert (process.returncode, out) == (130, "")
        assert "run the same command to go on" in err
    resumed = octavo_cli(*command, "--json")
    assert resumed.json == octavo_cli(*command[:-2], "--json").json

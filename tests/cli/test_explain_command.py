# SPDX-License-Identifier: Apache-2.0
"""octavo explain: text, JSON, page, refusals."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
report = pytest.importorskip("jinja2", reason="NOT RUN: needs pip install 'octavo[report]'")


def test_text_and_page(octavo_cli, int8_plan, float_plan, digits, tmp_path):
    page = tmp_path / "out.html"
    arguments = ("--reference", float_plan, "--input", digits, "--seconds", "0.02")
    result = octavo_cli("explain", int8_plan, *arguments, "--html", page)
    assert result.code == 0, result.err
    for word in ("latency", "SQNR", "findings", "own dB", "out.html"):
        assert word in result.out
    assert page.read_text("utf-8").startswith("<!doctype html>")


def test_json_names_a_fault(octavo_cli, int8_onnx, float_onnx, digits, tmp_path):
    bright = tmp_path / "bright.npy"
    np.save(bright, np.load(digits) * 255)
    found = octavo_cli(
        "explain", int8_onnx, "--reference", float_onnx, "--input", bright, "--seconds", "0.02",
        "--json",
    ).json  # fmt: skip
    assert found["findings"][0]["code"] == "input_range"
    assert "255" in found["findings"][0]["message"]
    assert found["layers"] and found["claims"] and found["cpu"]


def test_refusals(octavo_cli, int8_plan, digits, tmp_path):
    octavo_cli("explain", int8_plan, "--html", "x.pdf").refused("InvalidArgumentError", ".html")
    absent = tmp_path / "absent.npy"
    octavo_cli("explain", int8_plan, "--input", digits, "--labels", absent).refused(
        "InvalidArgumentError", "no such file"
    )


def test_the_page_names_the_extra(octavo_without, int8_plan, digits, tmp_path):
    arguments = ("--input", digits, "--seconds", "0.02", "--html", tmp_path / "x.html")
    octavo_without(["jinja2"], "explain", int8_plan, *arguments).refused(
        "MissingExtraError", "octavo[report]"
    )

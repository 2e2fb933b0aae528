# SPDX-License-Identifier: Apache-2.0
"""Every command does its work on the shipped network, as text and as JSON."""

import json
import shlex
import signal

import numpy as np
import pytest

import octavo
from octavo.cli import COMMANDS

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")


def test_help_lists_every_command(octavo_cli):
    result = octavo_cli("--help")
    assert result.code == 0
    listed = [line[4:].split(" ")[0] for line in result.out.splitlines() if line[:4] == "    "]
    assert set(COMMANDS) <= set(listed)


def test_version(octavo_cli):
    assert octavo_cli("--version").out == f"octavo {octavo.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_parses(octavo_cli, command):
    result = octavo_cli(command, "--help")
    assert result.code == 0 and "--json" in result.out
    (line,) = [line for line in result.out.splitlines() if line.startswith("example: ")]
    words = shlex.split(line.removeprefix("example: "))
    assert words[:2] == ["octavo", command]
    # An example with other files than ours gets as far as looking for them.
    if command not in ("demo", "doctor"):
        octavo_cli(*words[1:]).refused("InvalidArgumentError", "no such file")


def test_demo(octavo_cli):
    result = octavo_cli("demo", "--seconds", "0.02")
    assert result.code == 0, result.err
    for word in ("accuracy", "int8", "float32", "SQNR", "conv_s8"):
        assert word in result.out
    assert "Traceback" not in result.err


def test_demo_json_keeps_the_accuracy(octavo_cli):
    result = octavo_cli("demo", "--seconds", "0.02", "--json").json
    floating, quantized = result["networks"]
    assert (floating["name"], quantized["name"]) == ("float32", "int8")
    assert floating["accuracy"] >= 0.97
    assert result["accuracy_drop_points"] <= 0.5
    assert quantized["bytes"] < floating["bytes"]
    assert result["layers"] and all(layer["us"] > 0 for layer in result["layers"])
    assert result["arena_bytes"] >= result["lower_bound_bytes"] > 0


@pytest.mark.parametrize("model", ["int8_plan", "int8_onnx", "float_onnx"])
def test_inspect(octavo_cli, request, model):
    path = request.getfixturevalue(model)
    text = octavo_cli("inspect", path)
    assert text.code == 0 and "MMAC" in text.out and "Conv" in text.out
    found = octavo_cli("inspect", path, "--json").json
    loaded = octavo.load(path)
    assert found["macs"] == loaded.macs > 0
    assert found["weight_bytes"] == loaded.weight_bytes
    assert len(found["layers"]) == len(loaded.graph.nodes)


@pytest.mark.parametrize("model", ["int8_plan", "int8_onnx"])
def test_run_gives_what_the_library_gives(octavo_cli, request, model, digits, tmp_path):
    path, target = request.getfixturevalue(model), tmp_path / "y.npz"
    result = octavo_cli("run", path, "--input", digits, "--output", target, "--json")
    assert result.code == 0, result.err
    expected = octavo.load(path).compile().run(np.load(digits))
    with np.load(target) as found:
        assert set(found.files) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
    (row,) = result.json["outputs"]
    assert row["shape"] == [40, 10] and len(row["sha256"]) == 64


def test_run_has_the_same_hash_on_every_isa_and_thread_count(octavo_cli, int8_plan, digits):
    hashes = set()
    for isa in [row["name"] for row in octavo.cpu_info()["isas"] if row["supported"]]:
        for threads in (1, 2, 3):
            result = octavo_cli("run", int8_plan, "--input", digits, "--json", "--isa", isa,
                                "--threads", threads)  # fmt: skip
            assert result.code == 0, result.err
            hashes.add(result.json["outputs"][0]["sha256"])
    assert len(hashes) == 1


def test_run_takes_npz_by_input_name(octavo_cli, int8_plan, digits, tmp_path):
    (info,) = octavo.load(int8_plan).inputs
    path = tmp_path / "x.npz"
    np.savez(path, **{info.name: np.load(digits)})
    both = [octavo_cli("run", int8_plan, "--input", file, "--json").json for file in (path, digits)]
    assert both[0] == both[1]


def test_run_prints_a_table_and_the_seed(octavo_cli, int8_plan):
    result = octavo_cli("run", int8_plan, "--seed", 5)
    assert "seed 5" in result.out and "sha256" in result.out
    again = octavo_cli("run", int8_plan, "--seed", 5)
    assert again.out == result.out


def test_strict_run_of_an_int8_network(octavo_cli, int8_plan):
    assert octavo_cli("run", int8_plan, "--strict").code == 0


@pytest.mark.parametrize("extra", [[], ["--ranges", "minmax"]])
@pytest.mark.parametrize("ending", ["onnx", "octavo"])
def test_quantize(octavo_cli, float_onnx, digits, tmp_path, ending, extra):
    pytest.importorskip("rich", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    target = tmp_path / f"q.{ending}"
    result = octavo_cli("quantize", float_onnx, "--calibration", digits, "--output", target,
                        "--json", *extra)  # fmt: skip
    assert result.code == 0, result.err
    assert result.json["bytes"] == target.stat().st_size
    assert result.json["weight_bytes"] < result.json["weight_bytes_float"] / 3
    assert result.json["float_steps"] == {}
    outputs = octavo.load(target).compile(strict=True).run(np.load(digits))
    expected = octavo.load(float_onnx).compile().run(np.load(digits))
    (found,), (want,) = outputs.values(), expected.values()
    assert np.mean(found.argmax(1) == want.argmax(1)) >= 0.95


def test_quantize_excludes_a_node_and_says_so(octavo_cli, float_onnx, tmp_path):
    pytest.importorskip("rich", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    layers = octavo_cli("inspect", float_onnx, "--json").json["layers"]
    node = next(layer["node"] for layer in layers if layer["op"] == "Conv")
    result = octavo_cli("quantize", float_onnx, "--random-calibration", 2, "--exclude", node,
                        "--output", tmp_path / "q.onnx")  # fmt: skip
    assert result.code == 0, result.err
    assert f"float32: {node}" in result.out


def test_compare(octavo_cli, int8_plan, float_plan, digits):
    arguments = ("compare", int8_plan, "--reference", float_plan, "--input", digits)
    text = octavo_cli(*arguments)
    assert text.code == 0 and "SQNR dB" in text.out
    found = octavo_cli(*arguments, "--json").json
    assert found["first_broken"] is None
    assert all(layer["sqnr_db"] > 15 for layer in found["layers"])
    assert found["outputs"]


def test_bench(octavo_cli, int8_plan):
    text = octavo_cli("bench", int8_plan, "--seconds", "0.02")
    assert text.code == 0 and "GMAC/s" in text.out and "conv_s8" in text.out
    found = octavo_cli("bench", int8_plan, "--seconds", "0.02", "--threads", "1,2", "--json").json
    assert found["schema"] == "octavo-bench"
    assert [model["threads"] for model in found["models"]] == [1, 2]
    for model in found["models"]:
        timing = model["runtimes"]["octavo"]["timing"]
        assert timing["median_ms"] >= timing["min_ms"] > 0
        assert model["layers"] and model["bytes"]["packed"] > 0


@pytest.mark.witness
def test_bench_against_a_peer(octavo_cli, int8_onnx, tmp_path):
    pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
    pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    pytest.importorskip("matplotlib", reason="NOT RUN: needs .[dev]")
    files = [tmp_path / name for name in ("b.json", "b.png", "r.png")]
    result = octavo_cli(
        "bench", int8_onnx, "--vs", "onnxruntime", "--seconds", "0.02", "--load-repeats", 1,
        "--json", files[0], "--png", files[1], "--roofline", files[2],
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "geometric mean" in result.out and "octavo .octavo" in result.out
    (model,) = json.loads(files[0].read_text())["models"]
    assert model["best_peer"] == "onnxruntime"
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files[1:])


def test_profile(octavo_cli, int8_plan, tmp_path):
    trace = tmp_path / "t.json"
    text = octavo_cli("profile", int8_plan, "--repeats", 2, "--trace", trace)
    assert text.code == 0 and "conv_s8" in text.out and "perfetto" in text.out
    assert json.loads(trace.read_text())["traceEvents"]
    assert octavo_cli("profile", int8_plan, "--repeats", 2, "--json").json["layers"]


def test_doctor(octavo_cli):
    text = octavo_cli("doctor")
    assert text.code == 0 and "all usable kernels equal scalar" in text.out
    found = octavo_cli("doctor", "--json").json
    assert found["ok"] and found["versions"]["octavo"] == octavo.__version__
    statuses = {row["status"] for row in found["selftest"]}
    assert "ok" in statuses and statuses <= {"ok", "NOT RUN"}
    assert found["peak_gmacs"]["scalar"] > 0


def test_doctor_fails_when_a_kernel_does(octavo_cli, monkeypatch):
    from octavo.cli import doctor_command
    from octavo.selftest import SelfTestRow

    broken = [SelfTestRow("gemm_s8_4x16c4_avx2", "avx2", 8, "FAILED")]
    monkeypatch.setattr(doctor_command, "run_selftest", lambda seed: broken)
    result = octavo_cli("doctor")
    assert result.code == 1 and "1 kernels FAILED" in result.out
    assert octavo_cli("doctor", "--json").json["ok"] is False


def test_quantize_on_a_folder_of_images(octavo_cli, float_onnx, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="NOT RUN: needs .[dev]")
    shape = octavo.load(float_onnx).source.inputs
    (info,) = octavo.load(float_onnx).inputs
    assert shape == (info.name,)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for index in range(5):
        pixels = rng.integers(0, 256, (20, 22), np.uint8)
        image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
    arguments = ("quantize", float_onnx, "--calibration", tmp_path / "images", "--samples", 3,
                 "--preprocess", "unit", "--mean", "0.5", "--std", "0.5")  # fmt: skip
    result = octavo_cli(*arguments, "--output", tmp_path / "q.onnx", "--json").json
    assert result["samples"] == 3
    assert result["preprocessing"]["mean"] == [0.5] and result["preprocessing"]["color"] == "gray"
    shown = octavo_cli("inspect", tmp_path / "q.onnx")
    assert "preprocessing: gray, resize" in shown.out and "mean (0.5)" in shown.out
    inspected = octavo_cli("inspect", tmp_path / "q.onnx", "--json").json
    assert inspected["metadata"]["preprocessing"] == result["preprocessing"]
    octavo_cli(*arguments[:4], "--output", tmp_path / "q.onnx").refused(
        "InvalidArgumentError", "preprocess='imagenet'"
    )
    octavo_cli(*arguments, "--crop", "9000", "--output", tmp_path / "q.onnx").refused(
        "InvalidArgumentError", "set resize, crop"
    )


def test_ctrl_c_leaves_a_checkpoint_that_goes_on(
    octavo_cli, float_onnx, digits, tmp_path, monkeypatch
):
    pytest.importorskip("rich", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    from octavo.quantization.runner import GraphRunner

    def quantize(name, *more):
        return octavo_cli("quantize", float_onnx, "--calibration", digits, "--output",
                          tmp_path / name, *more)  # fmt: skip

    assert quantize("whole.octavo", "--no-checkpoint").code == 0
    run, calls = GraphRunner.run, []

    def pressed(self, inputs):
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return run(self, inputs)

    monkeypatch.setattr(GraphRunner, "run", pressed)
    stopped = quantize("q.octavo")
    assert stopped.code == 130 and not (tmp_path / "q.octavo").exists()
    assert f"{tmp_path / 'q.octavo'}.calibration': the same command goes on" in stopped.err
    assert (tmp_path / "q.octavo.calibration").exists()
    assert quantize("q.octavo").code == 0
    assert not (tmp_path / "q.octavo.calibration").exists()
    assert (tmp_path / "q.octavo").read_bytes() == (tmp_path / "whole.octavo").read_bytes()


def test_quantize_writes_a_table_and_takes_an_edited_one(octavo_cli, float_onnx, digits, tmp_path):
    pytest.importorskip("rich", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    table = tmp_path / "t.json"

    def quantize(name, *more):
        result = octavo_cli("quantize", float_onnx, "--output", tmp_path / name, *more)
        assert result.code == 0, result.err
        return result

    first = quantize("a.octavo", "--calibration", digits, "--table", table)
    assert " % of tensors within 1 %" in first.out
    judged = quantize("b.octavo", "--calibration", digits, "--json").json["confidence"]
    assert judged["samples"] >= 32 and judged["changes"].keys() <= judged["costs_db"].keys()
    quantize("c.octavo", "--from-table", table, "--calibration", digits)
    assert (tmp_path / "c.octavo").read_bytes() == (tmp_path / "a.octavo").read_bytes()
    edited = json.loads(table.read_text())
    name = next(iter(edited["tensors"]))
    edited["tensors"][name]["high"] *= 2
    table.write_text(json.dumps(edited))
    quantize("d.octavo", "--from-table", table, "--table", tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())["tensors"][name]
    assert again["high"] == edited["tensors"][name]["high"] and again["method"] == "table"

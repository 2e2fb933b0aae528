# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.models`: from QDQ files to report, chart and exit code."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: the benchmark reads ONNX files: .[dev]")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from bench import models, onnx_info, twins, zoo  # noqa: E402
from octavo.benchmark.static_shapes import fix_shapes  # noqa: E402

STEP = 0.25
QUICK = ["--rounds", "2", "--load-repeats", "0"]


@pytest.fixture
def qdq_path(tmp_path):
    """A QDQ Gemm, (N, 16) → (N, 4), output step 0.25.

    Weights have 7 bits: with 8, ONNX Runtime saturates on CPUs without VNNI (18 steps off here).
    """
    rng = np.random.default_rng(11)
    constants = {
        "scale_in": np.float32(0.02),
        "zero_in": np.uint8(110),
        "weight_q": rng.integers(-63, 64, (4, 16), dtype=np.int8),
        "scale_w": np.float32(0.01),
        "zero_w": np.int8(0),
        "scale_out": np.float32(STEP),
        "zero_out": np.uint8(128),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale_in", "zero_in"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "scale_in", "zero_in"], ["x_dq"]),
        helper.make_node("DequantizeLinear", ["weight_q", "scale_w", "zero_w"], ["weight"]),
        helper.make_node("Gemm", ["x_dq", "weight"], ["sum"], transB=1),
        helper.make_node("QuantizeLinear", ["sum", "scale_out", "zero_out"], ["y_q"]),
        helper.make_node("DequantizeLinear", ["y_q", "scale_out", "zero_out"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "gemm_qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "gemm_qdq.onnx"
    onnx.save_model(model, path)
    return path


def test_facts_of_a_qdq_model(qdq_path):
    model = onnx.load_model(qdq_path)
    assert onnx_info.count_macs(model) == 64
    assert onnx_info.output_steps(model) == {"y": STEP}
    (spec,) = onnx_info.input_specs(model)
    assert (spec.name, spec.dtype, spec.shape) == ("x", np.float32, (1, 16))


@pytest.mark.parametrize("batch", [1, 3])
def test_fix_shapes_leaves_static_shapes(qdq_path, tmp_path, batch):
    fix_shapes(qdq_path, tmp_path / "fixed.onnx", {"x": (batch, 16)} if batch > 1 else None)
    model = onnx.load_model(tmp_path / "fixed.onnx")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [batch, 16]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == batch
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.witness
def test_command_line_on_a_ready_qdq_model(qdq_path, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    out = tmp_path / "out.json"
    peers = "onnxruntime,onnxruntime-unfused"
    command = ["--models", str(qdq_path), "--peers", peers, "--json", str(out), *QUICK]
    assert models.main(command) == 0
    printed = capsys.readouterr().out
    assert "gemm_qdq" in printed and "geometric mean of 1" in printed
    report = json.loads(out.read_text())
    assert (report["schema"], report["version"]) == ("octavo-bench", 1)
    (model,) = report["models"]
    assert (model["macs"], model["threads"]) == (64, 1)
    own, peer = model["runtimes"]["octavo"], model["runtimes"]["onnxruntime"]
    assert model["ratio_min"] == peer["timing"]["min_ms"] / own["timing"]["min_ms"]
    assert 0 < peer["timing"]["min_ms"] <= peer["timing"]["median_ms"]
    assert own["precision"] == peer["precision"] == {"int8": 1}
    assert peer["agreement"]["max_steps"] <= 1
    witness = model["runtimes"]["onnxruntime-unfused"]
    assert witness["timing"] is None
    assert witness["agreement"]["max_steps"] <= 1
    assert report["versions"]["onnxruntime"]
    assert report["machine"]["cpus"] >= 1
    assert {layer["op"] for layer in model["layers"]} >= {"linear_s8"}


def test_two_thread_counts_and_load_figures(qdq_path, tmp_path):
    out = tmp_path / "out.json"
    arguments = ["--models", str(qdq_path), "--peers", "", "--threads", "1,2", "--rounds", "1"]
    assert models.main([*arguments, "--load-repeats", "1", "--json", str(out)]) == 0
    one, two = json.loads(out.read_text())["models"]
    assert (one["threads"], two["threads"]) == (1, 2)
    assert set(one["loads"]) == {"octavo .onnx", "octavo .octavo"} and not two["loads"]
    assert all(load["load_ms"] > 0 for load in one["loads"].values())
    assert one["bytes"]["packed"] > 0 and one["bytes"]["arena"] > 0


def test_pieces_are_merged_without_measuring(qdq_path, tmp_path, capsys):
    pieces = [tmp_path / "a.json", tmp_path / "b.json"]
    arguments = ["--models", str(qdq_path), "--peers", "", *QUICK]
    for threads, piece in zip(("1", "2"), pieces, strict=True):
        assert models.main([*arguments, "--threads", threads, "--json", str(piece)]) == 0
    merged = tmp_path / "all.json"
    capsys.readouterr()
    assert models.main(["--from", *map(str, pieces), "--json", str(merged)]) == 0
    assert "1 thread" in capsys.readouterr().out
    assert [m["threads"] for m in json.loads(merged.read_text())["models"]] == [1, 2]
    assert models.main(["--from", str(merged), "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert "| 1 thread | MMAC | Octavo" in printed and "| 2 threads |" in printed
    assert printed.count("| gemm_qdq | 0.0 |") == 2


def _slower(path, factor):
    """The report with octavo's times multiplied."""
    report = json.loads(path.read_text())
    for model in report["models"]:
        timing = model["runtimes"]["octavo"]["timing"]
        timing["min_ms"] *= factor
        timing["rounds_ms"] = [[low * factor, mid * factor] for low, mid in timing["rounds_ms"]]
    return report


def test_compare_exits_with_3_when_octavo_became_slower(qdq_path, tmp_path, capsys):
    old, new, faster = (tmp_path / name for name in ("old.json", "new.json", "faster.json"))
    arguments = ["--models", str(qdq_path), "--peers", "", *QUICK]
    assert models.main([*arguments, "--json", str(old)]) == 0
    new.write_text(json.dumps(_slower(old, 10)))
    faster.write_text(json.dumps(_slower(old, 0.1)))
    capsys.readouterr()
    assert models.main(["--from", str(new), "--compare", str(old)]) == 3
    assert "SLOWER gemm_qdq, 1 thread(s): +900.0 %" in capsys.readouterr().out
    assert models.main(["--from", str(faster), "--compare", str(old)]) == 0
    assert models.main(["--from", str(old), "--compare", str(old)]) == 0


def test_compare_with_no_report_is_refused_before_measuring(qdq_path, tmp_path, capsys):
    arguments = ["--models", str(qdq_path), "--peers", "", *QUICK]
    assert models.main([*arguments, "--compare", str(tmp_path / "absent.json")]) == 2
    assert "no such file" in capsys.readouterr().err


@pytest.mark.witness
def test_charts(qdq_path, tmp_path):
    pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    pytest.importorskip("matplotlib", reason="NOT RUN: needs .[dev]")
    bars, layers = tmp_path / "bars.png", tmp_path / "layers.png"
    args = ["--models", str(qdq_path), "--peers", "onnxruntime", "--threads", "1,2", *QUICK]
    assert models.main([*args, "--png", str(bars), "--roofline", str(layers)]) == 0
    assert bars.read_bytes().startswith(b"\x89PNG")
    assert layers.read_bytes().startswith(b"\x89PNG")


def test_litert_runs_the_twin_of_the_same_architecture(tmp_path, capsys):
    pytest.importorskip("ai_edge_litert", reason="NOT RUN: LiteRT is not installed: .[bench]")
    if twins.twin("ad_autoencoder") is None:
        pytest.skip(f"NOT RUN: {twins.absent()}")
    out = tmp_path / "out.json"
    cache = ["--cache", str(tmp_path), "--json", str(out)]
    assert models.main(["--only", "ad_autoencoder", "--peers", "litert", *cache, *QUICK]) == 0
    assert twins.NOTE in capsys.readouterr().out
    (model,) = json.loads(out.read_text())["models"]
    assert model["best_peer"] == "litert"
    litert = model["runtimes"]["litert"]
    assert litert["note"] == twins.NOTE and litert["precision"] == {"int8": 1}
    assert litert["agreement"] is None


def test_every_twin_is_of_a_network_of_the_zoo():
    assert set(twins.TWINS) <= set(zoo.ZOO)


def test_unreadable_model_is_reported(tmp_path, capsys):
    path = tmp_path / "no.onnx"
    assert models.main(["--models", str(path), "--peers", "", *QUICK]) == 1
    assert "FAILED no: FileNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args",
    [["--only", "nope"], ["--peers", "nope"], ["--threads", "0"], ["--threads", "x"],
     ["--rounds", "0"]],
)  # fmt: skip
def test_wrong_arguments_are_refused(args):
    with pytest.raises(SystemExit) as stopped:
        models.main(args)
    assert stopped.value.code == 2

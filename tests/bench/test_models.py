# SPDX-License-Identifier: Apache-2.0
"""The model benchmark: agreement and timing figures, report, command line."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: the benchmark reads ONNX files: .[dev]")
pytest.importorskip("rich", reason="NOT RUN: the benchmark prints with rich: .[dev]")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from bench import models, onnx_info, qdq_cache, results, runtimes, timing  # noqa: E402

STEP = 0.25


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


def test_fix_batch_leaves_static_shapes(qdq_path, tmp_path):
    qdq_cache.fix_batch(qdq_path, tmp_path / "fixed.onnx")
    model = onnx.load_model(tmp_path / "fixed.onnx")
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 16]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 1
    onnx.checker.check_model(model, full_check=True)


def test_agreement_counts_levels_not_roundings():
    expected = np.array([0.0, 1.0, 2.0, 3.0]) * STEP
    actual = np.array([1e-7, 1.0, 3.0, -2.0 + 1e-7]) * STEP
    found = results.agreement([{"y": expected}], [{"y": actual}], {"y": STEP})
    assert found.equal == 0.5
    assert found.max_steps == 5
    assert found.max_abs == pytest.approx(5 * STEP)


def test_agreement_without_a_step_is_bit_for_bit():
    expected = np.array([1.0, 2.0], np.float32)
    found = results.agreement([{"y": expected}], [{"y": np.nextafter(expected, 9)}], {"y": None})
    assert found.equal == 0
    assert found.max_steps is None


def test_agreement_refuses_other_shapes():
    with pytest.raises(ValueError, match="shapes"):
        results.agreement([{"y": np.zeros(3)}], [{"y": np.zeros(4)}], {"y": None})


def test_agreement_counts_nan_as_different_and_has_no_maximum():
    found = results.agreement([{"y": np.zeros(2)}], [{"y": np.array([0, np.nan])}], {"y": STEP})
    assert found.equal == 0.5
    assert found.max_abs is None
    assert found.max_steps is None


def test_interleave_gives_every_contender_every_round():
    order = []
    contenders = {name: lambda name=name: order.append(name) for name in "abc"}
    timings = timing.interleave(contenders, rounds=4, turn_seconds=0.0)
    assert [len(t.rounds_ms) for t in timings.values()] == [4, 4, 4]
    assert {t.calls for t in timings.values()} == {4 * 3}
    assert all(0 < t.min_ms <= t.median_ms for t in timings.values())
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    # Warm-up in order, then the first of each round rotates; equal neighbours merge.
    assert "".join(turns) == "abc" + "abcbcacababc"


def test_ratios_compare_with_the_best_peer():
    def timed(low, mid):
        return results.RuntimeResult(timing=timing.Timing(low, mid, 1, [(low, mid)]))

    result = results.ModelResult("m", macs=2_000_000, peak_gmacs_per_s=4.0)
    result.runtimes = {"octavo": timed(0.5, 1.0), "p": timed(1.4, 3.0), "q": timed(1.5, 2.0)}
    result.derive(threads=1)
    assert result.best_peer == "q"
    assert result.ratio_median == 2.0
    assert result.ratio_min == pytest.approx(2.8)
    assert result.runtimes["octavo"].gmacs_per_s == pytest.approx(2.0)
    assert result.runtimes["octavo"].peak_share == pytest.approx(0.5)


def test_missing_runtimes_name_their_install_command(monkeypatch):
    monkeypatch.setitem(runtimes.PEERS, "nothere", type("NotHere", (runtimes.OnnxRuntime,), {}))

    def refuse(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(runtimes.importlib, "import_module", refuse)
    found, missing = runtimes.open_runtimes(["nothere"], isa=None)
    assert found == {}
    assert missing["octavo"] == "No module named 'octavo': pip install ."
    assert missing["nothere"].endswith("pip install onnxruntime")


@pytest.mark.witness
def test_command_line_on_a_ready_qdq_model(qdq_path, tmp_path, capsys):
    pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    out = tmp_path / "out.json"
    peers = "onnxruntime,onnxruntime-unfused"
    code = models.main(
        ["--models", str(qdq_path), "--peers", peers, "--rounds", "2", "--json", str(out)]
    )
    assert code == 0
    printed = capsys.readouterr().out
    assert "gemm_qdq" in printed
    report = json.loads(out.read_text())
    (model,) = report["models"]
    assert model["macs"] == 64
    figures = model["runtimes"]["onnxruntime"]
    assert 0 < figures["timing"]["min_ms"] <= figures["timing"]["median_ms"]
    witness = model["runtimes"]["onnxruntime-unfused"]
    assert witness["timing"] is None
    assert witness["agreement"]["max_steps"] <= 1
    assert report["versions"]["onnxruntime"]
    assert report["machine"]["cpus"] >= 1


@pytest.mark.witness
def test_chart(qdq_path, tmp_path):
    pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    pytest.importorskip("matplotlib", reason="NOT RUN: needs .[dev]")
    png = tmp_path / "out.png"
    args = ["--models", str(qdq_path), "--peers", "onnxruntime", "--rounds", "1"]
    assert models.main([*args, "--png", str(png)]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")


def test_unreadable_model_is_reported(tmp_path, capsys):
    path = tmp_path / "no.onnx"
    assert models.main(["--models", str(path), "--peers", "", "--rounds", "1"]) == 1
    assert "FAILED no: FileNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "args", [["--only", "nope"], ["--peers", "nope"], ["--threads", "0"], ["--rounds", "0"]]
)
def test_wrong_arguments_are_refused(args):
    with pytest.raises(SystemExit) as stopped:
        models.main(args)
    assert stopped.value.code == 2

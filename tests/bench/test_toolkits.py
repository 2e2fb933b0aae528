# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.toolkits`: a table from toolkits that work, fail and are absent."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: the networks are ONNX files: .[dev]")
pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")

from bench import accuracy, toolkits  # noqa: E402

NET = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 8, 8] x) => (float[N, 5] y) {
  c = Conv<kernel_shape = [3, 3], strides = [2, 2]>(x, w)
  r = Relu(c)
  g = GlobalAveragePool(r)
  f = Flatten(g)
  y = Gemm<transB = 1>(f, v)
}
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """`bench.accuracy` with one small network of random weights."""
    rng = np.random.default_rng(5)
    model = onnx.parser.parse_model(NET)
    for name, shape in (("w", (8, 3, 3, 3)), ("v", (5, 8))):
        data = rng.normal(0, 0.5, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
    folder = tmp_path / "models" / "float"
    folder.mkdir(parents=True)
    onnx.save_model(model, folder / "net.onnx")
    images = rng.normal(0, 1, (60, 3, 8, 8)).astype(np.float32)

    def data():
        return images, rng.integers(0, 5, 60), images[:23]

    monkeypatch.setattr(accuracy, "SHARED", tmp_path)
    monkeypatch.setattr(accuracy, "SUITE", {"net": ("net.onnx", data)})
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["toolkits", *map(str, arguments)])
    return toolkits.main()


def test_table_of_onnxruntime_and_ours(suite, monkeypatch, capsys):
    names = "onnxruntime min-max,onnxruntime entropy"
    assert run(monkeypatch, "--toolkits", names, "--json", suite / "rows.json") == 0
    rows = json.loads((suite / "rows.json").read_text())
    assert [row["toolkit"] for row in rows] == [*names.split(","), "octavo default"]
    assert all(row["agreement"] > 80 and row["sqnr_db"] > 15 for row in rows)
    assert "| onnxruntime entropy | " in capsys.readouterr().out


def test_failing_and_absent_toolkits_are_named(suite, monkeypatch, capsys):
    def failing(*_):
        raise RuntimeError("no such layer\nin this network")

    def absent(*_):
        raise ImportError("no module named 'other'")

    monkeypatch.setattr(toolkits, "TOOLKITS", {"failing": failing, "absent": absent})
    ours = [{"model": "net", "ranges": "mse", "int8_top1": 1, "agreement": 2, "sqnr_db": 3}]
    (suite / "ours.json").write_text(json.dumps(ours))
    arguments = ("--toolkits", "failing,absent", "--ours", suite / "ours.json")
    assert run(monkeypatch, *arguments) == 0
    found = capsys.readouterr()
    assert "| failing | failed (RuntimeError: no such layer) |" in found.out
    assert "| octavo mse | 1.00 · 2.00 · 3.0 |" in found.out
    assert "NOT RUN net, absent" in found.err


def test_absent_networks_are_named(suite, monkeypatch, capsys):
    monkeypatch.setattr(accuracy, "SHARED", suite / "nowhere")
    assert run(monkeypatch) == 2
    assert "NOT RUN net: net.onnx" in capsys.readouterr().err

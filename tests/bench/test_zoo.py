# SPDX-License-Identifier: Apache-2.0
"""The benchmark networks: published sizes, sane activations, same model from the same seed."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: the zoo is built with the onnx package: .[dev]")

from bench import inputs, onnx_info, zoo  # noqa: E402

# Millions of multiply-accumulates as published (papers; MLPerf Tiny reference models).
PUBLISHED_MMACS = {
    "mobilenet_v1": 569,
    "mobilenet_v2": 300,
    "resnet18": 1820,
    "resnet50": 4090,
    "squeezenet1_1": 349,
    "kws_ds_cnn": 2.7,
    "resnet8": 12.5,
    "vww_mobilenet_v1_025_96": 7.5,
    "ad_autoencoder": 0.26,
    "minilm_l6_128": 1430,
}
SMALL = ["kws_ds_cnn", "resnet8", "vww_mobilenet_v1_025_96", "ad_autoencoder", "squeezenet1_1"]


def test_table_of_published_sizes_is_complete():
    assert set(PUBLISHED_MMACS) == set(zoo.ZOO)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_macs_match_the_published_network(name):
    # Published numbers are rounded to two or three digits, hence 2 %.
    assert zoo.macs(name) / 1e6 == pytest.approx(PUBLISHED_MMACS[name], rel=0.02)


@pytest.mark.witness
@pytest.mark.parametrize("name", SMALL)
def test_every_activation_is_finite_bounded_and_depends_on_the_input(name):
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    model = zoo.ZOO[name]()
    taps = [n.output[0] for n in model.graph.node if n.op_type in ("Conv", "Gemm", "Add")]
    known = {o.name for o in model.graph.output}
    make_info = onnx.helper.make_empty_tensor_value_info
    model.graph.output.extend(make_info(t) for t in taps if t not in known)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = zoo.random_input(name, seed=7, batch=4)
    names = [o.name for o in session.get_outputs()]
    values = dict(zip(names, session.run(names, {"input": x}), strict=True))
    for tap in [*taps, "output"]:
        value = values[tap]
        assert np.isfinite(value).all(), tap
        assert np.abs(value).max() < 40, tap
        assert value.std(axis=0).max() > 1e-2, f"{tap} is the same for every sample"
        if tap != "output":
            assert 0.1 < value.std() < 4, tap


def test_same_seed_same_model():
    first, second = (zoo.ZOO["kws_ds_cnn"]().SerializeToString() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", zoo.ZOO)
def test_random_input(name):
    x = zoo.random_input(name, seed=3, batch=2)
    assert x.shape == (2, *zoo.input_shape(name))
    assert x.dtype == np.float32
    assert x.min() >= -2.2 and x.max() <= 2.7
    assert x.std(axis=tuple(range(1, x.ndim))).min() > 0.1
    np.testing.assert_array_equal(x, zoo.random_input(name, seed=3, batch=2))
    assert not np.array_equal(x[0], x[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32])
def test_random_feed_keeps_dtype_and_fills_the_range(dtype):
    x = inputs.random_feed((1, 3, 32, 32), np.dtype(dtype), seed=5)
    assert x.dtype == dtype
    assert len(np.unique(x)) > 100


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_random_feed_of_wide_integers_are_indices(dtype):
    x = inputs.random_feed((2, 64), np.dtype(dtype), seed=5)
    assert x.dtype == dtype and x.shape == (2, 64) and x.min() >= 0 and x.max() < 100


def test_random_feed_refuses_strings():
    with pytest.raises(TypeError, match="no random input"):
        inputs.random_feed((1, 4), np.dtype("U1"), seed=0)


def test_macs_of_a_model_without_shapes_are_refused():
    model = zoo.ZOO["resnet8"]()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ValueError, match="shapes are not known"):
        onnx_info.count_macs(model)


def test_command_line_writes_the_model(tmp_path, capsys):
    zoo.main(["--out", str(tmp_path), "--only", "ad_autoencoder"])
    assert "0.26 M MAC" in capsys.readouterr().out
    onnx.checker.check_model(str(tmp_path / "ad_autoencoder.onnx"), full_check=True)

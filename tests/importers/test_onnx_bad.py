# SPDX-License-Identifier: Apache-2.0
"""Bad ONNX input: each kind is a documented error that names the node; nothing else leaks."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from octavo.errors import (
    FormatError,
    GraphError,
    InvalidArgumentError,
    LimitError,
    MissingExtraError,
    OctavoError,
    QuantizationError,
    ShapeError,
    UnsupportedError,
)
from octavo.importers.onnx import load_onnx
from octavo.passes import run_pipeline

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
node = onnx.helper.make_node
SEED = 20240615
IMAGE = [1, 2, 5, 5]
W = np.ones((3, 2, 3, 3), np.float32)


def qdq(scale=0.1, zero_point=0, kind=np.uint8, bits=np.uint8):
    """x -> Q -> DQ -> y with these parameters on the DQ side."""
    constants = {
        "s": np.float32(0.1),
        "z": bits(0),
        "s2": np.asarray(scale, np.float32),
        "z2": np.asarray(zero_point, kind),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"], name="write"),
        node("DequantizeLinear", ["q", "s2", "z2"], ["y"], name="read"),
    ]
    return nodes, constants


def single(op, *inputs, constants=None, name="bad", **attrs):
    return [node(op, list(inputs), ["y"], name=name, **attrs)], constants or {}


MODELS = {
    "unknown_op": (single("Einsum", "x", equation="ijkl->ijkl"), UnsupportedError, "'bad' .Einsum"),
    "unknown_domain": (
        single("Relu", "x", domain="org.example"), UnsupportedError, "org.example:Relu",
    ),
    "gather_index_of_floats": (
        single("Gather", "x", "i", constants={"i": np.float32(1.5)}),
        FormatError, "'bad'.*must be an integer, not float32",
    ),
    "gather_index_outside": (
        single("Gather", "x", "i", constants={"i": np.int64(-2)}), FormatError, "'bad'.*index -2",
    ),
    "gather_axis_outside": (
        single("Gather", "x", "i", constants={"i": np.int64([0])}, axis=4),
        FormatError, "'bad'.*axis 4",
    ),
    "conv_transpose": (
        single("ConvTranspose", "x", "w", constants={"w": W.transpose(1, 0, 2, 3)}),
        UnsupportedError, "replace it by Resize and Conv",
    ),
    "conv_3d": (
        single("Conv", "u", "w", constants={"w": np.ones((1, 1, 1, 1, 1), np.float32),
                                            "u": np.ones((1, 1, 2, 2, 2), np.float32)}),
        UnsupportedError, "rank 5; only 1-D and 2-D",
    ),
    "conv_dynamic_weights": (single("Conv", "x", "x"), UnsupportedError, "weights 'x' must be"),
    "conv_dynamic_bias": (
        ([node("Relu", ["c"], ["b"]), *single("Conv", "x", "w", "b")[0]],
         {"w": W, "c": np.ones(3, np.float32)}),
        UnsupportedError, "bias 'b' is computed",
    ),
    "conv_wrong_channels": (
        single("Conv", "x", "w", constants={"w": np.ones((3, 5, 3, 3), np.float32)}),
        ShapeError, "'bad'",
    ),
    "conv_kernel_shape": (
        single("Conv", "x", "w", constants={"w": W}, kernel_shape=[2, 2]),
        ShapeError, "kernel_shape",
    ),
    "conv_zero_stride": (
        single("Conv", "x", "w", constants={"w": W}, strides=[0, 1]), FormatError, "strides .0, 1.",
    ),
    "conv_negative_pads": (
        single("Conv", "x", "w", constants={"w": W}, pads=[-1, 0, 0, 0]),
        UnsupportedError, "negative pads",
    ),
    "conv_zero_group": (
        single("Conv", "x", "w", constants={"w": W}, group=0), ShapeError, "0 groups",
    ),
    "unknown_attribute": (
        single("Relu", "x", surprise=1), FormatError, "attribute 'surprise' is unknown",
    ),
    "attribute_type": (
        single("Flatten", "x", axis=1.5), FormatError, "attribute 'axis' has the wrong type",
    ),
    "too_many_inputs": (single("Relu", "x", "x"), FormatError, "2 inputs"),
    "missing_input": (single("Add", "x", ""), FormatError, "input 1 is missing"),
    "axis_range": (single("Softmax", "x", axis=7), FormatError, "axis 7 of a rank-4"),
    "cycle": (
        ([node("Add", ["x", "b"], ["a"], name="one"), node("Relu", ["a"], ["b"], name="two"),
          node("Relu", ["b"], ["y"])], {}),
        GraphError, "cycle",
    ),
    "dangling": (single("Add", "x", "nowhere"), GraphError, "'nowhere' is produced by nothing"),
    "duplicate": (
        ([node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"], name="twice")], {}),
        GraphError, "'twice'.*'y' is already defined",
    ),
    "output_missing": (
        ([node("Relu", ["x"], ["z"])], {}), GraphError, "output 'y' is produced by nothing",
    ),
    "computed_shape": (
        ([node("Relu", ["x"], ["s"]), node("Reshape", ["x", "s"], ["y"], name="bad")], {}),
        UnsupportedError, "shape 's' is computed at run time",
    ),
    "reshape_wrong_size": (
        single("Reshape", "x", "s", constants={"s": np.array([7, -1])}), ShapeError, "'bad'",
    ),
    "pad_mode": (
        single("Pad", "x", "p", constants={"p": np.array([0, 1] * 4)}, mode="reflect"),
        UnsupportedError, "mode 'reflect'",
    ),
    "float64_constant": (
        single("Add", "x", "c", constants={"c": np.ones(5)}), UnsupportedError, "float64",
    ),
    "cast": (
        single("Cast", "x", to=onnx.TensorProto.INT32), UnsupportedError, "casts 'x' from f32",
    ),
    "training_batch_norm": (
        single("BatchNormalization", "x", *"gomv", training_mode=1,
               constants=dict.fromkeys("gomv", np.ones(2, np.float32))),
        FormatError, "attribute 'training_mode' is unknown in opset 13",
    ),
    "huge_fold": (
        single("ConstantOfShape", "n", constants={"n": np.array([1 << 20, 1 << 20])}),
        LimitError, "'bad'.*elements",
    ),
    "huge_range": (
        single("Range", *"abc", constants={"a": np.int64(0), "b": np.int64(1 << 60),
                                           "c": np.int64(1)}),
        LimitError, "elements",
    ),
    "divide_by_zero": (
        single("Div", "a", "b", constants={"a": np.array([1]), "b": np.array([0])}),
        FormatError, "division by 0",
    ),
    "zero_point_type": (
        qdq(kind=np.int8), QuantizationError, "'read'.*'q' is u8 but its zero point is s8",
    ),
    "zero_point_count": (
        qdq(zero_point=[0, 1]), QuantizationError, "'read'.*1 scales but 2 zero points",
    ),
    "per_channel_activation": (
        qdq(scale=[0.1, 0.2], zero_point=[0, 1]), UnsupportedError, "'read'.*per-channel",
    ),
    "per_channel_count": (
        qdq(scale=[0.1, 0.2, 0.3], zero_point=[0, 1, 2]), QuantizationError, "3 scales.*2 channels",
    ),
    "int16": (qdq(bits=np.uint16, kind=np.uint16), UnsupportedError, "'write'.*uint16"),
    "scale_type": (
        single("QuantizeLinear", "x", "s", constants={"s": np.float64(0.1)}),
        UnsupportedError, "scale is float64",
    ),
    "average_pool_ceil_counting_pads": (
        single("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1,
               count_include_pad=1),
        UnsupportedError, "ceil_mode with count_include_pad",
    ),
    "max_pool_indices": (
        ([node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2], name="bad")], {}),
        UnsupportedError, "'bad'.*indices",
    ),
    "gemm_trans_a": (
        single("Gemm", "x", "w", constants={"w": np.ones((5, 5), np.float32)}, transA=1),
        UnsupportedError, "transA=1",
    ),
    "dynamic_scale": (
        ([node("Relu", ["c"], ["s"]), *single("QuantizeLinear", "x", "s")[0]],
         {"c": np.float32(1)}),
        UnsupportedError, "quantize the model statically",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_refused(name, model):
    (nodes, constants), kind, message = MODELS[name]
    with pytest.raises(OctavoError, match=message) as caught:
        load_onnx(model(nodes, {"x": IMAGE}, ["y"], constants))
    assert type(caught.value) is kind


@pytest.mark.parametrize("scale", [0.0, -0.1, np.nan, np.inf, -np.inf, 1e-39, 1e-45])
def test_useless_scales(scale, model):
    nodes, constants = qdq(scale=scale)
    with pytest.raises(QuantizationError, match=r"'read'.*tensor 'q': scale"):
        load_onnx(model(nodes, {"x": IMAGE}, ["y"], constants))
    weights = single(
        "DequantizeLinear", "w", "s",
        constants={"w": np.ones((2, 2), np.int8), "s": np.array([0.1, scale], np.float32)},
    )  # fmt: skip
    with pytest.raises(QuantizationError, match=r"'bad'.*tensor 'w': scale"):
        load_onnx(model(*(weights[0], {"x": IMAGE}, ["y"], weights[1])))


def relu(model):
    return model([node("Relu", ["x"], ["y"])], {"x": IMAGE}, ["y"])


@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"PK\x03\x04" * 9, b"hello, this is no model"])
def test_not_onnx(data):
    with pytest.raises(FormatError, match="not an ONNX"):
        load_onnx(data)


def test_every_truncation_of_a_file(model):
    data = relu(model).SerializeToString()
    loaded = 0
    for length in range(len(data)):
        try:
            load_onnx(data[:length])
            loaded += 1
        except OctavoError:
            continue
    assert loaded == 1, "only without the last, unused operator set it is a model"


@pytest.mark.parametrize("version", [1, 9, 24, 99, -1])
def test_opset_out_of_range(version, model):
    proto = relu(model)
    proto.opset_import[0].version = version
    with pytest.raises(UnsupportedError, match=f"opset {version} is not supported .10 to 23"):
        load_onnx(proto)


def test_missing_file_and_no_file(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"cannot read.*nothing\.onnx"):
        load_onnx(tmp_path / "nothing.onnx")
    with pytest.raises(InvalidArgumentError, match="not a regular file"):
        load_onnx(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InvalidArgumentError, match="not a regular file"):
            load_onnx(tmp_path / "pipe")
    with pytest.raises(InvalidArgumentError):
        load_onnx("a\0b")


def test_external_data_is_refused_without_touching_the_path(model):
    proto = model(
        [node("Add", ["x", "c"], ["y"])], {"x": IMAGE}, ["y"], {"c": np.ones(5, np.float32)}
    )
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(UnsupportedError, match="'c' is stored in another file"):
        load_onnx(proto)


@pytest.mark.parametrize(
    "dims, kind", [([5, 5], FormatError), ([-5], FormatError), ([1] * 9, LimitError)]
)
def test_dims_that_lie(dims, kind, model):
    proto = model(
        [node("Add", ["x", "c"], ["y"])], {"x": IMAGE}, ["y"], {"c": np.ones(5, np.float32)}
    )
    proto.graph.initializer[0].ClearField("dims")
    proto.graph.initializer[0].dims.extend(dims)
    with pytest.raises(kind, match="initializer 'c'"):
        load_onnx(proto)


def test_names_that_are_no_text(model):
    data = relu(model).SerializeToString().replace(b"Relu", b"\xff\xfe\xfd\xfc")
    with pytest.raises(FormatError):
        load_onnx(data)


def test_names_of_a_kilobyte(model):
    proto = relu(model)
    proto.graph.node[0].name = "n" * 2000
    with pytest.raises(LimitError, match="2000 characters"):
        load_onnx(proto)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'octavo\[onnx\]'"):
        load_onnx(b"")


def test_deep_chains_need_no_stack(model):
    nodes = [node("Relu", [f"t{i}"], [f"t{i + 1}"]) for i in range(3000)]
    graph = run_pipeline(load_onnx(model(nodes, {"t0": [1, 4]}, ["t3000"])))
    assert len(graph.nodes) == 3000


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_raise_only_our_errors(seed, shared_model):
    rng = random.Random(SEED + seed)
    print("seed", SEED + seed)
    names = ("conv_qdq_s8s8_perchannel.onnx", "layout_transform_reshape.qdq.onnx",
             "qdq_minimal_model.onnx", "nhwc_resize_sizes_opset18.quant.onnx")  # fmt: skip
    original = Path(shared_model(f"onnxruntime_tests/{names[seed]}")).read_bytes()
    for _ in range(150):
        data = bytearray(original)
        for _ in range(rng.choice((1, 2, 4))):
            place = rng.randrange(len(data))
            if rng.random() < 0.7:
                data[place] = rng.randrange(256)
            else:
                del data[place : place + rng.randrange(1, 9)]
        try:
            run_pipeline(load_onnx(bytes(data)))
        except OctavoError as error:
            assert len(str(error)) < 500

# SPDX-License-Identifier: Apache-2.0
"""Resize against ONNX Runtime: floats closely, QDQ within one step."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import octavo
from octavo.errors import FormatError, LimitError, OctavoError, UnsupportedError

COORDINATES = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
ROUNDINGS = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
SHAPE = (1, 3, 5, 6)


@pytest.fixture
def rng():
    return np.random.default_rng(20240611)


def initializer(name, values, dtype):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(nodes, constants, opset=17, shape=SHAPE, kind=onnx.TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes, "resize", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)], constants,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made.SerializeToString()


def resize(where, shape=SHAPE, kind=onnx.TensorProto.FLOAT, **attributes):
    """A one-node model; `where` is {"scales": ...} or {"sizes": ...}, spatial entries only."""
    if "scales" in where:
        inputs, constant = ["x", "", "s"], initializer("s", [1, 1, *where["scales"]], np.float32)
    else:
        inputs, constant = ["x", "", "", "s"], initializer("s", [1, 3, *where["sizes"]], np.int64)
    node = helper.make_node("Resize", inputs, ["y"], name="up", **attributes)
    return model([node], [constant], shape=shape, kind=kind)


def load(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        return octavo.load(path)


def both(data, x):
    peer = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return load(data).compile().run(x)["y"], peer.run(None, {"x": x})[0]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(
    "where",
    [{"scales": (2, 2)}, {"scales": (1.5, 2.75)}, {"scales": (0.6, 0.5)}, {"sizes": (9, 4)}],
    ids=str,
)
def test_floats(rng, coordinates, where):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    for rounding in ROUNDINGS:
        data = resize(where, mode="nearest", coordinate_transformation_mode=coordinates,
                      nearest_mode=rounding)  # fmt: skip
        ours, peer = both(data, x)
        np.testing.assert_array_equal(ours, peer)
    ours, peer = both(resize(where, mode="linear", coordinate_transformation_mode=coordinates), x)
    np.testing.assert_allclose(ours, peer, atol=2e-6)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_qdq_within_one_step(rng, mode):
    scale, zero = initializer("qs", 0.05, np.float32), initializer("qz", 120, np.uint8)
    x = rng.uniform(-5, 6, SHAPE).astype(np.float32)
    for coordinates, scales in itertools.product(COORDINATES, [(2, 2), (1.5, 2.75), (0.6, 0.5)]):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "qs", "qz"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["d"]),
            helper.make_node("Resize", ["d", "", "s"], ["r"], name="up", mode=mode,
                             coordinate_transformation_mode=coordinates),
            helper.make_node("QuantizeLinear", ["r", "qs", "qz"], ["p"]),
            helper.make_node("DequantizeLinear", ["p", "qs", "qz"], ["y"]),
        ]  # fmt: skip
        data = model(nodes, [scale, zero, initializer("s", [1, 1, *scales], np.float32)])
        ours, peer = both(data, x)
        steps = np.rint((ours - peer) / 0.05)
        assert np.abs(steps).max() <= (1 if mode == "linear" else 0)
        kernels = [row.kernel for row in load(data).compile(strict=True).kernels()]
        assert any(kernel.startswith("resize_") for kernel in kernels)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_opset_10(rng, mode):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    node = helper.make_node("Resize", ["x", "s"], ["y"], mode=mode)
    ours, peer = both(model([node], [initializer("s", [1, 1, 2, 3], np.float32)], 10), x)
    np.testing.assert_allclose(ours, peer, atol=2e-6)


def test_axes_name_the_resized_dimensions(rng):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], mode="linear", axes=[2, 3])
    ours, peer = both(model([node], [initializer("s", [10, 9], np.int64)], 18), x)
    np.testing.assert_allclose(ours, peer, atol=2e-6)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"mode": "cubic"}, "cubic"),
        ({"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
        ({"exclude_outside": 1}, "exclude_outside"),
    ],
)
def test_refuses_what_it_does_not_do(attributes, words):
    with pytest.raises(UnsupportedError, match=rf"up.*{words}"):
        load(resize({"scales": (2, 2)}, **attributes))


def test_refuses_other_axes_and_both_or_neither():
    node = helper.make_node("Resize", ["x", "", "s"], ["y"], name="up")
    with pytest.raises(UnsupportedError, match="more than height and width"):
        load(model([node], [initializer("s", [1, 2, 2, 2], np.float32)]))
    with pytest.raises(OctavoError, match="either scales or sizes"):
        load(model([helper.make_node("Resize", ["x"], ["y"], name="up")], []))


@pytest.mark.parametrize("sizes", [(2**62, 6), (2**31, 6), (5, 2**24 + 1)], ids=str)
def test_refuses_sizes_whose_tables_fit_no_memory(sizes):
    with pytest.raises(LimitError, match=r"'up'.*at most 16777216 along an axis"):
        load(resize({"sizes": sizes}))
    with pytest.raises(LimitError, match=r"'up'.*at most 16777216 along an axis"):
        load(resize({"scales": (9e5, 1)}, shape=(1, 3, 50, 6)))


def test_refuses_an_axis_named_twice():
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], name="up", axes=[2, -2])
    with pytest.raises(FormatError, match=r"'up'.*sizes"):
        load(model([node], [initializer("s", [10, 9], np.int64)], 18))


@pytest.mark.parametrize("kind", ["INT32", "INT64", "BOOL"])
def test_refuses_numbers_that_have_no_kernel(kind):
    data = resize({"sizes": (7, 7)}, kind=getattr(onnx.TensorProto, kind))
    with pytest.raises(UnsupportedError, match=r"'up'.*use float32 or int8"):
        load(data)


def test_export_keeps_the_meaning(rng, tmp_path):
    x = rng.standard_normal(SHAPE).astype(np.float32)
    for where in ({"scales": (1.5, 2)}, {"sizes": (7, 11)}):
        for mode in ("nearest", "linear"):
            first = load(resize(where, mode=mode))
            first.to_onnx(tmp_path / "again.onnx")
            again = octavo.load(tmp_path / "again.onnx")
            np.testing.assert_array_equal(first.compile().run(x)["y"], again.compile().run(x)["y"])

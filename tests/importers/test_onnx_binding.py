# SPDX-License-Identifier: Apache-2.0
"""Symbolic dimensions: bound by the caller or 1, free afterwards only where that is sound."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.errors import InvalidArgumentError, ShapeError
from octavo.importers.onnx import load_onnx
from octavo.ops import infer_graph
from octavo.reference import run_float

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
node = onnx.helper.make_node


def flatten_by_shape(model):
    """x [N,3,4] -> Reshape to [Shape(x)[0], -1], as exporters write it."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "rest"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "axes": np.array([0]), "rest": np.array([-1])}
    return model(nodes, {"x": ["N", 3, 4]}, ["y"], constants)


def test_default_is_one_and_the_batch_stays_free(model):
    graph = load_onnx(flatten_by_shape(model))
    assert graph.values["x"].shape == (1, 3, 4)
    assert graph.dynamic == {"x": ("N", None, None)}
    assert infer_graph(graph, {"x": (5, 3, 4)}).values["y"].shape == (5, 12)


@pytest.mark.parametrize("shapes", [{"x": (2, 3, 4)}, {"x": {"N": 2}}])
def test_bound_by_the_caller(shapes, model):
    assert load_onnx(flatten_by_shape(model), shapes).values["y"].shape == (2, 12)


def test_a_number_that_went_into_a_constant_is_not_free(model):
    """Slice to Shape(x)[0] - 1 bakes the batch in: another batch needs another import."""
    nodes = [
        node("Shape", ["x"], ["s"], ),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Sub", ["n", "one"], ["m"]),
        node("Slice", ["x", "zero", "m"], ["y"]),
    ]  # fmt: skip
    constants = {"zero": np.array([0]), "one": np.array([1])}
    proto = model(nodes, {"x": ["N", 3]}, ["y"], constants)
    graph = load_onnx(proto, {"x": (4, 3)})
    assert graph.values["y"].shape == (3, 3)
    assert graph.dynamic == {}


def test_a_literal_batch_of_one_is_not_free(model):
    proto = model([node("Reshape", ["x", "t"], ["y"])], {"x": ["N", 6]}, ["y"],
                  {"t": np.array([1, -1])})  # fmt: skip
    assert load_onnx(proto).dynamic == {}


@pytest.mark.parametrize(
    "shapes, message",
    [
        ({"z": (1, 3, 4)}, "'z' is not an input"),
        ({"x": (1, 3)}, "shape \\(1, 3\\) for declared"),
        ({"x": (1, 3, 5)}, "for declared"),
        ({"x": {"M": 2}}, "no dimension 'M'"),
        ({"x": (0, 3, 4)}, "below 1"),
        ({"x": {"N": -2}}, "below 1"),
    ],
)
def test_bad_shapes(shapes, message, model):
    with pytest.raises(ShapeError, match=message):
        load_onnx(flatten_by_shape(model), shapes)


def test_inputs_must_agree_on_a_symbol(model):
    proto = model([node("Add", ["a", "b"], ["y"])], {"a": ["N", 3], "b": ["N", 3]}, ["y"])
    with pytest.raises(ShapeError, match="'N' is 3 here and 2"):
        load_onnx(proto, {"a": (2, 3), "b": (3, 3)})


def test_undeclared_shape_must_be_given(model):
    proto = model([node("Relu", ["x"], ["y"])], {"x": [1]}, ["y"])
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ShapeError, match="declares no shape; pass shapes="):
        load_onnx(proto)
    assert load_onnx(proto, {"x": (2, 5)}).values["y"].shape == (2, 5)


def test_shape_arithmetic_is_folded(model):
    """Range, Cast, Expand, Where, Equal, Min, Div: everything becomes one constant."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Div", ["f", "half"], ["g"]),
        node("Cast", ["g"], ["i"], to=onnx.TensorProto.INT64),
        node("Constant", [], ["k"], value_ints=[0, 99]),
        node("Equal", ["k", "zero"], ["m"]),
        node("ConstantOfShape", ["two"], ["w"],
             value=onnx.numpy_helper.from_array(np.array([7], np.int64))),
        node("Where", ["m", "i", "w"], ["t"]),
        node("Expand", ["x", "t"], ["e"]),
        node("Identity", ["y0"], ["y"]),
        node("Add", ["e0", "x"], ["y0"]),
        node("Reshape", ["c", "s"], ["e0"]),
    ]  # fmt: skip
    constants = {
        "half": np.float32(0.5),
        "zero": np.array([0]),
        "two": np.array([2]),
        "c": np.arange(6, dtype=np.float32),
    }
    nodes = [item for item in nodes if item.op_type != "Expand"]
    graph = load_onnx(model(nodes, {"x": [2, 3]}, ["y"], constants))
    assert [item.op for item in graph.nodes] == ["Add", "Reshape"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run_float(graph, {"x": x})["y"], x + np.arange(6).reshape(2, 3))


def test_model_output_that_is_an_alias_keeps_its_name(model):
    from octavo.passes import run_pipeline

    nodes = [node("Relu", ["x"], ["r"]), node("Identity", ["r"], ["y"])]
    graph = run_pipeline(load_onnx(model(nodes, {"x": [2, 3]}, ["y", "r"])))
    assert graph.outputs == ("y", "r")
    graph = run_pipeline(load_onnx(model(nodes, {"x": [2, 3]}, ["y"])))
    assert [item.op for item in graph.nodes] == ["Clip"]


@pytest.mark.parametrize("shapes", [5, "N34", (2.5, 3, 4), {"N": 2.5}, (None, 3, 4)])
def test_only_whole_numbers(shapes, model):
    with pytest.raises(InvalidArgumentError, match=r"'x'.*whole number"):
        load_onnx(flatten_by_shape(model), {"x": shapes})

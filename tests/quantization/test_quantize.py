# SPDX-License-Identifier: Apache-2.0
"""`octavo.quantize`: calibration that cannot be meant is refused, names never collide, and what is
written as ONNX gives the same bits when read back."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mixed_nets import _Chain

import octavo
from octavo import ops
from octavo.errors import InvalidArgumentError, OctavoError, QuantizationError, ShapeError
from octavo.ir import Graph, Node, Value, constant, verify

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")


def linear_chain(tensors: tuple[str, ...], *, weights: tuple[str, ...]) -> octavo.Model:
    """x [N,4] -> Linear -> ... -> the last of `tensors`; equal names in `weights` are shared."""
    rng = np.random.default_rng(3)
    values = {tensors[0]: Value(tensors[0], "f32", (1, 4))}
    nodes = []
    for name in dict.fromkeys(weights):
        values[name] = constant(name, rng.standard_normal((4, 4)).astype(np.float32))
    for index, (x, y) in enumerate(pairwise(tensors)):
        node = Node(f"{x}/quantize", "Linear", (x, weights[index]), (y,))
        (shape,) = ops.get(node).infer(node, [values[x], values[weights[index]]])
        values[y] = Value(y, "f32", shape)
        nodes.append(node)
    graph = Graph("g", tuple(nodes), values, (tensors[0],), (tensors[-1],))
    return octavo.Model(verify(graph.with_(dynamic={tensors[0]: ("N", None)})))


def batch(n: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> octavo.Model:
    return linear_chain(("x", "y", "z"), weights=("v", "w"))


BAD_CALIBRATION: dict[str, tuple[Callable[[], Any], type[OctavoError], str]] = {
    "nothing": (list, InvalidArgumentError, "no batch"),
    "None": (lambda: None, InvalidArgumentError, "calibration data, or a calibration table"),
    "a number": (lambda: 3, InvalidArgumentError, "list or generator"),
    "a dict of other names": (lambda: {"q": batch(), "p": batch()}, InvalidArgumentError, "'q'"),
    "a sample, not samples": (lambda: batch()[0], ShapeError, r"\(4,\)"),
    "NaN": (lambda: [batch() * np.nan], QuantizationError, "batch 0: input 'x'.*NaN"),
    "infinity": (lambda: [batch(), batch() / 0], QuantizationError, "batch 1: input 'x'"),
    "wide": (lambda: [np.zeros((2, 5), np.float32)], ShapeError, r"\(2, 5\).*\(1, 4\)"),
    "empty": (lambda: [batch(0)], ShapeError, r"\(0, 4\)"),
    "float64": (lambda: [batch().astype(float)], InvalidArgumentError, "astype"),
    "text": (lambda: ["x.npy"], ShapeError, "batch 0"),
    "unknown name": (lambda: [{"q": batch()}], InvalidArgumentError, r"\['q'\]"),
}


@pytest.mark.parametrize("calibration", BAD_CALIBRATION)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_calibration_that_cannot_be_meant_is_refused(model: octavo.Model, calibration: str) -> None:
    make, error, message = BAD_CALIBRATION[calibration]
    with pytest.raises(error, match=message):
        octavo.quantize(model, make())


@pytest.mark.parametrize("ranges", ["MSE", "", 3])
def test_unknown_ranges_name_the_known_ones(model: octavo.Model, ranges: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="entropy, mse"):
        octavo.quantize(model, [batch()], ranges=ranges)


def test_calibration_may_be_a_generator_of_any_batch_sizes(model: octavo.Model) -> None:
    quantized = octavo.quantize(model, (batch(n, n) for n in (1, 3, 2)))
    assert not quantized.float_reasons


def test_excluded_nodes_stay_float_whatever_names_them(model: octavo.Model) -> None:
    from_list = octavo.quantize(model, [batch()], exclude=["y/quantize"])
    from_generator = octavo.quantize(model, [batch()], exclude=(n for n in ["y/quantize"]))
    assert set(from_list.float_reasons) == set(from_generator.float_reasons) == {"y/quantize"}
    for wrong in ("y/quantize", ["nope"]):
        with pytest.raises(InvalidArgumentError, match="exclude"):
            octavo.quantize(model, [batch()], exclude=wrong)


def test_a_node_that_stays_float_keeps_float_weights_that_another_shares() -> None:
    model = linear_chain(("x", "y", "z"), weights=("w", "w"))
    plain = octavo.Recipe(equalize=False, smooth=None)  # which would change them for each
    quantized = octavo.quantize(model, [batch()], exclude=["y/quantize"], recipe=plain)
    (node,) = [n for n in quantized.graph.nodes if n.name == "y/quantize"]
    expected = model.graph.values["w"].data
    np.testing.assert_array_equal(quantized.graph.values[node.inputs[1]].data, expected)


CHAINS = {
    "the quantizer's names": (("x", "x/q", "x/dq", "y/raw", "y"), ("w", "w/q", "w/dq", "x/q/q")),
    "the exporter's names": (
        ("x", "x/scale", "x/q/scale", "x/q/zero_point", "y/onnx1", "y"),
        ("w", "w/q/scale", "w/1_0", "w/q/zero_point", "y/onnx2"),
    ),
    "shared weights": (("x", "y", "z"), ("w", "w")),
    "no ASCII, spaces, long": (("входной тензор", "a b\tc", "n" * 900, "😀"), ("w", "ж", "/")),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_any_names_survive_the_way_through_files(chain: str, tmp_path: Path) -> None:
    tensors, weights = CHAINS[chain]
    quantized = octavo.quantize(linear_chain(tensors, weights=weights), [batch(8)])
    proto = quantized.to_onnx(tmp_path / "q.onnx")
    onnx.checker.check_model(proto, full_check=True)
    quantized.save(tmp_path / "q.octavo")
    sessions = [
        each.compile(strict=True)
        for each in (
            quantized,
            octavo.load(tmp_path / "q.onnx"),
            octavo.load(tmp_path / "q.octavo"),
        )
    ]
    for size in (1, 3):
        first, *others = [session.run(batch(size)) for session in sessions]
        for other in others:
            np.testing.assert_array_equal(first[tensors[-1]], other[tensors[-1]])
    rows = octavo.compare(quantized, batch(3))
    assert [row.tensor for row in rows.outputs] == [tensors[-1]]
    assert min(row.sqnr_db for row in rows.layers) > 25, rows.layers


@pytest.mark.witness
@pytest.mark.parametrize("chain", ["the exporter's names", "shared weights"])
def test_onnxruntime_reads_it_and_agrees(chain: str) -> None:
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    tensors, weights = CHAINS[chain]
    quantized = octavo.quantize(linear_chain(tensors, weights=weights), [batch(8)])
    options = ort.SessionOptions()
    # without it, sums of two products saturate at int16 on CPUs that have no VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    theirs = ort.InferenceSession(
        quantized.to_onnx().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (expected,) = theirs.run(None, {"x": batch(3)})
    np.testing.assert_array_equal(quantized.compile().run(batch(3))[tensors[-1]], expected)


def test_biases_go_out_without_zero_points_and_onnxruntime_fuses_them() -> None:
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    chain = _Chain(np.random.default_rng(1), (1, 8, 8, 8))
    for out, kernel, groups in ((24, 1, 1), (24, 3, 24), (16, 3, 1)):
        chain.conv(out, kernel, groups)
    x = np.random.default_rng(2).standard_normal((4, 1, 8, 8, 8)).astype(np.float32)
    quantized = octavo.quantize(octavo.Model(chain.graph()), list(x))
    proto = quantized.to_onnx()
    types = {each.name: each.data_type for each in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type == "DequantizeLinear"]
    inputs = [len(n.input) for n in nodes if types.get(n.input[0]) == onnx.TensorProto.INT32]
    assert inputs == [2, 2, 2]
    for precise in "01":
        options = ort.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", precise)
        session = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        (theirs,) = session.run(None, {"x": x[0]})
    np.testing.assert_array_equal(*quantized.compile().run(x[0]).values(), theirs)


def test_a_dilated_average_pool_keeps_its_dilations() -> None:
    x, y = Value("x", "f32", (1, 6, 6, 3)), Value("y", "f32", (1, 4, 4, 3))
    attrs = {
        "kernel": (2, 2),
        "strides": (1, 1),
        "dilations": (2, 2),
        "pads": (0, 0, 0, 0),
        "count_include_pad": False,
    }
    node = Node("pool", "AveragePool", ("x",), ("y",), attrs)
    graph = verify(Graph("g", (node,), {"x": x, "y": y}, ("x",), ("y",)))
    proto = octavo.Model(graph).to_onnx()
    onnx.checker.check_model(proto, full_check=True)
    assert proto.opset_import[0].version == 19  # before, ONNX has no dilations here


def small_cnn() -> bytes:
    """x [N,3,8,8] -> conv, relu -> conv, add -> mean -> linear, as ONNX."""
    make, rng = onnx.helper.make_node, np.random.default_rng(4)
    shapes = {"w": (4, 3, 3, 3), "v": (4, 4, 3, 3), "u": (5, 4)}
    nodes = [
        make("Conv", ["x", "w"], ["a"], name="first", pads=[1] * 4),
        make("Relu", ["a"], ["b"], name="relu"),
        make("Conv", ["b", "v"], ["c"], name="second", pads=[1] * 4),
        make("Add", ["b", "c"], ["d"], name="sum"),
        make("GlobalAveragePool", ["d"], ["e"], name="mean"),
        make("Flatten", ["e"], ["f"], name="flat"),
        make("Gemm", ["f", "u"], ["y"], name="last", transB=1),
    ]
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "cnn",
        [info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])],
        [info("y", onnx.TensorProto.FLOAT, ["N", 5])],
        [
            onnx.numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opset).SerializeToString())


@pytest.mark.parametrize("form", ["q.onnx", "q.octavo"])
def test_every_layer_is_compared_when_both_networks_come_from_files(
    form: str, tmp_path: Path
) -> None:
    (tmp_path / "f.onnx").write_bytes(small_cnn())
    rng = np.random.default_rng(5)
    images = rng.standard_normal((8, 3, 8, 8)).astype(np.float32)
    quantized = octavo.quantize(tmp_path / "f.onnx", [images])
    if form == "q.onnx":
        quantized.to_onnx(tmp_path / form)
    else:
        quantized.save(tmp_path / form)
    reference = octavo.load(tmp_path / "f.onnx")
    rows = octavo.compare(octavo.load(tmp_path / form), images, reference=reference)
    found = {row.node: row.sqnr_db for row in rows.layers}
    assert {"first", "second", "sum", "mean", "last"} <= set(found)
    assert min(found.values()) > 25, found

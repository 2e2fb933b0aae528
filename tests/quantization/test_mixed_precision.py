# SPDX-License-Identifier: Apache-2.0
"""Networks whose layers compute in different numbers: what runs is what was asked for, on every
ISA and thread count with the same bits, near the float network, and in ONNX Runtime alike."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mixed_nets import feed, image_net, mixed, token_net

import octavo
from octavo import _core
from octavo.errors import UnsupportedError
from octavo.importers.onnx import load_onnx
from octavo.ir import Graph, Node, verify
from octavo.ops.example_graphs import (
    bias_s32,
    const_f32,
    example,
    f32,
    graph_of,
    q8,
    weight_q8,
)
from octavo.passes import run_model_pipeline
from octavo.plan.build import build
from octavo.quantization.recipe import Recipe, Settings
from octavo.reference import run_float, run_int

onnx = pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")

from onnx.reference import ReferenceEvaluator  # noqa: E402

SHARED = Path(os.environ.get("OCTAVO_SHARED", Path(__file__).parents[3] / "shared"))
_ISAS = [entry["name"] for entry in _core.isa_list() if entry["built"] and entry["supported"]]
_SHOWN = {
    "int8": "int8",
    "int16": "int16",
    "weights": "weights int8",
    "dynamic": "dynamic int8",
    "dynamic_row": "dynamic int8",
    "float32": "float32",
}
_LAYERS = ("Conv", "Linear")


def everywhere(model: octavo.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs, the same on every ISA of this machine and with more threads."""
    want = model.compile(isa="scalar").run(inputs)
    for isa in _ISAS:
        for threads in (1, 3):
            got = model.compile(isa=isa, threads=threads).run(inputs)
            for name, array in want.items():
                np.testing.assert_array_equal(got[name], array, err_msg=f"{isa} x{threads}")
    return want


def sqnr(got: np.ndarray, want: np.ndarray) -> float:
    noise = float(np.square(got - want, dtype=np.float64).sum())
    return 10 * np.log10(float(np.square(want, dtype=np.float64).sum()) / max(noise, 1e-30))


def layers(graph: Graph) -> list[str]:
    return [node.name for node in run_model_pipeline(graph).nodes if node.op in _LAYERS]


def by_onnxruntime(path: Path, inputs: dict[str, np.ndarray], rewrite: bool = True) -> np.ndarray:
    """The first output, by integer kernels that do not saturate: a rewriting of the graph does
    that. Another one computes dequantized weights with less than float32."""
    ort = pytest.importorskip("onnxruntime", reason="NOT RUN: needs .[dev]")
    options = ort.SessionOptions()
    if not rewrite:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def through_onnx(model: octavo.Model, path: Path) -> octavo.Model:
    model.to_onnx(path)
    return octavo.load(path)


@pytest.mark.parametrize("net", [image_net, token_net])
def test_weights_alone(net, tmp_path: Path) -> None:
    graph = net(1)
    inputs = feed(graph, 2)
    want = run_float(graph, inputs)
    model = octavo.Model(mixed(graph, inputs, dict.fromkeys(layers(graph), "weights")))
    got = everywhere(model, inputs)
    name = graph.outputs[0]
    assert sqnr(got[name], want[name]) > 35
    np.testing.assert_allclose(got[name], run_int(model.graph, inputs)[name], rtol=0, atol=1e-5)
    shown = {
        k.precision for k in model.compile(strict=True).kernels() if k.op[:4] in ("conv", "line")
    }
    assert shown == {"weights int8"}
    # and so from a file, in ONNX as well
    model.save(tmp_path / "m.octavo")
    again = octavo.load(tmp_path / "m.octavo")
    np.testing.assert_array_equal(again.compile().run(inputs)[name], got[name])
    assert not again.float_reasons
    read = through_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(read.compile(strict=True).run(inputs)[name], got[name])
    witness = by_onnxruntime(tmp_path / "m.onnx", inputs, rewrite=False)
    np.testing.assert_allclose(witness, got[name], rtol=0, atol=1e-5)
    assert again.weight_bytes == model.weight_bytes < 0.35 * octavo.Model(graph).weight_bytes


@pytest.mark.parametrize("seed", range(6))
def test_each_layer_in_its_own_numbers(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    graph = image_net(seed)
    inputs = feed(graph, seed)
    choices = [name for name in _SHOWN if name != "dynamic_row"]  # which ONNX has not
    wanted = {name: str(rng.choice(choices)) for name in layers(graph)}
    others = [n.name for n in graph.nodes if n.name not in wanted]
    wanted.update((name, str(rng.choice(["int8", "float32"]))) for name in others)
    model = octavo.Model(mixed(graph, inputs, wanted))
    got = everywhere(model, inputs)
    name = graph.outputs[0]
    assert sqnr(got[name], run_float(graph, inputs)[name]) > 20, wanted
    shown = {k.node: k.precision for k in model.compile().kernels() if k.op != "copy"}
    for node in layers(graph):
        # a last layer between int8 and a float output has no integer form
        assert shown[node] in (_SHOWN[wanted[node]], "weights int8"), (node, wanted)
        assert wanted[node] != "float32" or shown[node] == "float32"
    read = through_onnx(model, tmp_path / "m.onnx")
    np.testing.assert_array_equal(read.compile().run(inputs)[name], got[name])
    assert {k.node: k.precision for k in read.compile().kernels() if k.node in wanted} == {
        node: precision for node, precision in shown.items() if node in wanted
    }
    witness = by_onnxruntime(tmp_path / "m.onnx", inputs)
    assert sqnr(got[name], witness) > 35, wanted
    reasons = model.float_reasons
    assert not any(wanted[node] == "weights" and node in reasons for node in wanted)


@pytest.mark.parametrize("precision", ["dynamic", "dynamic_row"])
@pytest.mark.parametrize("net", [image_net, token_net])
def test_quantized_on_the_fly(net, precision: str, tmp_path: Path) -> None:
    graph = net(3)
    inputs = feed(graph, 4)
    inputs["x"][1] *= 50  # rows and images of their own keep the small ones
    want = run_float(graph, inputs)
    model = octavo.Model(mixed(graph, inputs, dict.fromkeys(layers(graph), precision)))
    got = everywhere(model, inputs)
    name = graph.outputs[0]
    assert sqnr(got[name], want[name]) > 30
    small = sqnr(got[name][0], want[name][0])
    assert small > 25 if precision == "dynamic_row" else small < 20
    kernels = model.compile(strict=True).kernels()
    assert {k.precision for k in kernels if k.macs} == {"dynamic int8"}
    model.save(tmp_path / "m.octavo")
    again = octavo.load(tmp_path / "m.octavo").compile().run(inputs)
    np.testing.assert_array_equal(again[name], got[name])
    if precision == "dynamic_row":
        with pytest.raises(UnsupportedError, match="per tensor only"):
            model.to_onnx(tmp_path / "m.onnx")
        return
    read = through_onnx(model, tmp_path / "m.onnx")
    written = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert "DynamicQuantizeLinear" in written and not written & {"Conv", "MatMul", "Gemm"}
    np.testing.assert_array_equal(read.compile(strict=True).run(inputs)[name], got[name])
    witness = by_onnxruntime(tmp_path / "m.onnx", inputs)
    np.testing.assert_allclose(witness, got[name], rtol=0, atol=1e-5 * np.abs(witness).max())


@pytest.mark.parametrize("precision", ["dynamic", "dynamic_row"])
def test_activations_without_a_range(precision: str) -> None:
    """NaN is 0, infinities saturate, zeros and subnormal numbers give the bias; nothing is NaN."""
    rng = np.random.default_rng(5)
    x = rng.standard_normal((9, 37)).astype(np.float32)
    x[0, 5], x[1, 6], x[2, 0] = np.nan, 3e38, -np.inf
    x[3], x[4], x[5] = 1e-40, np.nan, 0
    w, bias = weight_q8(rng, (21, 37)), const_f32("b", rng, 21)
    graph = graph_of("Linear", [f32("x", 9, 37), w, bias], f32("y"), {"precision": precision})
    (want,) = run_int(graph, {"x": x}).values()
    assert np.isfinite(want).all()
    plan = _core.Plan.from_bytes(build(graph).data)
    for isa in _ISAS:
        got = np.empty((9, 21), np.float32)
        _core.Session(plan, isa, 1).run([x], [got])
        np.testing.assert_array_equal(got, want, err_msg=isa)
    if precision == "dynamic_row":
        np.testing.assert_array_equal(want[3:6], np.broadcast_to(bias.data, (3, 21)))


def test_product_written_by_another_quantizer() -> None:
    """The file has weights and scales as inputs, which must be constants here."""
    path = SHARED / "models/onnxruntime_tests/dynamic_quantize_matmul_int8_bias.onnx"
    if not path.is_file():
        pytest.skip(f"NOT RUN: {path.name} is not under OCTAVO_SHARED")
    model = onnx.load(path)
    shapes = {"x": (3, 40), "w": (40, 9)}
    with pytest.raises(UnsupportedError, match="'b_scale' is computed at run time"):
        load_onnx(model, {"A": shapes["x"], "B": shapes["w"]})
    rng = np.random.default_rng(6)
    values = {
        "B": rng.integers(-128, 128, shapes["w"]).astype(np.int8),
        "b_scale": rng.uniform(0.01, 0.02, 9).astype(np.float32),
        "bias": rng.standard_normal(9).astype(np.float32),
    }
    inputs = {item.name: item for item in model.graph.input}
    for name, data in values.items():
        model.graph.input.remove(inputs[name])
        model.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
    x = rng.standard_normal(shapes["x"]).astype(np.float32)
    octavo_model = octavo.Model(load_onnx(model, {"A": shapes["x"]}))
    session = octavo_model.compile(strict=True)
    assert {k.precision for k in session.kernels() if k.macs} == {"dynamic int8"}
    (got,) = session.run({"A": x}).values()
    witness = ReferenceEvaluator(model).run(None, {"A": x})[0]
    np.testing.assert_array_equal(got, witness)


@pytest.mark.parametrize("damage", ["other zero point", "computed weights", "sum read elsewhere"])
def test_incomplete_patterns_are_refused_by_name(damage: str) -> None:
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    w = "q2" if damage == "computed weights" else "w"
    zero = "z2" if damage == "other zero point" else "z"
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DynamicQuantizeLinear", ["v"], ["q2", "s2", "z2"]),
        helper.make_node("MatMulInteger", ["q", w, zero], ["p"]),
        helper.make_node("Cast", ["p"], ["f"], to=floats),
        helper.make_node("Mul", ["s", "ws"], ["m"]),
        helper.make_node("Mul", ["f", "m"], ["y"]),
    ]
    if damage == "sum read elsewhere":
        nodes[-1] = helper.make_node("Neg", ["f"], ["y"])
    inputs = [helper.make_tensor_value_info(name, floats, (4, 4)) for name in "xv"]
    constants = [
        onnx.numpy_helper.from_array(np.ones((4, 4), np.int8), "w"),
        onnx.numpy_helper.from_array(np.float32(0.1), "ws"),
    ]
    output = [helper.make_tensor_value_info("y", floats, (4, 4))]
    graph = helper.make_graph(nodes, "g", inputs, output, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(UnsupportedError, match=r"^node '"):
        load_onnx(model)


@pytest.mark.parametrize("net", [image_net, token_net])
def test_16_bits(net, tmp_path: Path) -> None:
    graph = net(7)
    inputs = feed(graph, 8)
    kinds = {node.name: "int16" for node in run_model_pipeline(graph).nodes}
    model = octavo.Model(mixed(graph, inputs, kinds))
    got = everywhere(model, inputs)
    name = graph.outputs[0]
    eight = octavo.Model(mixed(graph, inputs, dict.fromkeys(kinds, "int8")))
    reals = octavo.Model(mixed(graph, inputs, dict.fromkeys(layers(graph), "weights")))
    # beside the rounding of the weights, which they have in common
    rounded = reals.compile().run(inputs)[name]
    assert sqnr(got[name], rounded) > 70 > 60 > sqnr(eight.compile().run(inputs)[name], rounded)
    kernels = model.compile().kernels()
    assert {k.precision for k in kernels if k.macs} == {"int16"}
    assert all("s16" in why for why in model.float_reasons.values())
    np.testing.assert_array_equal(run_int(model.graph, inputs)[name], got[name])
    model.save(tmp_path / "m.octavo")
    again = octavo.load(tmp_path / "m.octavo").compile().run(inputs)
    np.testing.assert_array_equal(again[name], got[name])
    read = through_onnx(model, tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == 21
    np.testing.assert_array_equal(read.compile().run(inputs)[name], got[name])
    witness = by_onnxruntime(tmp_path / "m.onnx", inputs)  # in float32, so at times a step apart
    assert sqnr(got[name], witness) > 70


def test_int16_by_recipe() -> None:
    """The input comes through a float32 Transpose, as images do: it has 16 bits, too."""
    inner = image_net(10)
    nodes = list(inner.nodes)
    nodes[0] = replace(nodes[0], inputs=("nhwc", *nodes[0].inputs[1:]))
    shape = inner.values["x"].shape
    nodes.insert(0, Node("turn", "Transpose", ("x",), ("nhwc",), {"perm": (0, 2, 3, 1)}))
    values = dict(inner.values)
    values["nhwc"] = f32("nhwc", *shape)
    values["x"] = f32("x", shape[0], shape[3], shape[1], shape[2])
    graph = verify(inner.with_(nodes=tuple(nodes), values=values))
    batch = feed(graph, 11)
    found = {}
    for precision in ("weights", "int16", "int8"):
        told = Settings(precision=precision, bias_correction="none", rounding="nearest")
        recipe = Recipe(defaults=told, equalize=False, smooth=None)
        quantized = octavo.quantize(octavo.Model(graph), [batch["x"]], recipe=recipe)
        found[precision] = quantized.compile().run(batch)[graph.outputs[0]]
    assert sqnr(found["int16"], found["weights"]) > 65
    assert sqnr(found["int8"], found["weights"]) < 55


@pytest.mark.parametrize("kind", ["dynamic", "dynamic_row", "s16", "u8 to s16"])
@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 2)])
def test_depthwise_layers_wider_than_a_block(kind: str, stride: int, dilation: int) -> None:
    """Pixels and channels are taken 16 and 64 at a time."""
    rng = np.random.default_rng(9)
    attrs = {"groups": 70, "strides": (stride, stride), "dilations": (dilation, dilation)}
    attrs |= {"pads": (1, 2, 0, 1)}
    w = weight_q8(rng, (70, 3, 3, 1), "u8", zero_points=True)
    shape = (2, 6, 37, 70)
    if kind.startswith("dynamic"):
        attrs["precision"] = kind
        operands = [f32("x", *shape), w, const_f32("b", rng, 70)]
        made = example("wide", rng, "Conv", operands, **attrs)
    else:
        x = q8("x", shape, "s16", 2e-4, 0) if kind == "s16" else q8("x", shape)
        made = example("wide", rng, "Conv", [x, w, bias_s32(rng, x, w)], "s16", **attrs)
    want = run_int(made.graph, made.inputs)["y"]
    plan = _core.Plan.from_bytes(build(made.graph).data)
    for isa in _ISAS:
        for threads in (1, 3):
            got = np.empty_like(want)
            _core.Session(plan, isa, threads).run([made.inputs["x"]], [got])
            np.testing.assert_array_equal(got, want, err_msg=f"{isa} x{threads}")

# SPDX-License-Identifier: Apache-2.0
"""Linear layers between float32 neighbours: factors in front of them, real numbers behind them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import octavo
from octavo import ops
from octavo.errors import InvalidArgumentError
from octavo.ir import Graph, Node, Value, constant, verify
from octavo.ops.precision import executed
from octavo.quantization import run_quantizer
from octavo.quantization.factors import with_factors
from octavo.quantization.recipe import Recipe, Rule, Settings
from octavo.quantization.rules import quantized_nodes

WIDTH, TOKENS = 24, 10


def block(layers: int = 2) -> octavo.Model:
    """x [N,10,24] -> (LayerNorm -> Linear -> Gelu -> Linear -> + ) twice -> LayerNorm -> y, with a
    channel far beyond the others in each norm."""
    rng = np.random.default_rng(5)
    values = {"x": Value("x", "f32", (1, TOKENS, WIDTH))}
    nodes: list[Node] = []

    def add(op: str, *inputs: str, **attrs: object) -> str:
        name = f"{op.lower()}{len(nodes)}"
        node = Node(name, op, inputs, (f"{name}_y",), attrs)
        (shape,) = ops.get(node).infer(node, [values[item] for item in inputs])
        values[node.outputs[0]] = Value(node.outputs[0], "f32", shape)
        nodes.append(node)
        return node.outputs[0]

    def weights(*shape: int) -> str:
        name = f"w{len(values)}"
        data = rng.standard_normal(shape) / np.sqrt(shape[-1])
        values[name] = constant(name, data.astype(np.float32))
        return name

    def norm(x: str) -> str:
        scale = rng.uniform(0.6, 1.4, WIDTH)
        scale[3], shift = 40.0, rng.normal(0.0, 0.2, WIDTH)
        names = []
        for data in (scale, shift):
            names.append(f"n{len(values)}")
            values[names[-1]] = constant(names[-1], data.astype(np.float32))
        return add("LayerNorm", x, *names, epsilon=1e-12, axis=-1)

    x = norm("x")
    for _ in range(layers):
        hidden = add("Gelu", add("Linear", x, weights(48, WIDTH), weights(48)))
        x = norm(add("Add", add("Linear", hidden, weights(WIDTH, 48), weights(WIDTH)), x))
    graph = Graph("g", tuple(nodes), values, ("x",), (x,))
    return octavo.Model(verify(graph.with_(dynamic={"x": ("N", None, None)})))


def data(seed: int, count: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, TOKENS, WIDTH)).astype(np.float32)


def cosine(model: octavo.Model, quantized: octavo.Model) -> float:
    x = data(9)
    (want,), (got,) = (tuple(m.compile().run(x).values()) for m in (model, quantized))
    want, got = want.reshape(-1, WIDTH), got.reshape(-1, WIDTH)
    want, got = np.delete(want, 3, 1), np.delete(got, 3, 1)  # but for the huge channel
    lengths = np.linalg.norm(want, axis=1) * np.linalg.norm(got, axis=1)
    return float(((want * got).sum(axis=1) / lengths).mean())


def test_encoder_recipe_beats_plain_8_bit_layers():
    model = block()
    encoder = octavo.quantize(model, data(1), recipe="encoder")
    plain = Recipe.encoder()
    plain = Recipe(plain.defaults, plain.rules, equalize=False)
    assert cosine(model, encoder) > 0.9995
    without = 1.0 - cosine(model, octavo.quantize(model, data(1), recipe=plain))
    assert 1.0 - cosine(model, encoder) < 0.5 * without


def test_layers_run_in_8_bits_and_factors_cost_no_step():
    quantized = octavo.quantize(block(), data(1), recipe="encoder")
    graph = quantized.graph
    linears = [node for node in graph.nodes if node.op == "Linear"]
    assert len(linears) == 4
    for node in linears:
        assert executed(graph, node) == "int8"
        assert graph.values[node.outputs[0]].dtype == "f32"
    assert [node.op for node in graph.nodes if node.op == "Mul"] == []
    assert sum("gain" in node.attrs for node in graph.nodes) == 4
    kinds = {layer.op for layer in quantized.compile().kernels()}
    assert "linear_s8_f32" in kinds and "linear_s8" not in kinds


def test_identities_are_put_in_only_in_front_of_8_bit_layers():
    graph = block().source
    recipe = Recipe(Settings(precision="float32"), (Rule("linear1", None, {"precision": "int8"}),))
    settings = recipe.resolve(graph)
    away = {name for name, told in settings.items() if told.precision != "int8"}
    found = with_factors(graph, quantized_nodes(graph, away), settings)
    assert len(found.nodes) == 2
    (twin,) = found.twins.values()
    assert twin == graph.nodes[0].outputs[0]
    x = data(2)
    (want,), (got,) = (
        tuple(octavo.Model(g).compile().run(x).values()) for g in (graph, found.graph)
    )
    np.testing.assert_array_equal(got, want)


def test_table_gives_the_same_network_again():
    model, recipe = block(), Recipe.encoder()
    result = run_quantizer(model.source, data(1), recipe=recipe)
    table = json.loads(json.dumps(result.table()))
    again = octavo.quantize(model, table=table, recipe=recipe)
    both = octavo.quantize(model, data(1), table=table, recipe=recipe)
    x = data(3)
    (want,), (same,) = (
        tuple(m.compile().run(x).values()) for m in (octavo.Model(result.graph), both)
    )
    np.testing.assert_array_equal(same, want)
    assert cosine(model, again) > 0.999


def test_files_give_the_same_outputs(tmp_path):
    pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    quantized = octavo.quantize(block(), data(1), recipe="encoder")
    x = data(4)
    (want,) = quantized.compile().run(x).values()
    quantized.save(tmp_path / "m.octavo")
    quantized.to_onnx(tmp_path / "m.onnx")
    for name in ("m.octavo", "m.onnx"):
        (got,) = octavo.load(tmp_path / name).compile().run(x).values()
        np.testing.assert_array_equal(got, want)


def classifier() -> octavo.Model:
    """x [N,12] -> Linear -> y [N,5]."""
    rng = np.random.default_rng(6)
    values = {
        "x": Value("x", "f32", (1, 12)),
        "w": constant("w", rng.standard_normal((5, 12)).astype(np.float32)),
        "y": Value("y", "f32", (1, 5)),
    }
    graph = Graph("g", (Node("fc", "Linear", ("x", "w"), ("y",), {}),), values, ("x",), ("y",))
    return octavo.Model(verify(graph.with_(dynamic={"x": ("N", None)})))


def test_real_outputs_do_not_tie():
    x = np.random.default_rng(7).standard_normal((400, 12)).astype(np.float32)
    stored = octavo.quantize(classifier(), x)
    real = octavo.quantize(classifier(), x, recipe=Recipe(Settings(real_outputs=True)))
    (want,) = classifier().compile().run(x).values()
    outputs = [next(iter(m.compile().run(x).values())) for m in (stored, real)]
    sizes = [len(np.unique(y)) for y in outputs]
    assert sizes[0] <= 256 < sizes[1]
    errors = [np.square(y - want).mean() for y in outputs]
    assert errors[1] < errors[0]
    assert not real.float_reasons and not stored.float_reasons


def test_recipe_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Recipe.load("encoder") == Recipe.encoder()
    Recipe(seed=3).save("encoder")
    assert Recipe.load("encoder").seed == 3
    with pytest.raises(InvalidArgumentError, match='a file, or "encoder"'):
        Recipe.load("bert")


def test_compare_knows_what_the_layers_read():
    model = block()
    quantized = octavo.quantize(model, data(1), recipe="encoder")
    report = octavo.compare(quantized, model, data(2))
    linears = [layer for layer in report.layers if layer.op == "Linear"]
    assert len(linears) == 4
    for layer in linears:
        assert layer.own_db > 35, layer

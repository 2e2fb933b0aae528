# SPDX-License-Identifier: Apache-2.0
"""Inputs that are made of pixels are stored without error: the levels of each channel."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from image_nets import net, pictures

import octavo
from octavo import ops
from octavo.errors import FormatError
from octavo.ir import Graph, Node, Value, constant, verify
from octavo.passes import run_pipeline
from octavo.quantization import Recipe, run_quantizer
from octavo.quantization.equalized import equalize_again
from octavo.quantization.levels import Levels, find_levels, levels_of
from octavo.quantization.recipe import Settings

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
NHWC = (0, 2, 3, 1)


def normalized(pixels: np.ndarray) -> np.ndarray:
    """[n,h,w,3] uint8 to [n,3,h,w], as torchvision does."""
    x = (pixels.astype(np.float32) / np.float32(255) - MEAN) / STD
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def planes_net(pads: tuple[int, ...] = (1, 1, 1, 1)) -> octavo.Model:
    """x [N,3,9,8] -> Transpose -> Conv -> y."""
    rng = np.random.default_rng(3)
    values = {
        "x": Value("x", "f32", (1, 3, 9, 8)),
        "w": constant("w", rng.standard_normal((4, 3, 3, 3)).astype(np.float32)),
        "b": constant("b", rng.standard_normal(4).astype(np.float32)),
        "t": Value("t", "f32", (1, 9, 8, 3)),
    }
    move = Node("move", "Transpose", ("x",), ("t",), {"perm": NHWC})
    attrs = {"strides": (1, 1), "dilations": (1, 1), "pads": pads, "groups": 1}
    node = Node("conv", "Conv", ("t", "w", "b"), ("y",), attrs)
    (shape,) = ops.get(node).infer(node, [values["t"], values["w"], values["b"]])
    values["y"] = Value("y", "f32", shape)
    graph = Graph("g", (move, node), values, ("x",), ("y",))
    return octavo.Model(verify(graph.with_(dynamic={"x": ("N", None, None, None)})))


def first_step(model: octavo.Model) -> tuple[Node, Value]:
    """What the model's input is quantized by, and into."""
    graph = run_pipeline(model.source)
    node = next(node for node in graph.nodes if node.op == "QuantizeLinear")
    return node, graph.values[node.outputs[0]]


def stored(model: octavo.Model, x: np.ndarray) -> np.ndarray:
    node, y = first_step(model)
    (q,) = ops.get(node).int_ref(node, [x], [None], [y])
    return q


@pytest.mark.parametrize("dtype", ["u8", "s8"])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 0)])
def test_normalized_pixels_are_stored_as_they_are(pads, dtype):
    pixels = pictures(40, (9, 8))
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    model = planes_net(pads)
    recipe = Recipe(Settings(activation_type=dtype))
    quantized = octavo.quantize(model, normalized(pixels), recipe=recipe)
    assert not quantized.float_reasons
    found = stored(quantized, normalized(pixels)).astype(int) + (128 if dtype == "s8" else 0)
    np.testing.assert_array_equal(found, pixels)
    # The border: level of 0, to the next whole number
    y = run_pipeline(quantized.source)
    borders = [node.attrs["value"] for node in y.nodes if node.op == "Pad"]
    assert len(borders) == any(pads)
    for border in borders:
        real = (np.asarray(border) / first_step(quantized)[1].scale).round()
        np.testing.assert_array_equal(real, np.rint(MEAN * 255))


def test_error_is_that_of_the_weights_and_the_output_alone():
    pixels = pictures(60, (9, 8))
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    x, model = normalized(pixels), planes_net()
    (want,) = model.compile().run(x).values()

    def noise(recipe: Recipe) -> float:
        (got,) = octavo.quantize(model, x, recipe=recipe).compile().run(x).values()
        return float(np.square(got - want).mean())

    plain = Recipe(equalize=False)
    assert noise(Recipe()) < 0.9 * noise(plain)


def test_one_scale_for_all_channels_needs_no_further_step():
    x = (pictures(40).astype(np.float32) / np.float32(255))[..., :]
    x[0, 0, 0], x[0, 0, 1] = 0.0, 1.0
    quantized = octavo.quantize(net(), x)
    node, y = first_step(quantized)
    assert "gain" not in node.attrs
    assert (y.zero_point, y.scale) == (0, pytest.approx(1 / 255, rel=1e-6))
    assert [n.op for n in quantized.source.nodes if n.op in ("Mul", "Add", "Pad")] == []
    np.testing.assert_array_equal(stored(quantized, x), np.rint(x * 255))


def test_few_levels_leave_finer_steps_to_other_data():
    """17 levels: whole multiples of a step that still reaches all of them."""
    x = np.random.default_rng(4).integers(0, 17, (30, 6, 5, 3)).astype(np.float32) / 16
    _, y = first_step(octavo.quantize(net(), x))
    assert y.scale == pytest.approx(1 / 16 / 15, rel=1e-6)
    assert 0 <= y.zero_point <= 15  # 240 of 255 steps are used


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + np.random.default_rng(0).normal(0, 0.01, x.shape).astype(np.float32),
        lambda x: x * np.linspace(0.5, 1, x.shape[-1], dtype=np.float32),
        lambda x: np.where(np.arange(x.shape[1])[:, None, None] == 1, 0.5, x).astype(np.float32),
    ],
    ids=["noise", "a gradient", "a constant channel"],
)
def test_other_data_is_left_to_the_ranges(change):
    x = change(normalized(pictures(20, (9, 8))))
    node, _ = first_step(octavo.quantize(planes_net(), x))
    assert "gain" not in node.attrs


def test_a_later_sample_off_the_grid_counts():
    x = normalized(pictures(20, (9, 8)))
    x[-1, 1, 4, 4] += 0.3 / 255 / STD[1]
    node, _ = first_step(octavo.quantize(planes_net(), x))
    assert "gain" not in node.attrs


def test_a_blank_first_sample_hides_no_levels():
    pixels = pictures(40, (9, 8))
    pixels[0] = 255
    node, _ = first_step(octavo.quantize(planes_net(), normalized(pixels)))
    assert "gain" in node.attrs


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_levels_far_from_zero_need_a_layer_without_padding(pads):
    """256 levels from 2 to 3: the border's 0 is none of them."""
    x = normalized(pictures(40, (9, 8))) / 5 + 2.5
    quantized = octavo.quantize(planes_net(pads), x)
    node, _ = first_step(quantized)
    assert ("gain" in node.attrs) == (not any(pads))
    (want,), (got,) = (tuple(m.compile().run(x).values()) for m in (planes_net(pads), quantized))
    assert 10 * np.log10(np.square(want).sum() / np.square(want - got).sum()) > 30


def test_only_in_front_of_8_bit_convolutions():
    x = normalized(pictures(20, (9, 8)))
    for settings in (Settings(precision="int16"), Settings(symmetric=True)):
        quantized = octavo.quantize(planes_net(), x, recipe=Recipe(settings))
        assert not any(node.op == "Mul" for node in quantized.source.nodes), settings
    assert find_levels(planes_net().source, {"conv": Settings()}, [], {}) == {}


def test_table_keeps_them_and_an_edited_range_counts_instead(tmp_path):
    x, model = normalized(pictures(40, (9, 8))), planes_net()
    result = run_quantizer(model.source, x)
    table = json.loads(json.dumps(result.table()))
    assert table["tensors"]["t"]["method"] == "levels"
    again = octavo.quantize(model, table=table)
    np.testing.assert_array_equal(stored(again, x), stored(octavo.Model(result.graph), x))
    table["tensors"]["t"]["high"] = 2.0
    node, y = first_step(octavo.quantize(model, table=table))
    assert "gain" not in node.attrs
    assert y.scale * (255 - y.zero_point) == pytest.approx(2.0, abs=y.scale)


def test_files_give_the_same_outputs(tmp_path):
    pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    x = normalized(pictures(40, (9, 8)))
    quantized = octavo.quantize(planes_net(), x)
    quantized.save(tmp_path / "m.octavo")
    quantized.to_onnx(tmp_path / "m.onnx")
    (want,) = quantized.compile().run(x).values()
    for name in ("m.octavo", "m.onnx"):
        model = octavo.load(tmp_path / name)
        assert not model.float_reasons
        (got,) = model.compile().run(x).values()
        np.testing.assert_array_equal(got, want)


def test_levels_from_metadata():
    levels = Levels(np.array([0.017, 0.018]), np.array([123.6, 99.0]))
    again = levels_of(json.loads(json.dumps(levels.metadata())))
    np.testing.assert_array_equal(again.step, levels.step)
    np.testing.assert_array_equal(again.zero, levels.zero)


@pytest.mark.parametrize(
    "damaged",
    [{}, {"step": [1.0]}, {"step": [1.0], "zero": [1.0, 2.0]}, {"step": [0.0], "zero": [1.0]},
     {"step": ["a"], "zero": [1.0]}, {"step": [float("nan")], "zero": [1.0]}],
)  # fmt: skip
def test_damaged_metadata(damaged):
    graph = replace(planes_net().source)
    with pytest.raises(FormatError, match="'t' is damaged"):
        equalize_again(graph, {"t": {"levels": damaged}})


def test_compare_knows_what_the_first_layer_reads():
    """Its own error is that of its weights and output, not the factors on its input."""
    pixels = pictures(40, (9, 8))
    x, model = normalized(pixels), planes_net()
    report = octavo.compare(octavo.quantize(model, x), model, x)
    (layer,) = [layer for layer in report.layers if layer.node == "conv"]
    assert layer.sqnr_db > 30
    assert layer.own_db == pytest.approx(layer.sqnr_db, abs=1.0)

# SPDX-License-Identifier: Apache-2.0
"""octavo.compare: every form of the call, streaming, the two engines, culprits and victims."""

import itertools
import math
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.comparison.statistics import TensorStatistics
from octavo.errors import FormatError, InvalidArgumentError
from octavo.ir import Affine, Node, Value


def shipped(name):
    with resources.as_file(resources.files("octavo.demo") / name) as path:
        return Path(path)


@pytest.fixture(scope="module")
def quantized():
    return octavo.load(shipped("digits_int8.octavo"))


@pytest.fixture(scope="module")
def reference():
    return octavo.load(shipped("digits_f32.octavo"))


@pytest.fixture(scope="module")
def digits():
    with np.load(shipped("digits_heldout.npz")) as data:
        return data["test_images"][:60].astype(np.float32).reshape(-1, 1, 8, 8) / 16


def close(first, second):
    """The same layers with the same figures but for rounding of float32 sums."""
    assert [layer.node for layer in first.layers] == [layer.node for layer in second.layers]
    for a, b in zip(first.layers, second.layers, strict=True):
        assert a.tensor == b.tensor and a.op == b.op
        if math.isinf(a.sqnr_db) or a.sqnr_db > 100:
            assert b.sqnr_db > 100
        else:
            assert a.sqnr_db == pytest.approx(b.sqnr_db, abs=0.01)
        assert a.max_abs == pytest.approx(b.max_abs, abs=1e-5)
        assert a.mean_abs == pytest.approx(b.mean_abs, abs=1e-5)
        assert a.cosine == pytest.approx(b.cosine, abs=1e-5)
        if a.own_db is not None and a.own_db < 100:
            assert a.own_db == pytest.approx(b.own_db, abs=0.01)


def test_every_form_of_the_call_means_the_same(quantized, reference, digits, tmp_path):
    expected = octavo.compare(quantized, {"image": digits}, reference=reference)
    np.save(tmp_path / "x.npy", digits)
    np.savez(tmp_path / "x.npz", image=digits)
    model, path = shipped("digits_int8.octavo"), shipped("digits_f32.octavo")
    for found in (
        octavo.compare(quantized, path, digits),
        octavo.compare(model, str(path), {"image": digits}),
        octavo.compare(quantized, reference, tmp_path / "x.npy"),
        octavo.compare(quantized, reference, data=str(tmp_path / "x.npz")),
        octavo.compare(quantized, tmp_path / "x.npy", reference=path),
        octavo.compare(model, inputs=digits, reference=reference),
        octavo.compare(quantized, reference, [digits[:7], digits[7:40], {"image": digits[40:]}]),
        octavo.compare(quantized, reference, (digits[i : i + 9] for i in range(0, 60, 9))),
    ):
        close(expected, found)
        assert found.samples == 60
        assert found.end_to_end[0].top1_agreement == expected.end_to_end[0].top1_agreement


def test_numpy_checks_the_float_kernels(quantized, reference, digits):
    close(
        octavo.compare(quantized, reference, digits),
        octavo.compare(quantized, reference, digits, engine="numpy"),
    )
    close(octavo.compare(quantized, digits), octavo.compare(quantized, digits, engine="numpy"))


def test_figures_are_those_of_the_definition(quantized, reference, digits):
    result = octavo.compare(quantized, reference, digits)
    got = quantized.compile().run(digits)["logits"].astype(np.float64)
    expected = reference.compile().run(digits)["logits"].astype(np.float64)
    (output,) = result.end_to_end
    noise = np.square(got - expected).sum()
    assert output.sqnr_db == pytest.approx(10 * np.log10(np.square(expected).sum() / noise))
    assert output.top1_agreement == np.mean(got.argmax(1) == expected.argmax(1))
    cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1)
    cosines /= np.linalg.norm(expected, axis=1)
    assert output.cosine == pytest.approx(cosines.mean())
    assert output.worst_cosine == pytest.approx(cosines.min())
    assert result.outputs[-1].sqnr_db == pytest.approx(output.sqnr_db, abs=1e-3)


def test_memory_is_that_of_one_batch(quantized, reference, digits):
    tens = octavo.compare(quantized, reference, itertools.repeat(digits, 5))
    once = octavo.compare(quantized, reference, digits)
    assert tens.samples == 5 * once.samples
    close(tens, once)
    for node, sums in tens.statistics.items():
        assert sums.count == 5 * once.statistics[node].count
        np.testing.assert_array_equal(sums.levels, 5 * once.statistics[node].levels)


def test_a_culprit_is_told_from_its_victims(quantized, reference, digits):
    """One layer's weights are damaged: its own error shows it, that of the layers behind does not,
    though they are as far from the reference."""
    graph = quantized.source
    layers = [node for node in quantized.graph.nodes if node.op in ("Conv", "Linear")]
    name = next(v.name for v in graph.values.values() if v.data is not None and v.dtype == "s8")
    value = graph.values[name]
    damaged = {**graph.values, name: replace(value, data=(value.data // 2 * 0).astype(np.int8))}
    result = octavo.compare(octavo.Model(graph.with_(values=damaged)), reference, digits)
    (culprit,) = [layer for layer in result.layers if (layer.own_db or 0) < 10]
    victims = [layer for layer in result.layers if layer.op in ("Conv", "Linear")]
    assert culprit.node in [node.name for node in layers]
    assert min(layer.sqnr_db for layer in victims) < 10
    others = [layer for layer in victims if layer.node != culprit.node]
    assert others and all(layer.own_db > 20 for layer in others), others


def test_a_narrow_range_shows_as_saturation_and_own_error(quantized, reference, digits):
    graph = quantized.source
    producer = next(n for n in graph.nodes if n.op == "QuantizeLinear" and n.inputs[0] != "image")
    value = graph.values[producer.outputs[0]]
    narrow = replace(value, quant=Affine.per_tensor(value.scale / 4, value.zero_point))
    broken = graph.with_(values={**graph.values, value.name: narrow})
    result = octavo.compare(octavo.Model(broken), reference, digits)
    worst = max(result.layers, key=lambda layer: layer.saturated or 0)
    assert worst.saturated > 0.02
    assert worst.own_db < 15


def test_a_folder_of_images_is_prepared_as_the_model_says(quantized, reference, digits, tmp_path):
    image = pytest.importorskip("PIL.Image", reason="NOT RUN: needs pip install 'octavo[images]'")
    pixels = np.rint(digits[:6, 0] * 255).astype(np.uint8)
    for place, array in enumerate(pixels):
        image.fromarray(array).save(tmp_path / f"{place}.png")
    unit = {"scale": 1 / 255, "color": "gray", "layout": "NCHW"}
    expected = octavo.compare(quantized, reference, pixels[:, None].astype(np.float32) / 255)
    found = octavo.compare(quantized, reference, tmp_path, preprocess=unit)
    close(expected, found)
    told = octavo.Model(quantized.source.with_(metadata={"preprocessing": unit}))
    close(expected, octavo.compare(told, reference, tmp_path))


def test_rows_of_any_length_are_all_counted():
    """The last axis of attention scores is a length: sums of other lengths are not dropped."""
    value = Value("y", "u8", (2, 5), Affine.per_tensor(0.1, 0))
    sums = TensorStatistics(Node("n", "Softmax", ("x",), ("y",)), value, "y", "int8")
    for columns in (5, 3):
        shaped = replace(value, shape=(2, columns))
        sums.fits(shaped)
        real = np.arange(2 * columns, dtype=np.float32).reshape(2, columns)
        sums.add(real + 1, real, None, real)
    assert sums.count == 16 and sums.noise.sum() == 16 and sums.own_shift.sum() == 16
    assert sums.most.max() == 9 and sums.signal.sum() == sum(i * i for i in (*range(10), *range(6)))


def test_progress_counts_samples(quantized, reference, digits):
    seen = []
    octavo.compare(
        quantized, reference, [digits[:20], digits[20:]], progress=lambda *a: seen.append(a)
    )
    assert seen[-1] == (60, 60)
    seen.clear()
    octavo.compare(quantized, reference, iter([digits]), progress=lambda *a: seen.append(a))
    assert seen[-1] == (60, None)


def test_refusals(quantized, reference, digits, tmp_path):
    for call in (
        lambda: octavo.compare(quantized),
        lambda: octavo.compare(quantized, digits, digits),
        lambda: octavo.compare(quantized, reference, digits, reference=reference),
        lambda: octavo.compare(quantized, reference, digits, engine="gpu"),
        lambda: octavo.compare(quantized, reference, []),
        lambda: octavo.compare(quantized, reference, 3.0),
        lambda: octavo.compare(quantized, reference, tmp_path / "absent.npy"),
        lambda: octavo.compare(quantized, reference, {"other": digits}),
    ):
        with pytest.raises(InvalidArgumentError):
            call()
    (tmp_path / "x.npy").write_bytes(b"no numbers")
    with pytest.raises(FormatError, match=r"x\.npy"):
        octavo.compare(quantized, reference, tmp_path / "x.npy")


def test_images_are_prepared_as_the_model_was_saved_with(reference, tmp_path):
    with np.load(shipped("digits_heldout.npz")) as data:
        pixels = (data["test_images"][:40].astype(np.float32) * 15).astype(np.uint8)
    told = octavo.Preprocessing(scale=1 / 255, color="gray")
    images = pixels.reshape(-1, 8, 8, 1)
    model = octavo.quantize(reference, images, preprocess=told)
    model.save(tmp_path / "q.octavo")
    model = octavo.load(tmp_path / "q.octavo")
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "x.npz", images)
    prepared = images.transpose(0, 3, 1, 2).astype(np.float32) * np.float32(1 / 255)
    expected = octavo.compare(model, reference, prepared)
    for given in (images, tmp_path / "x.npy", tmp_path / "x.npz"):
        close(octavo.compare(model, reference, given), expected)

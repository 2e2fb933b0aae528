# SPDX-License-Identifier: Apache-2.0
"""What makes an input of an image: arithmetic, presets, files, and its place in the model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from image_nets import net, pictures, write_pictures

import octavo
from octavo.errors import InvalidArgumentError
from octavo.quantization.preprocessing import PRESETS, Preprocessing, preprocessing_for

Image = pytest.importorskip("PIL.Image", reason="NOT RUN: needs .[dev]")


def test_arithmetic_of_a_preprocessing() -> None:
    pixels = pictures(1, (9, 8))[0]
    spec = Preprocessing(
        crop=(4, 6), color="BGR", scale=0.5, mean=(1, 2, 3), std=(4, 5, 6), layout="NCHW"
    )
    found = spec.apply(Image.fromarray(pixels))
    part = pixels[2:6, 1:7, ::-1].astype(np.float32)
    expected = ((part * np.float32(0.5) - np.float32([1, 2, 3])) / np.float32([4, 5, 6])).transpose(
        2, 0, 1
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(spec.apply_array(pixels), expected)
    wide = Preprocessing(resize=4, crop=(4, 4)).apply(Image.fromarray(pictures(1, (8, 16))[0]))
    assert wide.shape == (3, 4, 4)
    gray = Preprocessing(color="gray", layout="NHWC").apply(Image.fromarray(pixels))
    assert gray.shape == (9, 8, 1) and gray.max() > 1


def test_presets_fit_the_model_and_files_are_read_back(tmp_path: Path) -> None:
    graph = net().source
    for name in PRESETS:
        spec = preprocessing_for(graph, name)
        made = spec.apply(Image.fromarray(pictures(1, (40, 30))[0]))
        assert made.shape == (6, 5, 3) and made.dtype == np.float32
        (tmp_path / "p.json").write_text(json.dumps(spec.to_dict()))
        assert preprocessing_for(graph, tmp_path / "p.json") == spec
    assert np.abs(spec.apply(Image.fromarray(pictures(1)[0]))).max() > 1
    imagenet = preprocessing_for(graph, "imagenet", {"resize": None, "crop": (6, 5)})
    assert imagenet.resize is None and imagenet.crop == (6, 5) and len(imagenet.mean) == 3
    for told, words in [
        ("imagnet", "imagenet, unit"),
        ("none.json", "no such preprocessing"),
        ({"size": 3}, r"unknown \['size'\]"),
        ({"color": "CMYK"}, "RGB, BGR"),
        ({"mean": [1, 2]}, "one number, or 3"),
        ({"std": 0}, "above 0"),
        ({"crop": [7, 7], "layout": "NHWC"}, "set resize, crop"),
        ({"layout": "NCHW", "crop": [6, 5]}, "layout"),
        ({"crop": "large"}, "preprocessing"),
    ]:
        with pytest.raises(InvalidArgumentError, match=words):
            preprocessing_for(graph, told)


@pytest.mark.parametrize("form", ["q.onnx", "q.octavo"])
def test_the_preprocessing_is_stored_in_the_model(tmp_path: Path, form: str) -> None:
    folder = write_pictures(tmp_path / "images")
    quantized = octavo.quantize(net(), folder, preprocess="unit")
    if form == "q.onnx":
        quantized.to_onnx(tmp_path / form)
    else:
        quantized.save(tmp_path / form)
    again = octavo.load(tmp_path / form)
    assert again.source.metadata == quantized.source.metadata
    spec = preprocessing_for(again.source, None)
    assert spec.scale == 1 / 255 and spec.resize == (6, 5)
    assert again.graph.metadata == quantized.source.metadata  # passes keep it

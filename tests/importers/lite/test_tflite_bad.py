# SPDX-License-Identifier: Apache-2.0
"""Bad TFLite input: each kind is a documented error that names the node; nothing else leaks."""

from __future__ import annotations

import random
import struct
import sys

import numpy as np
import pytest

import octavo
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
from octavo.importers.tflite import load_tflite
from octavo.passes import run_pipeline

SEED = 20241122
POOL = {"Padding": 0, "StrideW": 1, "StrideH": 1, "FilterWidth": 2, "FilterHeight": 2}


def small(m, kind="int8"):
    """CONV_2D -> AVERAGE_POOL_2D -> FULLY_CONNECTED -> SOFTMAX."""
    quant = {"scale": [0.02], "zero_point": [3]} if kind == "int8" else {}
    x = m.input([1, 4, 4, 3], kind, signature=[-1, 4, 4, 3], **quant)
    w = m.weights(5, 3, 3, 3, kind=kind, axis=0)
    y = m.tensor([1, 4, 4, 5], kind, **quant)
    m.op("CONV_2D", [x, w, m.bias(5, x, w)], y, "Conv2DOptions", Padding=0, StrideW=1, StrideH=1,
         DilationWFactor=1, DilationHFactor=1, FusedActivationFunction=1)  # fmt: skip
    pooled = m.tensor([1, 4, 4, 5], kind, **quant)
    m.op("AVERAGE_POOL_2D", [y], pooled, "Pool2DOptions", **POOL)
    v = m.weights(2, 80, kind=kind)
    z = m.tensor([1, 2], kind, **quant)
    m.op("FULLY_CONNECTED", [pooled, v, -1], z, "FullyConnectedOptions")
    last = {"scale": [1 / 256], "zero_point": [-128]} if quant else {}
    y = m.tensor([1, 2], kind, name="last", **last)
    m.op("SOFTMAX", [z], y, "SoftmaxOptions", Beta=1.0)
    m.outputs = [y]
    return m


def unknown(m):
    m.op("LSH_PROJECTION", [m.input([2, 3])], m.tensor([2, 3], name="hash"))


def custom(m):
    m.op("CUSTOM TFLite_Detection", [m.input([2, 3])], m.tensor([2, 3], name="boxes"))


def stateful(m):
    m.op("VAR_HANDLE", [], m.tensor([], "RESOURCE"))


def fused_tanh(m):
    m.op("ADD", [m.input([3]), m.input([3])], m.tensor([3]), "AddOptions",
         FusedActivationFunction=4)  # fmt: skip


def beta(m):
    m.op("SOFTMAX", [m.input([1, 3])], m.tensor([1, 3]), "SoftmaxOptions", Beta=2.0)


def int16(m):
    m.op("RELU", [m.input([3], "int16", scale=[0.1])], m.tensor([3], "int16", scale=[0.1]))


def no_parameters(m):
    x = m.input([3])
    m.op("QUANTIZE", [x], m.tensor([3], "int8", name="bare"))


def zero_scale(m):
    m.op("QUANTIZE", [m.input([3])], m.tensor([3], "int8", scale=[0.0], name="flat"))


def zero_point(m):
    y = m.tensor([3], "int8", scale=[0.1], zero_point=[300], name="far")
    m.op("QUANTIZE", [m.input([3])], y)


def per_channel_activation(m):
    y = m.tensor([3], "int8", scale=[0.1] * 3, zero_point=[0] * 3, name="wide")
    m.op("QUANTIZE", [m.input([3])], y)


def scale_count(m):
    x = m.input([1, 4], "int8", scale=[0.1])
    w = m.const(np.ones((3, 4), np.int8), scale=[0.1, 0.2], zero_point=[0, 0], name="odd")
    m.op("FULLY_CONNECTED", [x, w, -1], m.tensor([1, 3], "int8", scale=[1.0]))


def other_options(m):
    m.op("SOFTMAX", [m.input([1, 3])], m.tensor([1, 3]), "AddOptions")


def declared_shape(m):
    m.op("RELU", [m.input([2, 3])], m.tensor([3, 2], name="turned"))


def negative_dim(m):
    m.op("RELU", [m.input([2, -3])], m.tensor([2, -3]))


def rank(m):
    m.op("RELU", [m.input([1] * 9)], m.tensor([1] * 9))


def long_name(m):
    m.op("RELU", [m.input([2])], m.tensor([2], name="n" * 5000))


def missing_tensor(m):
    m.op("ADD", [m.input([2]), 77], m.tensor([2]), "AddOptions")


def twice(m):
    x, y = m.input([2]), m.tensor([2], name="same")
    m.op("RELU", [x], y)
    m.op("TANH", [x], y)


def cycle(m):
    a, b = m.tensor([2]), m.tensor([2])
    m.op("ADD", [m.input([2]), b], a, "AddOptions")
    m.op("RELU", [a], b)


def data_size(m):
    w = m.const(np.ones((2, 2), np.float32), name="short")
    m.tensors[w].shape = [2, 3]
    m.op("ADD", [m.input([2, 3]), w], m.tensor([2, 3]), "AddOptions")


def zero_stride(m):
    options = {**POOL, "StrideW": 0}
    m.op("MAX_POOL_2D", [m.input([1, 4, 4, 2])], m.tensor([1, 4, 4, 2]), "Pool2DOptions", **options)


def huge_fill(m):
    dims, value = m.const(np.array([2**30, 2**30], np.int32)), m.const(np.float32(1))
    y = m.op("FILL", [dims, value], m.tensor([2**30, 2**30], name="huge"))
    m.op("ADD", [m.input([1]), y], m.tensor([2**30, 2**30]), "AddOptions")


def computed_shape(m):
    x, shape = m.input([6]), m.input([2], "int32")
    m.op("RESHAPE", [x, shape], m.tensor([2, 3]), "ReshapeOptions")


def version(m):
    m.op("RELU", [m.input([2])], m.tensor([2]))
    m.version = 4


def no_outputs(m):
    m.op("RELU", [m.input([2])], m.tensor([2]))


MODELS = {
    unknown: (UnsupportedError, "'hash' .LSH_PROJECTION.*not supported; replace"),
    custom: (UnsupportedError, "'boxes' .CUSTOM TFLite_Detection.*custom"),
    stateful: (UnsupportedError, "VAR_HANDLE.*states between runs"),
    fused_tanh: (UnsupportedError, "ADD.*fused activation 4"),
    beta: (UnsupportedError, "SOFTMAX.*beta 2.0"),
    int16: (UnsupportedError, "'x0': element type s16"),
    no_parameters: (UnsupportedError, "'bare'.*without scale"),
    zero_scale: (QuantizationError, "'flat': scale"),
    zero_point: (QuantizationError, "'far': zero point 300"),
    per_channel_activation: (UnsupportedError, "per-channel .* 'wide'"),
    scale_count: (QuantizationError, "'odd/stored': 2 scales"),
    other_options: (FormatError, "options are those of another operator"),
    declared_shape: (FormatError, r"'turned' is declared \(3, 2\)"),
    negative_dim: (FormatError, "negative dimension"),
    rank: (LimitError, "9 dimensions"),
    long_name: (LimitError, "5000 bytes"),
    missing_tensor: (FormatError, "tensor 77 of"),
    twice: (GraphError, "'same' is already defined"),
    cycle: (GraphError, "cycle"),
    data_size: (FormatError, "'short': 16 bytes .* takes 24"),
    zero_stride: (FormatError, "strides .1, 0."),
    huge_fill: (LimitError, "fills"),
    computed_shape: (UnsupportedError, "shape 'x1' is computed"),
    version: (UnsupportedError, "schema version 4"),
    no_outputs: (GraphError, "outputs .* empty"),
}


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_named(make, lite):
    make(lite)
    error, text = MODELS[make]
    last = [] if make is no_outputs else [lite.operators[-1].outputs[0]]
    with pytest.raises(error, match=text):
        load_tflite(lite.build(*last))


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0" * 64, b"\0\0\0\0ONNX" * 9, b"\x1c\0\0\0TFL3"])
def test_not_tflite(data, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"m\.tflite"):
        octavo.load(path)


def test_arguments(lite, tmp_path, monkeypatch):
    with pytest.raises(InvalidArgumentError, match="cannot read"):
        load_tflite(tmp_path / "absent.tflite")
    model = small(lite).build()
    for shapes in ({"y": (1, 4, 4, 3)}, {"x0": (1, 5, 4, 3)}, {"x0": (0, 4, 4, 3)}):
        with pytest.raises(ShapeError):
            load_tflite(model, shapes)
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingExtraError, match=r"octavo\[tflite\]"):
        load_tflite(model)


def survive(data):
    """Loads and optimizes, or refuses by a documented error."""
    try:
        run_pipeline(load_tflite(data))
    except OctavoError as error:
        assert str(error)
        return type(error).__name__
    return "fine"


def test_truncated(lite):
    model = small(lite).build()
    found = {survive(model[:size]) for size in range(0, len(model), max(len(model) // 200, 1))}
    print(found)
    assert "FormatError" in found


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_mutations(kind, lite):
    """Bytes, words and blocks replaced: offsets, counts, types, dims, options."""
    model, rng = small(lite, kind).build(), random.Random(SEED)
    print(f"seed {SEED}, {len(model)} bytes")
    words = [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x10000, len(model)]
    found: dict[str, int] = {}
    for _ in range(300):
        data = bytearray(model)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(8, len(data) - 4)
            if rng.random() < 0.5:
                data[at] = rng.randrange(256)
            else:
                word = rng.choice([*words, rng.randrange(2**32)])
                struct.pack_into("<I", data, at & ~3, word)
        name = survive(bytes(data))
        found[name] = found.get(name, 0) + 1
    print(found)
    assert found["FormatError"] > 10
    assert found["fine"] > 10


def test_random_bytes_behind_the_identifier():
    rng = random.Random(SEED)
    for size in (8, 12, 40, 400, 4000):
        for _ in range(20):
            data = b"\x10\0\0\0TFL3" + rng.randbytes(size)
            assert survive(data) in ("FormatError", "LimitError", "UnsupportedError", "GraphError")

# SPDX-License-Identifier: Apache-2.0
"""Every TFLite operator that is read, in float32 and where it has one in int8, against LiteRT."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import octavo
from octavo.importers.tflite import load_tflite

IMAGE = [2, 7, 6, 5]
RELU, RELU6 = 1, 3
SAME, VALID = 0, 1
WINDOW = {"Padding": SAME, "StrideW": 1, "StrideH": 2}
DILATED = {"DilationWFactor": 1, "DilationHFactor": 1}


def kinds(lite, kind, shape, scale=0.03, zero_point=-5, **fields):
    """A computed tensor of either kind."""
    if kind == "float32":
        return lite.tensor(shape, **fields)
    return lite.tensor(shape, kind, scale=[scale], zero_point=[zero_point], **fields)


def image(lite, kind, shape=IMAGE, scale=0.02, zero_point=3):
    if kind == "float32":
        return lite.input(shape)
    return lite.input(shape, kind, scale=[scale], zero_point=[zero_point])


def conv(lite, kind, padding=SAME, stride=2, dilation=1, act=RELU, out=(2, 4, 3, 8), w_in=5):
    x = image(lite, kind, [2, 7, 6, 10] if w_in == 10 else IMAGE)
    w = lite.weights(8, 3, 3, 5, kind=kind, axis=0)
    y = kinds(lite, kind, out, 0.2, -20)
    options = {"Padding": padding, "StrideW": stride, "StrideH": stride}
    options |= {"DilationWFactor": dilation, "DilationHFactor": dilation}
    return lite.op(
        "CONV_2D", [x, w, lite.bias(8, x, w)], y, "Conv2DOptions", **options,
        FusedActivationFunction=act,
    )  # fmt: skip


def depthwise(lite, kind, multiplier=2):
    x = image(lite, kind)
    w = lite.weights(1, 3, 3, 5 * multiplier, kind=kind, axis=3)
    y = kinds(lite, kind, [2, 5, 4, 5 * multiplier], 0.06, 3)
    return lite.op(
        "DEPTHWISE_CONV_2D", [x, w, lite.bias(5 * multiplier, x, w)], y, "DepthwiseConv2DOptions",
        Padding=VALID, StrideW=1, StrideH=1, DepthMultiplier=multiplier, **DILATED,
    )  # fmt: skip


def linear(lite, kind, x_shape, y_shape, keep=False, axis=None):
    x = image(lite, kind, x_shape)
    w = lite.weights(6, 30, kind=kind, axis=axis)
    y = kinds(lite, kind, y_shape, 0.1, 7)
    return lite.op(
        "FULLY_CONNECTED", [x, w, lite.bias(6, x, w)], y, "FullyConnectedOptions",
        KeepNumDims=keep, FusedActivationFunction=RELU6,
    )  # fmt: skip


def pool(lite, kind, op, act=0):
    x = image(lite, kind, zero_point=-128)
    y = kinds(lite, kind, [2, 4, 6, 5], 0.02, -128)
    return lite.op(
        op, [x], y, "Pool2DOptions", **WINDOW, FilterWidth=3, FilterHeight=2,
        FusedActivationFunction=act,
    )  # fmt: skip


def binary(lite, kind, op, table, act=0, constant=False):
    x = image(lite, kind)
    other = lite.weights(5, kind=kind) if constant else image(lite, kind, [2, 1, 1, 5], 0.011, -7)
    y = kinds(lite, kind, IMAGE, 0.02, -11)
    return lite.op(op, [x, other], y, table, FusedActivationFunction=act)


def unary(lite, kind, op, scale=0.02, zero_point=3, table="", **options):
    x = image(lite, kind, scale=0.04)
    return lite.op(op, [x], kinds(lite, kind, IMAGE, scale, zero_point), table, **options)


def moved(lite, kind, op, shape, constants=(), table="", **options):
    """An op that moves bytes: the same parameters on both sides."""
    x = image(lite, kind)
    y = kinds(lite, kind, shape, 0.02, 3)
    return lite.op(op, [x, *(lite.const(c) for c in constants)], y, table, **options)


def i32(*numbers):
    return np.array(numbers, np.int32)


def mean(lite, kind, shape, axes, keep):
    x = image(lite, kind)
    y = kinds(lite, kind, shape, 0.015, 3)
    return lite.op("MEAN", [x, lite.const(i32(*axes))], y, "ReducerOptions", KeepDims=keep)


def concat(lite, kind):
    x, other = image(lite, kind), image(lite, kind, [2, 7, 6, 3])
    y = kinds(lite, kind, [2, 7, 6, 8], 0.02, 3)
    return lite.op("CONCATENATION", [x, other], y, "ConcatenationOptions", Axis=-1)


def softmax(lite, kind):
    x = image(lite, kind, [3, 11], 0.1)
    y = kinds(lite, kind, [3, 11], 1 / 256, -128)
    return lite.op("SOFTMAX", [x], y, "SoftmaxOptions", Beta=1.0)


def split(lite, kind):
    x = image(lite, kind, [2, 6, 4])
    parts = [kinds(lite, kind, [2, 2, 4], 0.02, 3) for _ in range(3)]
    lite.op("SPLIT", [lite.const(np.int32(1)), x], parts, "SplitOptions", NumSplits=3)
    return lite.op("ADD", parts[1:], kinds(lite, kind, [2, 2, 4]), "AddOptions")


def split_v(lite, kind):
    x = image(lite, kind, [2, 6, 4])
    parts = [kinds(lite, kind, [2, size, 4], 0.02, 3) for size in (1, 5)]
    sizes = lite.const(i32(1, -1))
    lite.op("SPLIT_V", [x, sizes, lite.const(np.int32(1))], parts, "SplitVOptions", NumSplits=2)
    return parts[1]


def pack(lite, kind):
    x = image(lite, kind, [3, 4])
    parts = [kinds(lite, kind, [4], 0.02, 3) for _ in range(3)]
    lite.op("UNPACK", [x], parts, "UnpackOptions", Axis=0, Num=3)
    y = kinds(lite, kind, [4, 2], 0.02, 3)
    return lite.op("PACK", [parts[2], parts[0]], y, "PackOptions", Axis=1, ValuesCount=2)


def gather(lite, kind):
    x = image(lite, kind)
    y = kinds(lite, kind, [2, 7, 3, 5], 0.02, 3)
    return lite.op("GATHER", [x, lite.const(i32(4, 0, 4))], y, "GatherOptions", Axis=2)


def batch_matmul(lite, kind):
    x, other = image(lite, kind, [2, 3, 8]), image(lite, kind, [2, 5, 8], 0.01, -4)
    y = kinds(lite, kind, [2, 3, 5], 0.1, 3)
    return lite.op("BATCH_MATMUL", [x, other], y, "BatchMatMulOptions", AdjX=False, AdjY=True)


def resize(lite, kind, op, table, **options):
    y = kinds(lite, kind, [2, 11, 12, 5], 0.02, 3)
    return lite.op(op, [image(lite, kind), lite.const(i32(11, 12))], y, table, **options)


def strided(lite, kind):
    bounds = (i32(0, -2, 0, 1), i32(9, 0, 9, 4), i32(1, 1, 1, 1))
    return moved(
        lite, kind, "STRIDED_SLICE", [2, 6, 3], bounds, "StridedSliceOptions",
        BeginMask=1, EndMask=5, ShrinkAxisMask=2,
    )  # fmt: skip


BOTH: dict[str, Any] = {
    "conv_same": conv,
    "conv_valid_dilated": lambda m, k: conv(m, k, VALID, 1, 2, RELU6, (2, 3, 2, 8)),
    "conv_groups": lambda m, k: conv(m, k, w_in=10),
    "depthwise_multiplier": depthwise,
    "depthwise": lambda m, k: depthwise(m, k, 1),
    "fully_connected": lambda m, k: linear(m, k, [4, 30], [4, 6]),
    "fully_connected_image": lambda m, k: linear(m, k, [3, 2, 5, 3], [3, 6]),
    "fully_connected_keep": lambda m, k: linear(m, k, [2, 3, 30], [2, 3, 6], True),
    "add": lambda m, k: binary(m, k, "ADD", "AddOptions"),
    "add_constant_relu6": lambda m, k: binary(m, k, "ADD", "AddOptions", RELU6, True),
    "mul": lambda m, k: binary(m, k, "MUL", "MulOptions"),
    "sub": lambda m, k: binary(m, k, "SUB", "SubOptions", RELU),
    "average_pool": lambda m, k: pool(m, k, "AVERAGE_POOL_2D"),
    "average_pool_relu6": lambda m, k: pool(m, k, "AVERAGE_POOL_2D", RELU6),
    "max_pool": lambda m, k: pool(m, k, "MAX_POOL_2D"),
    "max_pool_relu": lambda m, k: pool(m, k, "MAX_POOL_2D", RELU),
    "mean": lambda m, k: mean(m, k, [2, 5], (1, 2), False),
    "mean_keep": lambda m, k: mean(m, k, [2, 1, 1, 5], (2, 1), True),
    "mean_last": lambda m, k: mean(m, k, [2, 7, 6], (3,), False),
    "reshape": lambda m, k: moved(m, k, "RESHAPE", [2, 42, 5], (i32(-1, 42, 5),)),
    "reshape_option": lambda m, k: moved(
        m, k, "RESHAPE", [14, 30], (), "ReshapeOptions", NewShape=[14, 30]
    ),
    "softmax": softmax,
    "pad": lambda m, k: moved(
        m, k, "PAD", [2, 8, 9, 5], (np.array([[0, 0], [1, 0], [1, 2], [0, 0]], np.int32),)
    ),
    "concatenation": concat,
    "logistic": lambda m, k: unary(m, k, "LOGISTIC", 1 / 256, -128),
    "tanh": lambda m, k: unary(m, k, "TANH", 1 / 128, 0),
    "relu": lambda m, k: unary(m, k, "RELU"),
    "relu6": lambda m, k: unary(m, k, "RELU6", 0.04, -60),
    "relu_n1_to_1": lambda m, k: unary(m, k, "RELU_N1_TO_1"),
    "leaky_relu": lambda m, k: unary(m, k, "LEAKY_RELU", table="LeakyReluOptions", Alpha=0.2),
    "hard_swish": lambda m, k: unary(m, k, "HARD_SWISH", 0.025, -100),
    "transpose": lambda m, k: moved(m, k, "TRANSPOSE", [2, 5, 7, 6], (i32(0, 3, 1, 2),)),
    "squeeze_expand": lambda m, k: moved(m, k, "EXPAND_DIMS", [2, 7, 1, 6, 5], (np.int32(2),)),
    "strided_slice": strided,
    "slice": lambda m, k: moved(
        m, k, "SLICE", [1, 3, 6, 2], (i32(1, 2, 0, 3), i32(1, 3, -1, 2))
    ),
    "split": split,
    "split_v": split_v,
    "unpack_pack": pack,
    "gather": gather,
    "batch_matmul": batch_matmul,
    "nearest": lambda m, k: resize(
        m, k, "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"
    ),
    "nearest_half_pixel": lambda m, k: resize(
        m, k, "RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions", HalfPixelCenters=True
    ),
    "bilinear": lambda m, k: resize(m, k, "RESIZE_BILINEAR", "ResizeBilinearOptions"),
    "bilinear_half_pixel": lambda m, k: resize(
        m, k, "RESIZE_BILINEAR", "ResizeBilinearOptions", HalfPixelCenters=True
    ),
    "bilinear_align_corners": lambda m, k: resize(
        m, k, "RESIZE_BILINEAR", "ResizeBilinearOptions", AlignCorners=True
    ),
}  # fmt: skip
FLOAT: dict[str, Any] = {
    "div": lambda m, k: binary(m, k, "DIV", "DivOptions"),
    "exp": lambda m, k: unary(m, k, "EXP"),
    "gelu": lambda m, k: unary(m, k, "GELU", table="GeluOptions", Approximate=False),
    "gelu_tanh": lambda m, k: unary(m, k, "GELU", table="GeluOptions", Approximate=True),
}
#: Float steps in a quantized model: these have no 8-bit form here.
NOT_INTEGER = {"sub", "mean_last"}
#: Share of values that may differ by one step; none where not listed. TFLite rounds halves away
#: from zero and in fixed point; the scales here are round numbers, so that halves are frequent.
OFF_BY_ONE = {
    "depthwise": 0.02, "add": 0.06, "mul": 0.02, "sub": 0.03, "average_pool": 0.15,
    "average_pool_relu6": 0.15, "mean_last": 0.3, "leaky_relu": 0.15, "bilinear": 0.15,
    "bilinear_half_pixel": 0.2, "bilinear_align_corners": 0.3,
}  # fmt: skip


def run(model, feed, **options):
    return list(octavo.Model(load_tflite(model)).compile(**options).run(feed).values())


@pytest.mark.parametrize("name", [*BOTH, *FLOAT])
def test_float(name, lite, feed, litert_run):
    y = (BOTH | FLOAT)[name](lite, "float32")
    model, inputs = lite.build(y), feed(lite)
    (found,), (expected,) = run(model, inputs), litert_run(model, inputs)
    assert found.shape == expected.shape == tuple(lite.tensors[y].shape)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", BOTH)
def test_int8(name, lite, feed, litert_run):
    y = BOTH[name](lite, "int8")
    model, inputs = lite.build(y), feed(lite)
    (found,), (expected,) = run(model, inputs), litert_run(model, inputs)
    assert found.dtype == np.int8
    assert found.shape == expected.shape
    steps = np.abs(found.astype(int) - expected.astype(int))
    print(f"{name}: equal {np.mean(steps == 0):.4f}, largest difference {steps.max()}")
    assert steps.max() <= 1
    assert np.mean(steps > 0) <= OFF_BY_ONE.get(name, 0.0)
    left = octavo.Model(load_tflite(model)).float_reasons
    assert bool(left) == (name in NOT_INTEGER), left

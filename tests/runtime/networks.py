# SPDX-License-Identifier: Apache-2.0
"""Small plans for the tests: one step each, or a little network with most kinds of steps."""

from __future__ import annotations

import numpy as np
import pytest
from plan_bytes import NUMPY, Builder

from octavo import _core

ISAS = [row["name"] for row in _core.isa_list() if row["built"] and row["supported"]]
isas = pytest.mark.parametrize("isa", ISAS)


def strides_of(builder, index):
    record = builder.tensors[index]
    return record["strides"][: record["rank"]]


def load(builder, tensor, values):
    builder.step("load_constant", [], [tensor], consts=[values])


def emit(builder, tensor, name="out"):
    """Copies an arena tensor to a model output."""
    t = builder.tensors[tensor]
    dtype = {1: "f32", 2: "u8", 3: "s8"}[t["dtype"]]
    target = builder.output(name, dtype, t["dims"][: t["rank"]], 1.0, 0)
    builder.step("copy", [tensor], [target])


def window(k, stride=1, pads=(0, 0, 0, 0), dilation=1):
    return [k, k, stride, stride, dilation, dilation, *pads]


def conv_consts(rng, out, k, channels, dtype=np.int8):
    info = np.iinfo(dtype)
    weights = rng.integers(info.min, info.max, (out, k, k, channels), dtype, endpoint=True)
    bias = rng.integers(-2000, 2000, out, np.int32)
    multiplier = rng.uniform(0.2, 1.5, out).astype(np.float32) / np.float32(k * k * channels * 16)
    return [weights, bias, multiplier]


def allocate(outputs):
    return [np.zeros(o["shape"], NUMPY[o["dtype"]]) for o in outputs]


def choices_of(plan, isa):
    """One list of kernels for each kernel of each step that leaves a choice."""
    for step, _, kernels in _core.tunable_steps(plan, isa, 1):
        for kernel in kernels:
            chosen = [""] * len(plan.steps)
            chosen[step] = kernel
            yield chosen


def run(data, inputs, *, isa=None, threads=1, poison=None, kernels=()):
    """Outputs of a plan as new arrays."""
    plan = _core.Plan.from_bytes(data)
    session = _core.Session(plan, isa, threads, kernels)
    if poison is not None:
        session.poison(poison)
    outputs = allocate(plan.outputs)
    session.run(inputs, outputs)
    return outputs


def float_edges(builder, x, y):
    """f32 model input quantized into arena tensor x, arena tensor y dequantized to the output."""

    def dims(index):
        t = builder.tensors[index]
        return t["dims"][: t["rank"]]

    source, target = builder.input("in", "f32", dims(x)), builder.output("out", "f32", dims(y))
    builder.step("quantize", [source], [x])
    return source, target


def small_net(rng, size=9):
    """quantize, conv with halo, depthwise, add, pools, table, linear, softmax, dequantize; also a
    float branch, copies of strided views, fill, flip and a constant."""
    b = Builder()
    image = b.input("image", "f32", [1, 3, size, size])
    codes = b.input("codes", "s8", [1, 10], 0.1, -3)
    probs = b.output("probs", "f32", [1, 10])
    plain = b.output("plain", "s8", [1, 10], 1 / 256, -128)
    logits = b.output("logits", "f32", [1, 4])

    x = b.tensor("x", "u8", [1, size, size, 3], halo=(1, 1, 1, 1), scale=0.02, zero_point=117)
    s = b.tensors[x]["strides"]
    x_nchw = b.view(x, "x:nchw", [1, 3, size, size], [s[0], s[3], s[1], s[2]])
    b.step("quantize", [image], [x_nchw])

    c1 = b.tensor("c1", "u8", [1, size, size, 16], halo=(1, 1, 1, 1), scale=0.05, zero_point=9)
    ints = [*window(3, 1, (1, 1, 1, 1)), 1, 0, 255, 0]
    b.step("conv_s8", [x], [c1], ints, consts=conv_consts(rng, 16, 3, 3), macs=size * size * 432)

    # A depthwise convolution and a 1x1 one write side by side into one buffer.
    both = b.tensor("both", "u8", [1, size, size, 24], scale=0.05, zero_point=20)
    strides = b.tensors[both]["strides"][:4]
    left = b.view(both, "left", [1, size, size, 16], strides)
    right = b.view(both, "right", [1, size, size, 8], strides, 16)
    ints = [*window(3, 1, (1, 1, 1, 1)), 16, 3, 250, 0]
    b.step("conv_s8", [c1], [left], ints, consts=conv_consts(rng, 16, 3, 1), macs=size * size * 144)
    ints = [*window(1), 1, 0, 255, 0]
    b.step(
        "conv_s8", [c1], [right], ints, consts=conv_consts(rng, 8, 1, 16), macs=size * size * 128
    )

    half = size // 2
    pooled = b.tensor("pooled", "u8", [1, half, half, 24], scale=0.05, zero_point=20)
    b.step("maxpool_s8", [both], [pooled], [*window(2, 2), 0, 255])
    row = b.tensor("row", "u8", [24], scale=0.01, zero_point=100)
    b.step("load_constant", [], [row], consts=[rng.integers(0, 256, 24, np.uint8)])
    total = b.tensor("total", "u8", [1, half, half, 24], scale=0.07, zero_point=40)
    b.step("add_s8", [pooled, row], [total], [0, 255, 0], [0.05 / 0.07, 0.01 / 0.07])
    table = rng.integers(0, 256, 256, np.uint8)
    b.step("lut_s8", [total], [total], consts=[table])
    mean = b.tensor("mean", "u8", [1, 1, 1, 24], scale=0.04, zero_point=30)
    b.step("avgpool_s8", [total], [mean], [*window(half), 0, 255, 0, 0])
    flat = b.view(mean, "flat", [1, 24], [24, 1])
    scores = b.tensor("scores", "u8", [1, 10], scale=0.1, zero_point=128)
    consts = conv_consts(rng, 10, 1, 24, np.uint8)
    consts.append(rng.integers(100, 156, 10, np.int32))
    b.step("linear_s8", [flat], [scores], [0, 255, 0], consts=consts, macs=240)
    mixed = b.tensor("mixed", "u8", [1, 10], scale=0.1, zero_point=125)
    b.step("flip", [codes], [mixed])
    product = b.tensor("product", "u8", [1, 10], scale=0.1, zero_point=128)
    b.step("mul_s8", [scores, mixed], [product], [0, 255, 0], [0.1])
    soft = b.tensor("soft", "u8", [1, 10], scale=1 / 256, zero_point=0)
    steps = np.rint(2.0**23 * np.exp(-0.1 * np.arange(256))).astype(np.uint32)
    b.step("softmax_s8", [product], [soft], [0, 255, 0], consts=[steps])
    b.step("dequantize", [soft], [probs])
    b.step("flip", [soft], [plain])

    f = b.tensor("f", "f32", [1, 10])
    b.step("dequantize", [scores], [f])
    g = b.tensor("g", "f32", [1, 12])
    b.step("fill", [], [g], [0])
    middle = b.view(g, "g:middle", [1, 10], [48, 4], 4)
    b.step("copy", [f], [middle])
    weights = rng.normal(0, 0.3, (4, 12)).astype(np.float32)
    h = b.tensor("h", "f32", [1, 4])
    zeros = np.zeros(4, np.float32)
    b.step("linear_f32", [g], [h], floats=[-np.inf, np.inf], consts=[weights, zeros])
    b.step("unary_f32", [h], [h], [3])
    b.step("copy", [h], [logits])
    return b


def small_net_inputs(rng, size=9):
    return [
        rng.normal(0, 1, (1, 3, size, size)).astype(np.float32),
        rng.integers(-128, 128, (1, 10), np.int8),
    ]

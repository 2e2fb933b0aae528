# SPDX-License-Identifier: Apache-2.0
"""A little network of what transformers and detectors add to `networks.small_net`."""

from __future__ import annotations

import numpy as np
from networks import conv_consts, emit, load, window
from plan_bytes import Builder

from octavo import _core

HEADS, TOKENS, WIDTH = 2, 6, 20
ROW = HEADS * WIDTH


def kernels_of(data, isa):
    session = _core.Session(_core.Plan.from_bytes(data), isa)
    return {row["kernel"] for row in session.kernels()}


def resize_tables(rng, out, size, weight=None):
    """Input coordinates of rows and columns, and weights of the next ones unless for nearest."""
    tables = [rng.integers(0, n, m, np.int32) for m, n in zip(out, size, strict=True)]
    if weight is None:
        return tables
    return tables + [(rng.uniform(0, 1, m) * weight).astype(type(weight)) for m in out]


def attention(rng, b):
    tokens, mask = b.input("tokens", "s64", [TOKENS]), b.input("mask", "bool", [1, TOKENS])
    ids, hidden = b.tensor("ids", "s64", [TOKENS]), b.tensor("hidden", "bool", [1, TOKENS])
    b.step("copy", [tokens], [ids])
    b.step("copy", [mask], [hidden])
    rows = b.tensor("rows", "u8", [1, TOKENS, ROW], scale=0.03, zero_point=128)
    b.step("gather", [ids], [rows], consts=[rng.integers(0, 256, (9, ROW), np.uint8)])
    normed = b.tensor("normed", "u8", [1, TOKENS, ROW], scale=0.03, zero_point=120)
    gain = [rng.normal(30, 5, ROW).astype(np.float32), np.ones(ROW, np.float32)]
    b.step("layer_norm_s8", [rows], [normed], [0, 255, 0], [1e-4], gain)

    heads = b.view(normed, "heads", [HEADS, TOKENS, WIDTH], [WIDTH, ROW, 1])
    keys = b.view(normed, "keys", [HEADS, WIDTH, TOKENS], [WIDTH, 1, ROW])
    scores = b.tensor("scores", "u8", [HEADS, TOKENS, TOKENS], scale=0.02, zero_point=128)
    b.step("matmul_s8", [heads, keys], [scores], [0, 255, 0], [0.01], macs=HEADS * 36 * WIDTH)
    wide = b.tensor("wide", "f32", [HEADS, TOKENS, TOKENS])
    b.step("dequantize", [scores], [wide])
    bias = b.tensor("bias", "f32", [1, TOKENS])
    b.step("cast", [hidden], [bias])
    b.step("binary_f32", [wide, bias], [wide], [0], [-np.inf, np.inf])
    b.step("softmax_f32", [wide], [wide])
    shares = b.tensor("shares", "u8", [HEADS, TOKENS, TOKENS], scale=1 / 255)
    b.step("quantize", [wide], [shares])
    mixed = b.tensor("mixed", "u8", [HEADS, TOKENS, WIDTH], scale=0.03, zero_point=120)
    b.step("matmul_s8", [shares, heads], [mixed], [0, 255, 0], [1 / 255])
    return mixed


def float_tail(rng, b, mixed):
    f = b.tensor("f", "f32", [HEADS, TOKENS, WIDTH])
    b.step("dequantize", [mixed], [f])
    b.step("unary_f32", [f], [f], [9])
    scale = [np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)]
    b.step("layer_norm_f32", [f], [f], floats=[1e-5], consts=scale)
    wanted = b.tensor("wanted", "s32", [3])
    load(b, wanted, np.array([-1, 2, -(2**31)], np.int32))
    picked = b.tensor("picked", "f32", [HEADS, 3, WIDTH])
    b.step("gather", [wanted, f], [picked])
    emit(b, picked, "picked")
    weights = b.tensor("weights", "f32", [WIDTH, 3])
    load(b, weights, rng.normal(0, 1, (WIDTH, 3)).astype(np.float32))
    product = b.tensor("product", "f32", [HEADS, TOKENS, 3])
    b.step("matmul_f32", [f, weights], [product], floats=[-np.inf, np.inf])
    emit(b, product, "product")
    means = b.tensor("means", "f32", [HEADS, TOKENS, 1])
    b.step("mean_f32", [f], [means])
    emit(b, means, "means")


def images(rng, b, size=7, channels=32):
    """A 3x3 convolution that is cheaper as Winograd, and what it gives in other sizes."""
    image = b.input("image", "u8", [1, size, size, channels])
    x = b.tensor("x", "u8", [1, size, size, channels], halo=(1, 1, 1, 1), zero_point=90)
    b.step("copy", [image], [x])
    y = b.tensor("y", "u8", [1, size, size, channels], scale=0.1, zero_point=40)
    ints = [*window(3, 1, (1, 1, 1, 1)), 1, 0, 255, 0]
    b.step("conv_s8", [x], [y], ints, consts=conv_consts(rng, channels, 3, channels))
    near = b.tensor("near", "u8", [1, 2 * size, 3, channels], scale=0.1, zero_point=40)
    tables = resize_tables(rng, (2 * size, 3), (size, size))
    b.step("resize_s8", [y], [near], [0, 0, 255, 0], [1.0], tables)
    emit(b, near, "near")
    up = b.tensor("up", "u8", [1, 9, 5, channels], scale=0.1, zero_point=30)
    tables = resize_tables(rng, (9, 5), (size, size), np.int32(2048))
    b.step("resize_s8", [y], [up], [1, 0, 255, 0], [2.0**-22], tables)
    emit(b, up, "up")
    f = b.tensor("images:f", "f32", [1, 9, 5, channels])
    b.step("dequantize", [up], [f])
    g = b.tensor("images:g", "f32", [1, 4, 6, channels])
    tables = resize_tables(rng, (4, 6), (9, 5), np.float32(1))
    b.step("resize_f32", [f], [g], [1], consts=tables)
    depthwise = b.tensor("images:h", "f32", [1, 4, 6, channels])
    consts = [rng.normal(0, 1, (channels, 3, 3, 1)).astype(np.float32), np.zeros(channels, "f4")]
    ints = [*window(3, 1, (1, 1, 1, 1)), channels]
    b.step("conv_f32", [g], [depthwise], ints, [-np.inf, np.inf], consts)
    pooled = b.tensor("pooled", "f32", [1, 2, 3, channels])
    b.step("maxpool_f32", [depthwise], [pooled], window(2, 2), [-np.inf, np.inf])
    emit(b, pooled, "pooled")


def encoder_net(rng):
    """gather by the caller's indices, casts, both layer norms, products of activations, Gelu, mean,
    every way to resize, a convolution that runs as Winograd and a depthwise float32 one."""
    b = Builder()
    float_tail(rng, b, attention(rng, b))
    images(rng, b)
    return b


def encoder_inputs(rng):
    tokens = np.array([3, -9, -(2**63), 2**63 - 1, -(2**31), 2**31], np.int64)
    mask = np.array([[0, 1, 0, 0, 1, 0]], np.bool_)
    return [tokens, mask, rng.integers(0, 256, (1, 7, 7, 32), np.uint8)]

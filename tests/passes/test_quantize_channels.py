# SPDX-License-Identifier: Apache-2.0
"""Factors per channel in front of a model's first QuantizeLinear become part of it."""

from __future__ import annotations

import numpy as np
import pytest

import octavo
from octavo.passes import run_pipeline
from octavo.passes.quantize_channels import quantize_channels

NHWC = (0, 2, 3, 1)


def factors(s, *dims):
    """Mul and Add operands of this shape."""
    return s.const(s.rng.uniform(0.5, 2.0, dims).astype(np.float32)), s.const(
        s.rng.normal(size=dims).astype(np.float32)
    )


def adjusted(s, x, gain, shift):
    return s.op("Add", s.op("Mul", x, gain), shift)


def planes(s, *, pad=False, order="transpose first", dtype="u8"):
    """x NCHW -> [Pad] -> Mul -> Add -> Transpose and QuantizeLinear, in either order."""
    x = s.input(2, 3, 6, 37)
    if pad:
        x = s.op("Pad", x, begin=(0, 0, 1, 2), end=(0, 0, 3, 0), value=0.0)
    x = adjusted(s, x, *factors(s, 3, 1, 1))
    if order == "transpose first":
        return s.q(s.op("Transpose", x, perm=NHWC), 0.03, 7 if dtype == "u8" else -121, dtype)
    return s.op("Transpose", s.q(x, 0.03, 7 if dtype == "u8" else -121, dtype), perm=NHWC)


@pytest.mark.parametrize("dtype", ["u8", "s8"])
@pytest.mark.parametrize("order", ["transpose first", "quantize first"])
@pytest.mark.parametrize("pad", [False, True], ids=["plain", "padded"])
def test_one_step_with_the_same_bits(pad, order, dtype, sketch, run):
    s = sketch()
    graph = s.graph(planes(s, pad=pad, order=order, dtype=dtype))
    after = quantize_channels(graph)
    assert [node.op for node in after.nodes] == ["QuantizeLinear", *["Pad"] * pad]
    feeds = s.feeds(graph)
    (want,), (got,) = run(graph, feeds).values(), run(after, feeds).values()
    np.testing.assert_array_equal(got, want)
    (computed,) = octavo.Model(graph).compile().run(feeds).values()
    np.testing.assert_array_equal(computed, want)


def test_channels_that_lie_last_already(sketch, run):
    s = sketch()
    graph = s.graph(s.q(adjusted(s, s.input(1, 5, 33, 3), *factors(s, 3)), 0.02, 100))
    after = quantize_channels(graph)
    assert [node.op for node in after.nodes] == ["QuantizeLinear"]
    feeds = s.feeds(graph)
    (want,), (got,) = run(graph, feeds).values(), run(after, feeds).values()
    np.testing.assert_array_equal(got, want)


def test_special_numbers(sketch, run):
    s = sketch()
    graph = s.graph(planes(s))
    x = np.full((2, 3, 6, 37), np.inf, np.float32)
    x[0], x[1, :, :, ::2], x[1, :, 2] = -np.inf, np.nan, 3e38
    with np.errstate(over="ignore", invalid="ignore"):
        (want,) = run(graph, {"x0": x}).values()
    (got,) = octavo.Model(graph).compile().run({"x0": x}).values()
    np.testing.assert_array_equal(got, want)


def not_at_the_input(s):
    return [s.q(adjusted(s, s.op("Tanh", s.input(1, 3, 4, 4)), *factors(s, 3, 1, 1)), 0.1, 9)]


def an_activation(s):
    gain, shift = factors(s, 3, 1, 1)
    y = s.op("Mul", s.input(1, 3, 4, 4), gain)
    return [s.q(s.op("Add", y, shift, clamp=(0.0, 6.0)), 0.1, 9)]


def another_border(s):
    ends = (0, 0, 1, 1)
    y = s.op("Pad", s.input(1, 3, 4, 4), begin=ends, end=ends, value=1.0)
    return [s.q(adjusted(s, y, *factors(s, 3, 1, 1)), 0.1, 9)]


def read_elsewhere(s):
    y = adjusted(s, s.input(1, 3, 4, 4), *factors(s, 3, 1, 1))
    return [s.q(y, 0.1, 9), s.op("Tanh", y)]


def along_the_width(s):
    return [s.q(adjusted(s, s.input(1, 3, 4, 5), *factors(s, 3, 1, 1)), 0.1, 9)]


def in_16_bits(s):
    return [s.q(adjusted(s, s.input(1, 3, 4, 4), *factors(s, 3, 1, 1)), 1e-4, 0, "s16")]


def an_infinite_gain(s):
    ends, (_, shift) = (0, 0, 1, 1), factors(s, 3, 1, 1)
    gain = s.const(np.float32([1, np.inf, 1]).reshape(3, 1, 1))
    y = s.op("Pad", s.input(1, 3, 4, 4), begin=ends, end=ends, value=0.0)
    return [s.q(adjusted(s, y, gain, shift), 0.1, 9)]


def a_broadcast_input(s):
    gain, shift = factors(s, 1, 3, 4, 4)[0], factors(s, 3, 1, 1)[1]
    return [s.q(adjusted(s, s.input(4), gain, shift), 0.1, 9)]


@pytest.mark.parametrize(
    "case",
    [
        an_infinite_gain,
        a_broadcast_input,
        not_at_the_input,
        an_activation,
        another_border,
        read_elsewhere,
        in_16_bits,
    ],
)
def test_left_alone(case, sketch):
    s = sketch()
    graph = s.graph(*(s.op("Transpose", name, perm=NHWC) for name in case(s)))
    after = quantize_channels(graph)
    assert [node.op for node in after.nodes] == [node.op for node in graph.nodes]


def test_left_alone_where_channels_do_not_come_last(sketch):
    s = sketch()
    graph = s.graph(*along_the_width(s))
    assert [node.op for node in quantize_channels(graph).nodes] == ["Mul", "Add", "QuantizeLinear"]


def test_single_numbers(sketch):
    s = sketch()
    graph = s.graph(s.q(adjusted(s, s.input(), *factors(s)), 0.1, 9))
    assert [node.op for node in quantize_channels(graph).nodes] == ["Mul", "Add", "QuantizeLinear"]


def test_nothing_stays_in_float(sketch):
    s = sketch()
    graph = run_pipeline(s.graph(planes(s, pad=True)))
    assert not graph.notes

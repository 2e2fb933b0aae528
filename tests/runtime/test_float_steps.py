# SPDX-License-Identifier: Apache-2.0
"""Float32 steps: special values, precision of the functions, the same bits for any thread count."""

import numpy as np
import pytest
from networks import conv_consts, run, window
from plan_bytes import Builder

INF, NAN = np.float32(np.inf), np.float32(np.nan)
SPECIAL = [
    0.0,
    -0.0,
    INF,
    -INF,
    NAN,
    1e-45,
    -1e-45,
    3.4e38,
    -3.4e38,
    88.7,
    88.8,
    -103.9,
    -104.1,
    20,
]


def unary(values, code, floats=()):
    b = Builder()
    x, y = b.input("x", "f32", values.shape), b.output("y", "f32", values.shape)
    t = b.tensor("t", "f32", values.shape)
    b.step("copy", [x], [t])
    b.step("unary_f32", [t], [t], [code], floats)
    b.step("copy", [t], [y])
    return run(b.build(), [values])[0]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "sigmoid": (2, sigmoid),
    "tanh": (3, np.tanh),
    "exp": (6, np.exp),
    "sqrt": (7, np.sqrt),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_a_unit_in_the_last_place(rng, name):
    code, function = FUNCTIONS[name]
    tiny = np.ldexp(rng.uniform(0.5, 1, 4000), rng.integers(-140, 0, 4000))
    values = np.concatenate([SPECIAL, rng.uniform(-105, 105, 40000), rng.normal(0, 1, 40000), tiny])
    values = values.astype(np.float32)
    with np.errstate(all="ignore"):
        want = function(values.astype(np.float64)).astype(np.float32)
    got = unary(values, code)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite])
    # The float64 value of a C library may itself be a rounding away, so one unit is allowed.
    ulps = np.abs(got[finite].astype(np.float64) - want[finite]) / np.spacing(np.abs(want[finite]))
    assert ulps.max() <= 1
    assert (ulps > 0).mean() < 1e-3


def test_clamps_keep_nan():
    x = np.array([NAN, INF, -INF, 2.5, -0.0], np.float32)
    np.testing.assert_array_equal(unary(x, 0, [-1, 2]), np.float32([NAN, 2, -1, 2, 0]))
    np.testing.assert_array_equal(unary(x, 1, [0.5]), np.float32([NAN, INF, -INF, 2.5, 0]))
    np.testing.assert_array_equal(unary(x, 4, [0.5, 0.5]), np.float32([NAN, 1, 0, 1, 0.5]))


def test_softmax_of_large_values():
    b = Builder()
    x, y = b.input("x", "f32", (2, 3)), b.output("y", "f32", (2, 3))
    t = b.tensor("t", "f32", (2, 3))
    b.step("copy", [x], [t])
    b.step("softmax_f32", [t], [t])
    b.step("copy", [t], [y])
    values = np.array([[1e38, 1e38, -1e38], [0, -INF, 0]], np.float32)
    (got,) = run(b.build(), [values])
    np.testing.assert_array_equal(got, np.float32([[0.5, 0.5, 0], [0.5, 0, 0.5]]))


def float_net(rng):
    b = Builder()
    x = b.input("x", "f32", (1, 30, 31, 12))
    outs = [b.output("a", "f32", (1, 30, 31, 20)), b.output("b", "f32", (1, 15, 15, 12))]
    outs += [b.output("c", "f32", (1, 30, 31, 31)), b.output("d", "f32", (1, 30, 31, 12))]
    t = b.tensor("t", "f32", (1, 30, 31, 12), halo=(1, 1, 1, 1))
    b.step("copy", [x], [t])
    clamp = [-np.inf, 3.0]
    conv = b.tensor("conv", "f32", (1, 30, 31, 20))
    weights, bias, _ = conv_consts(rng, 20, 3, 6)
    consts = [weights.astype(np.float32) / 100, bias.astype(np.float32) / 100]
    b.step("conv_f32", [t], [conv], [*window(3, 1, (1, 1, 1, 1)), 2], clamp, consts)
    pool = b.tensor("pool", "f32", (1, 15, 15, 12))
    b.step("avgpool_f32", [t], [pool], [*window(2, 2), 0], clamp)
    product = b.tensor("product", "f32", (1, 30, 31, 31))
    dense = b.tensor("dense", "f32", (1, 30, 31, 12))
    b.step("copy", [t], [dense])
    d = b.tensors[dense]["strides"]
    swapped = b.tensor("swapped", "f32", (1, 30, 12, 31))
    view = b.view(dense, "view", (1, 30, 12, 31), [d[0], d[1], d[3], d[2]])
    b.step("copy", [view], [swapped])
    b.step("matmul_f32", [dense, swapped], [product], floats=clamp)
    ratio = b.tensor("ratio", "f32", (1, 30, 31, 12))
    row = b.view(dense, "row", (12,), [4])
    b.step("binary_f32", [t, row], [ratio], [3], clamp)
    for source, target in zip((conv, pool, product, ratio), outs, strict=True):
        b.step("copy", [source], [target])
    return b.build()


def test_threads_do_not_change_float_results(rng):
    data = float_net(rng)
    x = rng.normal(0, 1, (1, 30, 31, 12)).astype(np.float32)
    want = run(data, [x])
    for threads in (2, 3, 7):
        for a, b in zip(want, run(data, [x], threads=threads), strict=True):
            np.testing.assert_array_equal(a, b)
    with np.errstate(all="ignore"):
        ratio = np.minimum(x / x[0, 0, 0], np.float32(3))
    np.testing.assert_array_equal(want[3], ratio)
    np.testing.assert_allclose(
        want[2], np.minimum(x @ x.transpose(0, 1, 3, 2), 3), rtol=1e-5, atol=1e-5
    )

# SPDX-License-Identifier: Apache-2.0
"""Gelu, layer normalization and score scaling written out: one node each, with the same meaning."""

import numpy as np
import pytest

from octavo.ir import Affine
from octavo.passes.fold_scale import fold_scale
from octavo.passes.fuse_bias import fuse_bias
from octavo.passes.fuse_gelu import fuse_gelu
from octavo.passes.fuse_layer_norm import fuse_layer_norm
from octavo.reference import run_float

F32 = np.float32


def ops_of(graph):
    return [node.op for node in graph.nodes]


def same_meaning(before, after, sketch):
    feeds = {
        name: sketch.rng.normal(size=before.values[name].shape).astype(F32)
        for name in before.inputs
    }
    want, have = run_float(before, feeds), run_float(after, feeds)
    for name in before.outputs:
        np.testing.assert_allclose(have[name], want[name], rtol=2e-5, atol=2e-6)


def gelu(s, x, order, *, root=2**0.5, half=0.5):
    inner = s.op("Div", x, s.const(F32(root)))
    gate = s.op("Add", s.op("Erf", inner), s.const(F32(1)))
    halved = s.const(F32(half))
    if order == "x gate half":
        return s.op("Mul", s.op("Mul", x, gate), halved)
    if order == "half last":
        return s.op("Mul", halved, s.op("Mul", gate, x))
    if order == "half first":
        return s.op("Mul", s.op("Mul", x, halved), gate)
    return s.op("Mul", x, s.op("Mul", gate, halved))


@pytest.mark.parametrize("order", ["x gate half", "half last", "half first", "gate half"])
def test_gelu(sketch, order):
    s = sketch()
    before = s.graph(gelu(s, s.input(3, 8), order))
    after = fuse_gelu(before)
    assert ops_of(after) == ["Gelu"]
    same_meaning(before, after, s)


@pytest.mark.parametrize("change", [{"root": 1.5}, {"half": 0.25}])
def test_no_gelu_with_other_numbers(sketch, change):
    s = sketch()
    before = s.graph(gelu(s, s.input(3, 8), "x gate half", **change))
    assert ops_of(fuse_gelu(before)) == ops_of(before)


def test_no_gelu_where_erf_is_read_elsewhere(sketch):
    s = sketch()
    x = s.input(3, 8)
    inner = s.op("Erf", s.op("Div", x, s.const(F32(np.sqrt(2)))))
    gate = s.op("Add", inner, s.const(F32(1)))
    y = s.op("Mul", s.op("Mul", x, gate), s.const(F32(0.5)))
    before = s.graph(y, inner)
    assert "Gelu" not in ops_of(fuse_gelu(before))


def layer_norm(s, x, *, axes=(-1,), epsilon=1e-5, affine=True):
    d = s.op("Sub", x, s.op("ReduceMean", x, axes=axes, keepdims=True))
    variance = s.op("ReduceMean", s.op("Mul", d, d), axes=axes, keepdims=True)
    root = s.op("Sqrt", s.op("Add", variance, s.const(F32(epsilon))))
    y = s.op("Div", d, root)
    return s.op("Add", s.op("Mul", y, s.random(8)), s.random(8)) if affine else y


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(sketch, affine):
    s = sketch()
    before = s.graph(layer_norm(s, s.input(2, 3, 8), affine=affine))
    after = fuse_layer_norm(before)
    assert ops_of(after) == ["LayerNorm"]
    same_meaning(before, after, s)


@pytest.mark.parametrize("change", [{"axes": (1,)}, {"axes": (1, 2)}, {"epsilon": 0.0}])
def test_no_layer_norm(sketch, change):
    s = sketch()
    before = s.graph(layer_norm(s, s.input(2, 3, 8), **change))
    assert ops_of(fuse_layer_norm(before)) == ops_of(before)


def scores(s, x, *, shared=False):
    q = s.op("Linear", x, s.random(8, 8), s.random(8))
    heads = s.op("Transpose", s.op("Reshape", q, shape=(0, 3, 2, 4)), perm=(0, 2, 1, 3))
    product = s.op("MatMul", heads, s.input(1, 2, 4, 3))
    return product, q if shared else None


@pytest.mark.parametrize("op", ["Mul", "Div"])
def test_scale_goes_into_the_weights(sketch, op):
    s = sketch()
    product, _ = scores(s, s.input(1, 3, 8))
    before = s.graph(s.op(op, product, s.const(F32(2.5))))
    after = fold_scale(before)
    assert ops_of(after) == ["Linear", "Reshape", "Transpose", "MatMul"]
    same_meaning(before, after, s)


def test_scale_stays_where_the_layer_is_read_elsewhere(sketch):
    s = sketch()
    product, q = scores(s, s.input(1, 3, 8), shared=True)
    before = s.graph(s.op("Div", product, s.const(F32(2.5))), q)
    assert ops_of(fold_scale(before)) == ops_of(before)


def test_bias_of_a_quantized_layer_in_a_node_of_its_own(sketch):
    s = sketch()
    data = s.rng.integers(-99, 99, 5).astype(np.int32)
    bias = s.dq(s.const(data, Affine.per_tensor(0.01, 0)))
    y = s.op("Add", s.op("Linear", s.input(2, 8), s.random(5, 8)), bias)
    before = s.graph(y)
    after = fuse_bias(before)
    assert "Add" not in ops_of(after)
    same_meaning(before, after, s)

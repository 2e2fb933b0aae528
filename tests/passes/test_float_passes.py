# SPDX-License-Identifier: Apache-2.0
"""Each float pass by its before and after."""

from __future__ import annotations

import math

import numpy as np
import pytest

from octavo.errors import GraphError
from octavo.ir import Node
from octavo.passes import FLOAT_PIPELINE
from octavo.passes.editor import Editor
from octavo.passes.fold_batch_norm import fold_batch_norm
from octavo.passes.fold_constants import MAX_GROWTH, fold_constants
from octavo.passes.fuse_bias import fuse_bias
from octavo.passes.fuse_clamp import compose, fuse_clamp
from octavo.passes.layout import layout
from octavo.passes.permute_linear import permute_linear
from octavo.passes.remove_identity import remove_identity
from octavo.passes.reshape_blocks import blocks, split_reshape
from octavo.passes.sink_reshape import sink_reshape
from octavo.passes.transpose_to_reshape import transpose_to_reshape

NHWC, NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def names(graph):
    return [node.op for node in graph.nodes]


def same(run, s, before, after, atol=1e-5):
    """Both graphs give the same numbers; `before` must not have been touched."""
    feeds = s.feeds(before)
    left, right = run(before, feeds), run(after, feeds)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_allclose(left[name], right[name], rtol=1e-5, atol=atol)


def test_fold_constants(sketch, run):
    s = sketch()
    c = s.op("Sqrt", s.op("Mul", s.const(np.float32(4)), s.const(np.ones(3, np.float32))))
    graph = s.graph(s.op("Mul", s.input(2, 3), c))
    folded = fold_constants(graph)
    assert names(folded) == ["Mul"]
    same(run, s, graph, folded)


def test_fold_constants_has_a_limit(sketch):
    s = sketch()
    side = math.isqrt(MAX_GROWTH) + 200
    wide = s.op(
        "Add", s.const(np.ones((side, 1), np.float32)), s.const(np.ones((1, side), np.float32))
    )
    graph = s.graph(s.op("Slice", wide, starts=(0, 0), ends=(1, 1), steps=(1, 1)))
    assert names(fold_constants(graph)) == ["Add", "Slice"]


@pytest.mark.parametrize(
    "op, attrs",
    [
        ("Transpose", {"perm": (0, 1, 2)}),
        ("Reshape", {"shape": (0, -1, 3)}),
        ("Slice", {"starts": (0, 0, 0), "ends": (9, 9, 9), "steps": (1, 1, 1)}),
        ("Pad", {"begin": (0, 0, 0), "end": (0, 0, 0), "value": 1.0}),
        ("Clip", {"lo": -math.inf, "hi": math.inf}),
        ("Concat", {"axis": 1}),
    ],
)
@pytest.mark.parametrize("place", ["inner", "output"])
def test_remove_identity(op, attrs, place, sketch, run):
    s = sketch()
    y = s.op(op, s.op("Exp", s.input(2, 4, 3)), **attrs)
    if place == "inner":
        y = s.op("Tanh", y)
    graph = s.graph(y)
    removed = remove_identity(graph)
    assert names(removed) == (["Exp", "Tanh"] if place == "inner" else ["Exp"])
    same(run, s, graph, removed)


def test_identity_between_input_and_output_stays(sketch):
    s = sketch()
    graph = s.graph(s.op("Transpose", s.input(2, 3), perm=(0, 1)))
    assert names(remove_identity(graph)) == ["Transpose"]


def test_reversed_slice_is_no_identity(sketch):
    s = sketch()
    y = s.op("Slice", s.op("Exp", s.input(4)), starts=(-1,), ends=(-(2**63),), steps=(-1,))
    assert names(remove_identity(s.graph(y))) == ["Exp", "Slice"]


def test_reshapes_in_a_row_merge(sketch, run):
    s = sketch()
    y = s.op("Reshape", s.input(2, 3, 4, 5), shape=(0, 12, 5))
    y = s.op("Flatten", s.op("Unsqueeze", y, axes=(3,)), axis=1)
    graph = s.graph(s.op("Exp", y), dynamic=True)
    merged = remove_identity(graph)
    assert [(n.op, n.attrs.get("shape")) for n in merged.nodes] == [
        ("Reshape", (0, 60)),
        ("Exp", None),
    ]
    same(run, s, graph, merged)


@pytest.mark.parametrize("layer", ["Conv", "Linear", "other"])
def test_fold_batch_norm(layer, sketch, run):
    s = sketch()
    if layer == "Conv":
        y = s.op("Conv", s.input(1, 5, 5, 3), s.random(4, 3, 3, 3), s.random(4))
    elif layer == "Linear":
        y = s.op("Linear", s.input(2, 3), s.random(4, 3))
    else:
        y = s.op("Exp", s.input(2, 4))
    variance = s.const(np.abs(s.rng.normal(size=4)).astype(np.float32) + 0.5)
    y = s.op("BatchNorm", y, s.random(4), s.random(4), s.random(4), variance, axis=-1, epsilon=1e-3)
    graph = s.graph(y)
    folded = fold_batch_norm(graph)
    assert names(folded) == (["Exp", "Mul", "Add"] if layer == "other" else [layer])
    same(run, s, graph, folded)


def test_batch_norm_of_a_shared_convolution_stays_apart(sketch, run):
    s = sketch()
    x = s.op("Conv", s.input(1, 5, 5, 3), s.random(4, 1, 1, 3))
    ones = s.const(np.ones(4, np.float32))
    y = s.op("BatchNorm", x, ones, s.random(4), s.random(4), ones, axis=3, epsilon=0.0)
    graph = s.graph(y, s.op("Exp", x))
    folded = fold_batch_norm(graph)
    assert sorted(names(folded)) == ["Add", "Conv", "Exp", "Mul"]
    same(run, s, graph, folded)


def test_fuse_bias(sketch, run):
    s = sketch()
    y = s.op("Add", s.random(1, 4), s.op("Linear", s.input(2, 3, 5), s.random(4, 5)))
    graph = s.graph(y)
    fused = fuse_bias(graph)
    assert names(fused) == ["Linear"]
    same(run, s, graph, fused)


def test_no_bias_of_another_shape(sketch):
    s = sketch()
    y = s.op("Add", s.op("Linear", s.input(2, 5), s.random(4, 5)), s.random(2, 4))
    assert names(fuse_bias(s.graph(y))) == ["Linear", "Add"]


def test_fuse_clamp(sketch, run):
    s = sketch()
    y = s.op("Linear", s.input(2, 5), s.random(4, 5))
    y = s.op("Clip", s.op("Clip", y, lo=-1.0, hi=0.5), lo=0.0, hi=math.inf)
    graph = s.graph(y)
    fused = fuse_clamp(graph)
    assert [(n.op, n.attrs["clamp"]) for n in fused.nodes] == [("Linear", (0.0, 0.5))]
    same(run, s, graph, fused)


def test_clamp_only_with_one_reader(sketch):
    s = sketch()
    y = s.op("Add", s.input(2, 5), s.input(2, 5))
    assert names(fuse_clamp(s.graph(y, s.op("Clip", y, lo=0.0, hi=1.0)))) == ["Add", "Clip"]
    assert (
        names(fuse_clamp(s.graph(s.op("Clip", y, lo=0.0, hi=1.0), s.op("Exp", y)))).count("Clip")
        == 1
    )


@pytest.mark.parametrize("first", [None, (0, 6), (-3, -1), (5, 9), (-math.inf, 2)])
@pytest.mark.parametrize("second", [(0, 6), (-2, 1), (7, 8), (-math.inf, -4)])
def test_compose_clamps(first, second):
    x = np.linspace(-10, 12, 1001)
    expected = np.clip(x if first is None else np.clip(x, *first), *second)
    np.testing.assert_array_equal(np.clip(x, *compose(first, second)), expected)


def test_layout_moves_through_a_residual_block(sketch, run):
    s = sketch()
    x = s.op("Transpose", s.input(1, 3, 6, 6), perm=NHWC)
    a = s.op("Transpose", s.op("Conv", x, s.random(4, 1, 1, 3)), perm=NCHW)
    a = s.op("Mul", s.op("Clip", a, lo=0.0, hi=6.0), s.random(4, 1, 1))
    b = s.op("Conv", s.op("Transpose", a, perm=NHWC), s.random(4, 1, 1, 4))
    y = s.op("Add", s.op("Transpose", b, perm=NCHW), a)
    y = s.op("Pad", y, begin=(0, 1, 2, 3), end=(0, 0, 0, 1), value=0.5)
    y = s.op("Slice", y, starts=(0, 1, 0, 2), ends=(9, 9, 5, -1), steps=(1, 1, 2, 1))
    y = s.op("Concat", y, y, s.random(1, 2, 3, 7), axis=1)
    y = s.op("Softmax", y, axis=1)
    graph = s.graph(s.op("Conv", s.op("Transpose", y, perm=NHWC), s.random(2, 1, 1, 10)))
    moved = layout(fold_constants(graph))
    assert names(moved).count("Transpose") == 1
    same(run, s, graph, moved)


def test_layout_uses_the_layout_change_that_is_there(sketch, run):
    """A residual that starts at the model input, which has its NHWC form already."""
    s = sketch()
    x = s.input(1, 3, 6, 6)
    a = s.op("Conv", s.op("Transpose", x, perm=NHWC), s.random(3, 1, 1, 3))
    graph = s.graph(s.op("Add", s.op("Transpose", a, perm=NCHW), x))
    moved = layout(graph)
    assert names(moved) == ["Transpose", "Conv", "Add", "Transpose"]
    same(run, s, graph, moved)


@pytest.mark.parametrize(
    "source, target, expected",
    [
        ((2, 8, 3, 5), (2, 4, 2, 3, 5), [((0,), (0,)), ((1,), (1, 2)), ((2,), (3,)), ((3,), (4,))]),
        ((2, 3, 4), (6, 4), [((0, 1), (0,)), ((2,), (1,))]),
        ((2, 6), (3, 4), [((0, 1), (0, 1))]),
        ((1, 4, 1, 1), (1, 4), [((0,), (0,)), ((1, 2, 3), (1,))]),
        ((4,), (4, 1, 1), [((0,), (0, 1, 2))]),
        ((0, 4), (4, 0), []),
    ],
)
def test_blocks(source, target, expected):
    assert blocks(source, target) == expected


def test_split_reshape_equals_what_it_replaces():
    rng = np.random.default_rng(5)
    cases = 0
    for _ in range(300):
        source = tuple(int(d) for d in rng.choice([1, 2, 3, 4], 4))
        target = tuple(
            int(d) for d in rng.permutation([source[0] * source[1], source[2] * source[3]])
        )
        if rng.random() < 0.5:
            target = (source[0], source[1] * source[2], 1, source[3])
        perm = tuple(int(axis) for axis in rng.permutation(4))
        split = split_reshape(source, target, perm, pin_first=False)
        if split is None:
            continue
        cases += 1
        x = rng.normal(size=source).transpose(np.argsort(perm))
        assert x.transpose(perm).shape == source
        y = x.transpose(split.before)
        y = y.reshape([y.shape[0] if dim == 0 else dim for dim in split.target])
        np.testing.assert_array_equal(y.transpose(split.after), x.transpose(perm).reshape(target))
    assert cases > 30


def test_permute_linear_through_q_and_dq(sketch, run):
    s = sketch()
    y = s.op("Transpose", s.op("Exp", s.input(2, 4, 5, 3)), perm=NCHW)
    y = s.qdq(s.op("Flatten", y, axis=1), 0.05, 0)
    graph = s.graph(s.op("Linear", y, s.random(7, 60)), s.op("Linear", y, s.random(2, 60)))
    permuted = permute_linear(graph)
    assert "Transpose" not in names(permuted)
    same(run, s, graph, permuted)


def test_permute_linear_leaves_what_others_read(sketch):
    s = sketch()
    y = s.op("Flatten", s.op("Transpose", s.op("Exp", s.input(2, 4, 5, 3)), perm=NCHW), axis=1)
    graph = s.graph(s.op("Linear", y, s.random(7, 60)), s.op("Tanh", y))
    assert "Transpose" in names(permute_linear(graph))


def test_transpose_of_ones_is_a_reshape(sketch, run):
    s = sketch()
    graph = s.graph(s.op("Transpose", s.op("Exp", s.input(1, 1, 1, 5)), perm=NCHW), dynamic=True)
    free = transpose_to_reshape(graph)
    assert [n.attrs.get("shape") for n in free.nodes] == [None, (0, 5, 1, 1)]
    same(run, s, graph, free)


def test_a_batch_that_may_grow_is_no_axis_of_one(sketch):
    s = sketch()
    graph = s.graph(s.op("Transpose", s.op("Exp", s.input(1, 4, 5)), perm=(1, 0, 2)), dynamic=True)
    assert names(transpose_to_reshape(graph)) == ["Exp", "Transpose"]


def test_sink_reshape(sketch, run):
    s = sketch()
    x = s.op("Conv", s.input(2, 1, 6, 3), s.random(3, 1, 1, 3))
    a, b = (s.op("Squeeze", item, axes=(1,)) for item in (x, s.op("Exp", x)))
    y = s.op("Unsqueeze", s.op("Clip", s.op("Add", a, b), lo=0.0, hi=6.0), axes=(1,))
    graph = s.graph(s.op("Conv", y, s.random(2, 1, 1, 3)))
    sunk = fuse_clamp(remove_identity(sink_reshape(graph)))
    assert names(sunk) == ["Conv", "Exp", "Add", "Conv"]
    same(run, s, graph, sunk)


def test_editor_refuses_to_hide_a_broken_graph(sketch):
    s = sketch()
    e = Editor(s.graph(s.op("Exp", s.input(2))))
    e.insert(Node("loose", "Exp", ("nowhere",), (e.graph.outputs[0] + "2",)))
    with pytest.raises(GraphError, match="'loose'"):
        e.finish()


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_keep_their_meaning(seed, sketch, random_graph, run):
    s = sketch(seed)
    graph = random_graph(s, 18)
    feeds = s.feeds(graph)
    expected = run(graph, feeds)
    for function in FLOAT_PIPELINE:
        graph = function(graph)
        found = run(graph, feeds)
        for name, array in expected.items():
            message = f"seed {seed}, {function.__name__}"
            np.testing.assert_allclose(found[name], array, 1e-4, 1e-5, err_msg=message)

# SPDX-License-Identifier: Apache-2.0
"""Q and DQ on their way to the arithmetic, and the groups they form there."""

from __future__ import annotations

import numpy as np
import pytest

from octavo.ir import Affine
from octavo.passes import run_pipeline
from octavo.passes.fuse_clamp import fuse_clamp
from octavo.passes.move_qdq import (
    cancel_qdq,
    merge_equal,
    push_dequantize_down,
    push_quantize_up,
)
from octavo.passes.qdq import qdq

POOL = {"kernel": (2, 2), "strides": (2, 2)}


def names(graph):
    return [node.op for node in graph.nodes]


def exact(run, s, before, after):
    feeds = s.feeds(before)
    left, right = run(before, feeds), run(after, feeds)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


def weights(s, *dims):
    data = s.rng.integers(-63, 64, dims).astype(np.int8)
    scale = s.rng.uniform(0.001, 0.01, dims[0]).astype(np.float32)
    return s.const(data, Affine(scale, np.zeros(dims[0], np.int32), 0))


MOVES = [
    ("Transpose", {"perm": (0, 2, 3, 1)}),
    ("Reshape", {"shape": (0, -1)}),
    ("Flatten", {"axis": 2}),
    ("Squeeze", {"axes": ()}),
    ("Unsqueeze", {"axes": (1,)}),
    ("MaxPool", {**POOL, "pads": (1, 1, 0, 0)}),
    ("Pad", {"begin": (0, 1, 0, 0), "end": (0, 0, 2, 0), "value": 0.0}),
    ("Slice", {"starts": (0, 3, 0, 0), "ends": (1, -9, 9, 9), "steps": (1, -1, 1, 2)}),
]


@pytest.mark.parametrize("op, attrs", MOVES, ids=[op for op, _ in MOVES])
def test_dequantize_moves_down_and_quantize_up(op, attrs, sketch, run):
    s = sketch()
    graph = s.graph(s.op("Tanh", s.op(op, s.qdq(s.input(1, 4, 6, 6), 0.02, 120), **attrs)))
    down = push_dequantize_down(graph)
    assert names(down) == ["QuantizeLinear", op, "DequantizeLinear", "Tanh"]
    exact(run, s, graph, down)
    s = sketch()
    graph = s.graph(s.dq(s.q(s.op(op, s.op("Tanh", s.input(1, 4, 6, 6)), **attrs), 0.02, 120)))
    up = push_quantize_up(graph)
    assert names(up) == ["Tanh", "QuantizeLinear", op, "DequantizeLinear"]
    exact(run, s, graph, up)


def test_pad_of_a_number_that_is_no_step_stays_real(sketch):
    s = sketch()
    y = s.op("Pad", s.qdq(s.input(2, 3), 0.02, 120), begin=(0, 1), end=(0, 0), value=0.013)
    assert names(push_dequantize_down(s.graph(y))) == ["QuantizeLinear", "DequantizeLinear", "Pad"]


def test_quantize_does_not_leave_other_readers_behind(sketch):
    s = sketch()
    y = s.op("MaxPool", s.op("Tanh", s.input(1, 4, 4, 2)), **POOL)
    graph = s.graph(s.q(y, 0.02, 3), s.op("Exp", y))
    assert names(push_quantize_up(graph)) == names(graph)


def test_concat_of_equal_parameters_moves_bytes(sketch, run):
    s = sketch()
    a, b = s.qdq(s.input(2, 3), 0.02, 120), s.qdq(s.input(2, 3), 0.02, 120)
    graph = s.graph(s.op("Tanh", s.op("Concat", a, b, axis=1)))
    down = push_dequantize_down(graph)
    assert names(down)[-3:] == ["Concat", "DequantizeLinear", "Tanh"]
    exact(run, s, graph, down)


def test_concat_of_other_parameters_rescales(sketch, run):
    s = sketch()
    a, b = s.qdq(s.input(2, 3), 0.02, 120), s.qdq(s.input(2, 3), 0.05, 7)
    graph = s.graph(s.q(s.op("Concat", a, b, axis=1), 0.04, 90))
    result = run_pipeline(graph)
    assert names(result) == ["QuantizeLinear", "QuantizeLinear", "Concat"]
    exact(run, s, graph, result)


def test_concat_with_a_real_side_quantizes_each_side(sketch, run):
    s = sketch()
    a, b = s.qdq(s.input(2, 3), 0.02, 120), s.op("Tanh", s.input(2, 3))
    graph = s.graph(s.q(s.op("Concat", a, b, axis=1), 0.04, 90))
    result = run_pipeline(graph)
    assert sorted(names(result)) == sorted(
        ["QuantizeLinear", "QuantizeLinear", "Requantize", "Tanh", "Concat"]
    )
    exact(run, s, graph, result)


def test_merge_and_cancel(sketch, run):
    s = sketch()
    x = s.q(s.input(2, 3), 0.02, 120)
    a, b = s.dq(x), s.dq(x)
    same, other = s.q(a, 0.02, 120), s.q(b, 0.05, 3)
    again = s.q(b, 0.05, 3)
    outputs = [s.op("Tanh", s.dq(name)) for name in (same, other, again)]
    graph = s.graph(*outputs)
    result = cancel_qdq(merge_equal(graph))
    found = names(result)
    assert found.count("Requantize") == 1
    assert found.count("QuantizeLinear") == 1
    exact(run, s, graph, result)


def test_requantize_to_the_other_type(sketch, run):
    s = sketch()
    graph = s.graph(s.q(s.qdq(s.input(2, 3), 0.02, 120), 0.02, -8, "s8"))
    result = run_pipeline(graph)
    assert names(result) == ["QuantizeLinear", "Requantize"]
    exact(run, s, graph, result)


def test_group_with_residual_and_shared_input(sketch):
    s = sketch()
    x = s.qdq(s.input(1, 5, 5, 3), 0.02, 120)
    y = s.op("Conv", x, s.dq(weights(s, 3, 1, 1, 3)), s.random(3))
    y = s.op("Clip", s.op("Add", s.qdq(y, 0.04, 100), x), lo=0.0, hi=np.inf)
    graph = run_pipeline(s.graph(s.q(y, 0.05, 0)))
    assert [(n.op, n.attrs.get("clamp")) for n in graph.nodes] == [
        ("QuantizeLinear", None),
        ("Conv", None),
        ("Add", (0.0, np.inf)),
    ]
    assert graph.notes == {}
    bias = graph.values[graph.nodes[1].inputs[2]]
    assert (bias.dtype, bias.affine.axis) == ("s32", 0)


def test_notes_only_where_something_is_quantized(sketch):
    s = sketch()
    assert run_pipeline(s.graph(s.op("Exp", s.input(2)))).notes == {}
    s = sketch()
    graph = run_pipeline(s.graph(s.op("Exp", s.qdq(s.input(2), 0.1, 0))))
    (note,) = graph.notes.values()
    assert note.endswith("is used in float32; put QuantizeLinear and DequantizeLinear behind it")


@pytest.mark.parametrize(
    "case, reason",
    [
        ("two parameters", "quantized in 2 different ways"),
        ("float reader", "is read in float32 by"),
        ("model output", "is a model output in float32, too"),
        ("float weights", "is float32; put QuantizeLinear"),
        ("computed bias", "is computed at run time; make it constant"),
        ("no integer form", "has no integer form"),
    ],
)
def test_reasons(case, reason, sketch, run):
    s = sketch()
    x = s.qdq(s.input(2, 4), 0.02, 120)
    w = s.random(4, 4) if case == "float weights" else s.dq(weights(s, 4, 4))
    bias = [s.op("Slice", s.op("Reshape", x, shape=(8,)), starts=(0,), ends=(4,), steps=(1,))]
    y = s.op("Linear", x, w, *(bias if case == "computed bias" else []))
    if case in ("float reader", "model output"):  # a Linear could write real numbers
        y = s.op("Add", x, x)
    outputs = [s.q(s.op("Sub", x, x) if case == "no integer form" else y, 0.05, 100)]
    if case == "two parameters":
        outputs.append(s.q(y, 0.01, 100))
    elif case == "float reader":
        outputs.append(s.op("Exp", y))
    elif case == "model output":
        outputs.append(y)
    graph = s.graph(*outputs)
    result = run_pipeline(graph)
    assert any(reason in note for note in result.notes.values()), dict(result.notes)
    exact(run, s, graph, result)


@pytest.mark.parametrize("bias", ["none", "float32", "stored"])
def test_linear_layers_write_real_numbers_for_float_readers(bias, sketch, run):
    s = sketch()
    x, w = s.qdq(s.input(3, 40), 0.02, 120), s.dq(weights(s, 7, 40))
    shift = s.const(s.rng.integers(-999, 999, 7).astype(np.int32), Affine.per_tensor(1e-4, 0))
    shifts = {"none": [], "float32": [s.random(7)], "stored": [s.dq(shift)]}[bias]
    y = s.op("Linear", x, w, *shifts, clamp=(-1.0, 2.0))
    graph = s.graph(s.op("Exp", y), y, s.op("Transpose", s.q(y, 0.01, 100), perm=(1, 0)))
    result = run_pipeline(graph)
    linear = next(node for node in result.nodes if node.op == "Linear")
    types = [result.values[name].dtype for name in (*linear.inputs, *linear.outputs)]
    assert types == ["u8", "s8", *["f32"] * bool(shifts), "f32"]
    feeds = s.feeds(graph)
    for want, got in zip(run(graph, feeds).values(), run(result, feeds).values(), strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=1 if want.dtype == "u8" else 2e-5)


def test_clamp_after_quantization_equals_clamp_before(sketch, run):
    """Rounding is monotone: Clip on stored numbers of equal parameters is a tighter clamp."""
    for lo, hi in ((0.0, np.inf), (-0.513, 0.777), (5.0, 6.0), (-np.inf, -9.0)):
        s = sketch()
        x = s.qdq(s.input(2, 4), 0.02, 120)
        y = s.qdq(s.op("Linear", x, s.dq(weights(s, 4, 4))), 0.013, 100)
        y = s.q(s.op("Clip", y, lo=lo, hi=hi), 0.013, 100)
        graph = qdq(s.graph(y))
        fused = fuse_clamp(graph)
        assert names(graph) == ["QuantizeLinear", "Linear", "Clip"]
        assert names(fused) == ["QuantizeLinear", "Linear"]
        exact(run, s, graph, fused)


@pytest.mark.parametrize("seed", range(60))
def test_random_quantized_networks_keep_every_byte(seed, sketch, random_graph, run):
    """Movement, Clip and Q/DQ only: the pipeline may not change one number."""
    s = sketch(1000 + seed)
    graph = random_graph(s, 20, quantized=True)
    result = run_pipeline(graph)
    feeds = s.feeds(graph)
    expected, found = run(graph, feeds), run(result, feeds)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=f"seed {1000 + seed}")


def test_softmax_over_the_last_axis_stays_there(sketch):
    """A Transpose that moved past it would leave a softmax that has no integer form."""
    s = sketch()
    real = s.op("Transpose", s.qdq(s.input(1, 6, 6, 4), 0.05, 120), perm=(0, 3, 1, 2))
    y = s.q(s.op("Softmax", real, axis=-1), 1 / 256, 0)
    graph = run_pipeline(s.graph(s.dq(s.op("Transpose", y, perm=(0, 2, 3, 1)))))
    assert not graph.notes
    (softmax,) = [node for node in graph.nodes if node.op == "Softmax"]
    assert graph.values[softmax.outputs[0]].shape == (1, 4, 6, 6)

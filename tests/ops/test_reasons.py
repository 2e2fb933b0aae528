# SPDX-License-Identifier: Apache-2.0
"""Why a node cannot run in integers, and what `infer` refuses: every phrase names its tensor."""

from dataclasses import replace

import numpy as np
import pytest

from octavo import ops
from octavo.errors import GraphError, ShapeError, UnsupportedError
from octavo.ir import Affine, Graph, Node, Value, constant, verify
from octavo.ops.example_graphs import bias_s32, f32, graph_of, q8, weight_q8


def _reason(op, inputs, output, **attrs):
    return ops.get(Node("n", op, (), ())).int_reason(Node("n", op, (), (), attrs), inputs, [output])


def _conv(rng):
    x = q8("x", (1, 4, 4, 3))
    w = weight_q8(rng, (5, 3, 3, 3))
    return x, w, bias_s32(rng, x, w), q8("y", (1, 2, 2, 5))


def test_conv_reasons(rng):
    x, w, b, y = _conv(rng)
    assert _reason("Conv", [x, w, b], y) is None
    assert "'x' is f32" in _reason("Conv", [f32("x", 1, 4, 4, 3), w, b], y)
    assert "'y' is f32" in _reason("Conv", [x, w, b], f32("y", 1, 2, 2, 5))
    sixteen = Value("x", "s16", x.shape, x.quant)
    assert "'x' has no" not in (_reason("Conv", [replace(sixteen, quant=None), w, b], y) or "")
    assert "'x' is s16" in _reason("Add", [sixteen, x], y)
    assert "'w' are not constant" in _reason("Conv", [x, replace(w, data=None), b], y)
    real = constant("w", np.ones(w.shape, np.float32))
    assert "'w' are f32" in _reason("Conv", [x, real, b], y)
    channels = replace(w, quant=Affine(np.ones(3, np.float32), np.zeros(3, np.int32), 3))
    assert "along axis 3" in _reason("Conv", [x, channels, None], y)


def test_bias_reasons(rng):
    x, w, b, y = _conv(rng)
    real = constant("b", np.ones(5, np.float32))
    assert "'b' is not a constant of type s32" in _reason("Conv", [x, w, real], y)
    scaled = replace(b, quant=replace(b.affine, scale=b.affine.scale * np.float32(1.01)))
    assert "'b' has a scale other than" in _reason("Conv", [x, w, scaled], y)
    shifted = replace(b, quant=replace(b.affine, zero_point=b.affine.zero_point + 1))
    assert "'b' has a zero point" in _reason("Conv", [x, w, shifted], y)
    assert _reason("Conv", [x, w, replace(b, quant=None)], y) is None


def test_accumulator_that_could_overflow():
    x, y = q8("x", (1, 70000), zero_point=0), q8("y", (1, 1))
    safe = constant("w", np.full((1, 66000), 127, np.int8), Affine.per_tensor(0.01, 0))
    assert 255 * 127 * 66000 < 2**31 < 255 * 127 * 70000
    assert _reason("Linear", [q8("x", (1, 66000)), safe, None], y) is None
    large = constant("w", np.full((1, 70000), 127, np.int8), Affine.per_tensor(0.01, 0))
    assert "overflow the int32 accumulator" in _reason("Linear", [x, large, None], y)


@pytest.mark.parametrize("op", ["MaxPool", "Reshape", "Transpose", "Pad", "Slice"])
def test_ops_that_move_bytes_need_equal_parameters(op):
    x = q8("x", (1, 4, 4, 3))
    assert _reason(op, [x], replace(x, name="y")) is None
    for other in (q8("y", x.shape, scale=0.06), q8("y", x.shape, zero_point=4)):
        assert "'x' and 'y' differ" in _reason(op, [x], other)
    assert "differ" in _reason(op, [x], q8("y", x.shape, "s8"))


def test_per_channel_activations():
    x = Value("x", "u8", (2, 3), Affine(np.ones(3, np.float32), np.zeros(3, np.int32), 1))
    y = q8("y", (2, 3))
    for op in ("Add", "Sigmoid", "Softmax", "Concat", "Requantize", "DequantizeLinear"):
        assert "'x' has per-channel parameters" in _reason(op, [x, x], y)


def test_ops_without_integer_form():
    x, y = q8("x", (2, 3, 4)), q8("y", (2, 3, 4))
    assert "not the last" in _reason("Softmax", [x], y, axis=1)
    assert "as u8 and s8" in _reason("QuantCast", [x], q8("y", x.shape, "s8"))
    for op in ("Sub", "Div", "BatchNorm"):
        assert _reason(op, [x, x], y)
    long = [q8("a", (2, 33026), zero_point=0), q8("b", (33026, 2), zero_point=0)]
    assert "33026 products" in _reason("MatMul", long, y)
    with pytest.raises(UnsupportedError, match="node 'n' \\(Div\\)"):
        node = Node("n", "Div", ("x", "x"), ("y",))
        ops.get(node).int_ref(node, [None, None], [x, x], [y])


_BAD = [
    ("Conv", [f32("x", 1, 4, 4, 3), f32("w", 2, 3, 3, 4)], {}, "3 input channels"),
    ("Conv", [f32("x", 1, 4, 4, 3), f32("w", 2, 5, 5, 3)], {}, "does not fit"),
    ("Conv", [f32("x", 1, 4, 4, 3), f32("w", 2, 3, 3, 3)], {"strides": (0, 1)}, "strides"),
    ("Conv", [f32("x", 1, 4, 4, 3), f32("w", 2, 3, 3, 3)], {"pads": (-1, 0, 0, 0)}, "Slice"),
    ("Conv", [f32("x", 4, 4, 3), f32("w", 2, 3, 3, 3)], {}, "rank 4"),
    ("Conv", [f32("x", 1, 4, 4, 4), f32("w", 3, 1, 1, 2)], {"groups": 2}, "groups"),
    ("Linear", [f32("x", 2, 3), f32("w", 4, 5)], {}, "does not fit"),
    ("MatMul", [f32("a", 2, 3), f32("b", 4, 5)], {}, "do not multiply"),
    ("Add", [f32("a", 2, 3), f32("b", 4)], {}, "do not broadcast"),
    ("MaxPool", [f32("x", 1, 2, 2, 1)], {"kernel": (1, 1), "pads": (1, 1, 1, 1)}, "padding"),
    ("MaxPool", [f32("x", 1, 2, 2, 1)], {}, "'kernel' is missing"),
    ("GlobalAveragePool", [f32("x", 2, 2)], {}, "rank 4"),
    ("Concat", [f32("a", 2, 3), f32("b", 3, 2)], {"axis": 0}, "do not join"),
    ("Concat", [f32("a", 2, 3), f32("b", 2, 3)], {"axis": 2}, "axis 2"),
    ("Reshape", [f32("x", 2, 3)], {"shape": (4, -1)}, "does not reshape"),
    ("Reshape", [f32("x", 2, 3)], {"shape": (-1, -1)}, "more than one -1"),
    ("Reshape", [f32("x", 2, 3)], {"shape": (5,)}, "does not reshape"),
    ("Squeeze", [f32("x", 2, 3)], {"axes": (0,)}, "not all 1"),
    ("Unsqueeze", [f32("x", 2)], {"axes": (0, 0)}, "twice"),
    ("Transpose", [f32("x", 2, 3)], {"perm": (0, 0)}, "perm"),
    ("Pad", [f32("x", 2)], {"begin": (-1,), "end": (0,)}, "Slice"),
    ("Pad", [f32("x", 2)], {"begin": (1, 1), "end": (0, 0)}, "do not fit"),
    ("Slice", [f32("x", 2)], {"starts": (0,), "ends": (1,), "steps": (0,)}, "no step is 0"),
    ("Softmax", [f32("x", 2)], {"axis": 1}, "axis 1"),
    ("Clip", [f32("x", 2)], {"lo": 1.0, "hi": 0.0}, "leave no value"),
    ("Clip", [None], {}, "input 0 is missing"),
]


@pytest.mark.parametrize(("op", "inputs", "attrs", "phrase"), _BAD)
def test_infer_refuses_by_name(op, inputs, attrs, phrase):
    with pytest.raises((ShapeError, UnsupportedError, GraphError)) as caught:
        graph_of(op, inputs, Value("y", "f32", ()), attrs)
    assert phrase in str(caught.value)
    assert f"node '{op.lower()}' ({op})" in str(caught.value)


def test_unknown_operator_is_named():
    with pytest.raises(UnsupportedError, match=r"node 'up' \(Einsum\).*known: Add"):
        ops.get(Node("up", "Einsum", (), ()))


def test_infer_graph_rebinds_the_batch():
    nodes = (
        Node("flat", "Flatten", ("x",), ("f",), {"axis": 1}),
        Node("act", "Sigmoid", ("f",), ("y",)),
    )
    values = {v.name: v for v in (f32("x", 1, 2, 3), f32("f", 1, 6), f32("y", 1, 6))}
    graph = verify(Graph("g", nodes, values, ("x",), ("y",)))
    assert ops.infer_graph(graph, {"x": (5, 2, 3)}).values["y"].shape == (5, 6)
    assert graph.values["y"].shape == (1, 6)
    for shapes, phrase in (
        ({"z": (1,)}, "'z' is not an input"),
        ({"x": (1, 2)}, "rank"),
        ({"x": (0, 2, 3)}, "at least 1"),
    ):
        with pytest.raises(ShapeError, match=phrase):
            ops.infer_graph(graph, shapes)

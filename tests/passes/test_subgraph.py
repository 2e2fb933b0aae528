# SPDX-License-Identifier: Apache-2.0
"""Parts of graphs compute what they compute in the whole."""

import numpy as np
import pytest

from octavo.errors import GraphError
from octavo.ir import Affine, Graph, Node, Value, constant, verify
from octavo.passes.subgraph import float_boundaries, subgraph
from octavo.quant import dequantize
from octavo.reference import run_float, run_int

SHAPE = (2, 3)


def diamond(quant=None):
    """x -> a -> (b, c) -> d = b * c; e beside."""
    dtype = "f32" if quant is None else "u8"
    values = {name: Value(name, dtype, SHAPE, quant) for name in "xabcde"}
    values["k"] = constant("k", np.full(SHAPE, 3, np.float32 if quant is None else np.uint8), quant)
    nodes = (
        Node("A", "Add", ("x", "k"), ("a",)),
        Node("B", "Clip", ("a",), ("b",), {"lo": 0.0, "hi": 1.0}),
        Node("C", "Add", ("a", "a"), ("c",)),
        Node("D", "Mul", ("b", "c"), ("d",)),
        Node("E", "Add", ("a", "k"), ("e",)),
    )
    return verify(Graph("g", nodes, values, ("x",), ("d", "e"), {"x": ("N", None)}, {"D": "why"}))


@pytest.mark.parametrize(
    ("inputs", "outputs", "nodes"),
    [
        (["a"], ["d"], ["B", "C", "D"]),
        (["b", "c"], ["d"], ["D"]),
        (["b", "c", "x"], ["d"], ["D"]),  # what is not needed is dropped
        (["x"], ["b", "a"], ["A", "B"]),
        (["a", "b"], ["b", "c"], ["C"]),
    ],
)
def test_a_part_computes_what_it_does_in_the_whole(inputs, outputs, nodes):
    graph = diamond()
    x = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    truth = run_float(graph, {"x": x}, keep=True)
    part = subgraph(graph, inputs, outputs, "part")
    assert ([node.name for node in part.nodes], part.name) == (nodes, "part")
    got = run_float(part, {name: truth[name] for name in part.inputs})
    assert list(got) == outputs
    for name in outputs:
        np.testing.assert_array_equal(got[name], truth[name])
    assert part.dynamic == ({"x": ("N", None)} if inputs == ["x"] else {})
    assert part.notes == ({"D": "why"} if "D" in nodes else {})


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (["b"], ["d"], "also needs 'x'"),
        (["q"], ["d"], "'q' is no computed tensor"),
        (["k"], ["d"], "'k' is no computed tensor"),
        (["a"], ["k"], "'k' is no computed tensor"),
    ],
)
def test_impossible_cuts_are_refused(inputs, outputs, message):
    with pytest.raises(GraphError, match=message):
        subgraph(diamond(), inputs, outputs)


def test_float_boundaries_feed_and_show_the_same_integers():
    quant = Affine.per_tensor(0.25, 7)
    graph = diamond(quant)
    x = np.random.default_rng(2).integers(0, 256, SHAPE, np.uint8)
    wrapped, inputs, outputs = float_boundaries(graph)
    assert {wrapped.values[name].dtype for name in (*wrapped.inputs, *wrapped.outputs)} == {"f32"}
    expected = run_int(graph, {"x": x})
    got = run_int(wrapped, {inputs["x"]: dequantize(x, 0.25, 7)})
    for name, twin in outputs.items():
        np.testing.assert_array_equal(got[twin], dequantize(expected[name], 0.25, 7))


def test_float_boundaries_leave_a_float_graph_alone():
    wrapped, inputs, outputs = float_boundaries(diamond())
    assert (inputs, outputs) == ({"x": "x"}, {"d": "d", "e": "e"})
    assert len(wrapped.nodes) == 5

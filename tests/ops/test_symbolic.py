# SPDX-License-Identifier: Apache-2.0
"""Which output dimensions follow a symbolic input dimension, and which only look as if they did."""

import numpy as np

from octavo.ir import Graph, Node, Value, constant, verify
from octavo.ops import symbolic_shapes


def graph(nodes, values, outputs, dynamic):
    return verify(Graph("g", tuple(nodes), {v.name: v for v in values}, ("x",), outputs, dynamic))


def test_an_output_that_is_1_by_itself_is_not_the_batch():
    values = [
        Value("x", "f32", (1, 4)),
        constant("c", np.ones((1, 4), np.float32)),
        Value("fixed", "f32", (1, 4)),
        Value("y", "f32", (1, 4)),
    ]
    nodes = [Node("a", "Sqrt", ("c",), ("fixed",)), Node("b", "Tanh", ("x",), ("y",))]
    found = symbolic_shapes(graph(nodes, values, ("fixed", "y"), {"x": ("N", None)}))
    assert found == {"x": ("N", 4), "fixed": (1, 4), "y": ("N", 4)}


def test_a_function_of_a_symbol_is_marked():
    values = [Value("x", "f32", (1, 8)), Value("y", "f32", (1, 16))]
    nodes = [Node("cat", "Concat", ("x", "x"), ("y",), {"axis": 1})]
    found = symbolic_shapes(graph(nodes, values, ("y",), {"x": ("N", "L")}))
    assert found == {"x": ("N", "L"), "y": ("N", "L*")}


def test_a_size_that_cannot_change_stays_a_number():
    values = [Value("x", "f32", (2, 6)), Value("y", "f32", (3, 4))]
    nodes = [Node("r", "Reshape", ("x",), ("y",), {"shape": (3, 4)})]
    found = symbolic_shapes(graph(nodes, values, ("y",), {"x": ("N", None)}))
    assert found == {"x": ("N", 6), "y": (3, 4)}

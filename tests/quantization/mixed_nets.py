# SPDX-License-Identifier: Apache-2.0
"""Small float networks and their versions with a precision per node, by min-max ranges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from octavo import ops
from octavo.ir import Affine, Graph, Node, Value, constant, verify
from octavo.passes import run_model_pipeline
from octavo.quantization.insert import insert_qdq
from octavo.quantization.ranges import affine_from_range
from octavo.quantization.recipe import Settings
from octavo.quantization.rules import quantized_nodes, quantized_values
from octavo.reference import run_float

F32 = NDArray[np.float32]


class _Chain:
    """Nodes one after the other, with random weights."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self.rng = rng
        self.values: dict[str, Value] = {"x": Value("x", "f32", shape)}
        self.nodes: list[Node] = []
        self.last = "x"

    def weight(self, name: str, *shape: int) -> str:
        scale = 1.0 / np.sqrt(np.prod(shape[1:]) or 1)
        data = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.values[name] = constant(name, data)
        return name

    def add(self, op: str, *more: str, **attrs: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        node = Node(name, op, (self.last, *more), (f"{name}_y",), attrs)
        (shape,) = ops.get(node).infer(node, [self.values[item] for item in node.inputs])
        self.values[node.outputs[0]] = Value(node.outputs[0], "f32", shape)
        self.nodes.append(node)
        self.last = node.outputs[0]
        return self.last

    def conv(self, out: int, kernel: int, groups: int = 1, stride: int = 1) -> str:
        channels, index = self.values[self.last].shape[3], len(self.nodes)
        w = self.weight(f"w{index}", out, kernel, kernel, channels // groups)
        bias = self.weight(f"b{index}", out)
        options = {"strides": (stride,) * 2, "dilations": (1, 1), "groups": groups}
        return self.add("Conv", w, bias, pads=(kernel // 2,) * 4, clamp=(0.0, np.inf), **options)

    def linear(self, out: int) -> str:
        index = len(self.nodes)
        w = self.weight(f"w{index}", out, self.values[self.last].shape[-1])
        return self.add("Linear", w, self.weight(f"b{index}", out))

    def graph(self) -> Graph:
        return verify(Graph("mixed", tuple(self.nodes), self.values, ("x",), (self.last,)))


def image_net(seed: int, batch: int = 2) -> Graph:
    """Convolutions of every kind, an addition, pooling, a linear head."""
    c = _Chain(np.random.default_rng(seed), (batch, 9, 10, 3))
    first = c.conv(12, 3)
    c.conv(12, 3, groups=12)
    c.conv(12, 1)
    c.add("Add", first)
    c.conv(18, 3, groups=3, stride=2)
    c.add("GlobalAveragePool")
    c.add("Flatten", axis=1)
    c.linear(17)
    c.linear(5)
    return c.graph()


def token_net(seed: int) -> Graph:
    """Rows of very different size through three linear layers."""
    c = _Chain(np.random.default_rng(seed), (2, 7, 33))
    c.linear(40)
    c.add("Gelu")
    c.linear(21)
    c.linear(9)
    return c.graph()


def feed(graph: Graph, seed: int) -> dict[str, F32]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal(graph.values["x"].shape).astype(np.float32)}


def mixed(graph: Graph, inputs: Mapping[str, F32], precision: Mapping[str, str]) -> Graph:
    """The graph with a precision per node, ranges from one run on `inputs`."""
    floating = run_model_pipeline(graph)
    static = {"int8", "int16"}
    away = [node.name for node in floating.nodes if precision.get(node.name) not in static]
    nodes = quantized_nodes(floating, away)
    seen = run_float(floating, inputs, keep=True)
    parameters: dict[str, Affine] = {}
    for name in quantized_values(floating, nodes):
        parameters[name] = affine_from_range(float(seen[name].min()), float(seen[name].max()))
    chosen = {node.name for node in nodes}
    wide = {
        name: Affine.per_tensor(float(np.abs(seen[name]).max()) / 32767, 0)
        for node in nodes
        if precision.get(node.name) == "int16"
        for name in (*node.outputs, *node.inputs[:1])
        if name in node.outputs or name in graph.inputs
    }
    told = Settings(weight_ranges="minmax")
    return insert_qdq(floating, parameters, chosen, told, precision=precision, wide=wide)

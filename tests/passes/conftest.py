# SPDX-License-Identifier: Apache-2.0
"""Graphs written down in a line per node, and the meaning of Q/DQ graphs without any pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from octavo import ops, quant
from octavo.ir import Affine, Graph, Node, Value, constant, verify
from octavo.reference import real_value


class Sketch:
    """A graph under construction. Methods return the names of values."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.inputs: list[str] = []

    def input(self, *dims: int) -> str:
        name = f"x{len(self.inputs)}"
        self.values[name] = Value(name, "f32", dims)
        self.inputs.append(name)
        return name

    def const(self, array: Any, params: Affine | None = None) -> str:
        name = f"c{len(self.values)}"
        self.values[name] = constant(name, np.asarray(array), params)
        return name

    def random(self, *dims: int) -> str:
        return self.const(self.rng.normal(size=dims).astype(np.float32))

    def op(self, op: str, *inputs: str, like: str = "", out: str = "", **attrs: Any) -> str:
        out = out or f"v{len(self.values)}"
        node = Node(f"{op}_{len(self.nodes)}", op, inputs, (out,), attrs)
        (shape,) = ops.get(node).infer(node, [self.values[name] for name in inputs])
        model = self.values[like or inputs[0]]
        self.values[out] = Value(out, model.dtype, shape, model.quant)
        self.nodes.append(node)
        return out

    def q(self, x: str, scale: float, zero_point: int, dtype: str = "u8") -> str:
        y = self.op("QuantizeLinear", x)
        params = Affine.per_tensor(scale, zero_point)
        self.values[y] = Value(y, dtype, self.values[x].shape, params)
        return y

    def dq(self, x: str) -> str:
        y = self.op("DequantizeLinear", x)
        self.values[y] = Value(y, "f32", self.values[x].shape)
        return y

    def qdq(self, x: str, scale: float, zero_point: int, dtype: str = "u8") -> str:
        return self.dq(self.q(x, scale, zero_point, dtype))

    def graph(self, *outputs: str, dynamic: bool = False) -> Graph:
        names = {name: ("N", *(None,) * (len(self.values[name].shape) - 1)) for name in self.inputs}
        graph = Graph("g", tuple(self.nodes), self.values, tuple(self.inputs), outputs)
        return verify(graph.with_(dynamic=names if dynamic else {}))

    def feeds(self, graph: Graph) -> dict[str, np.ndarray]:
        return {
            name: self.rng.normal(0, 1.5, graph.values[name].shape).astype(np.float32)
            for name in graph.inputs
        }


@pytest.fixture
def sketch() -> Callable[..., Sketch]:
    return Sketch


class RandomNetwork:
    """Ops in random order over the last values made so far."""

    EXACT = ("transpose", "reshape", "clip", "concat", "slice", "pad")
    FLOAT = (*EXACT, "tanh", "add", "scale", "softmax", "linear")

    def __init__(self, s: Sketch, kinds: Sequence[str]) -> None:
        self.s = s
        self.kinds = kinds
        self.live = [s.input(2, 3, 4, 6), s.input(2, 3, 4, 6)]

    def step(self) -> None:
        s, rng = self.s, self.s.rng
        x = self.live[int(rng.integers(max(0, len(self.live) - 4), len(self.live)))]
        shape = s.values[x].shape
        rank = len(shape)
        kind = rng.choice(self.kinds)
        if kind == "transpose":
            y = s.op("Transpose", x, perm=tuple(int(a) for a in rng.permutation(rank)))
        elif kind == "reshape":
            y = self.reshape(x, shape)
        elif kind == "clip":
            y = s.op("Clip", x, lo=-1.0, hi=1.0)
        elif kind == "tanh":
            y = s.op("Tanh", x)
        elif kind == "add":
            others = [name for name in self.live if s.values[name].shape == shape]
            y = s.op("Add", x, others[int(rng.integers(len(others)))])
        elif kind == "concat" and s.values[x].size < 2000:
            y = s.op("Concat", x, x, axis=int(rng.integers(rank)))
        elif kind == "slice":
            steps = tuple(int(n) for n in rng.choice([1, 1, -1], rank))
            starts = tuple(0 if n > 0 else -1 for n in steps)
            ends = tuple(2**63 - 1 if n > 0 else -(2**63) for n in steps)
            y = s.op("Slice", x, starts=starts, ends=ends, steps=steps)
        elif kind == "pad" and s.values[x].size < 2000:
            begin, end = (tuple(int(n) for n in rng.integers(0, 2, rank)) for _ in range(2))
            y = s.op("Pad", x, begin=begin, end=end, value=0.0)
        elif kind == "scale":
            y = s.op("Mul", x, s.random(*(int(rng.choice([1, d])) for d in shape[rank // 2 :])))
        elif kind == "softmax":
            y = s.op("Softmax", x, axis=int(rng.integers(-rank, rank)))
        elif kind == "linear":
            y = s.op("Linear", x, s.random(4, shape[-1]))
        elif kind == "qdq":
            y = s.qdq(x, *[(0.02, 120), (0.05, 30)][int(rng.integers(2))])
        else:
            return
        self.live.append(y)

    def reshape(self, x: str, shape: tuple[int, ...]) -> str:
        rank, at = len(shape), int(self.s.rng.integers(len(shape)))
        if rank > 1 and self.s.rng.random() < 0.5:
            at = min(at, rank - 2)
            target = (*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :])
        elif shape[at] % 2 == 0 and rank < 6:
            target = (*shape[:at], 2, shape[at] // 2, *shape[at + 1 :])
        else:
            return self.s.op("Unsqueeze", x, axes=(at,)) if rank < 6 else x
        return self.s.op("Reshape", x, shape=target)


@pytest.fixture
def random_graph() -> Callable[..., Graph]:
    """A graph of `steps` random ops whose last three values are outputs."""

    def build(s: Sketch, steps: int, quantized: bool = False) -> Graph:
        kinds = (*RandomNetwork.EXACT, "qdq", "qdq", "qdq") if quantized else RandomNetwork.FLOAT
        network = RandomNetwork(s, kinds)
        for _ in range(steps):
            network.step()
        return s.graph(*dict.fromkeys(network.live[-3:]))

    return build


def interpret(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Node by node, as the model file says: Q and DQ by their formulas, other ops on real numbers.

    Ops on 8-bit values compute in integers, so this also runs what the passes make of a graph.
    """
    known = {name: value.data for name, value in graph.values.items() if value.data is not None}
    known.update(feeds)
    for node in graph.nodes:
        inputs, outputs = graph.inputs_of(node), graph.outputs_of(node)
        args = [known[name] if name else None for name in node.inputs]
        if node.op == "DequantizeLinear":
            results = (real_value(inputs[0], args[0]),)
        elif node.op == "QuantizeLinear" and "perm" not in node.attrs:
            y = outputs[0]
            results = (quant.quantize(args[0], y.scale, y.zero_point, y.dtype),)
        elif any(value is not None and value.is_8bit for value in (*inputs, *outputs)):
            results = ops.get(node).int_ref(node, args, inputs, outputs)
        else:
            results = ops.get(node).float_ref(node, args)
        known.update(zip(node.outputs, results, strict=True))
    return {name: known[name] for name in graph.outputs}


@pytest.fixture
def run() -> Callable[..., dict[str, np.ndarray]]:
    return interpret

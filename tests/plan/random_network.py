# SPDX-License-Identifier: Apache-2.0
"""Random NHWC networks of integer ops: what stresses halos, concat aliases and lifetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from octavo import ops
from octavo.errors import ShapeError
from octavo.ir import Graph, Node, Value, constant, prune, verify
from octavo.ops.example_graphs import draw, q8, weight_q8

#: Few different parameters, so that concats often find equal ones and may alias.
_PARAMETERS = ((0.05, 128), (0.05, 128), (0.02, 7), (0.1, 255))
_CHANNELS = (1, 2, 3, 5, 8, 16, 17, 33)
_MAX_ELEMENTS = 50_000
#: Ops whose output has the parameters of the input.
_MOVES = frozenset(("MaxPool", "Pad", "Reshape", "Slice", "Transpose"))
_KINDS = (
    *("Conv",) * 4,
    *("Concat",) * 4,
    *("Add", "Add", "Mul", "Requantize", "Sigmoid", "Softmax"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Pad", "Slice", "Transpose", "Reshape"),
)
_WHOLE = 2**63 - 1


class RandomNetwork:
    """Ops over the values made so far; most take recent ones, some reach far back."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.live: list[str] = []
        batch, height, width = int(self.rng.choice([1, 3])), *self.ints(1, 10, 2)
        for index in range(int(self.rng.integers(1, 4))):
            shape = (batch, height, width, int(self.rng.choice(_CHANNELS)))
            self.keep(replace(self.some_type(), name=f"x{index}", shape=shape))
        self.inputs = tuple(self.live)

    def graph(self, steps: int) -> Graph:
        """What nothing reads is an output of the model, and so are a few other values."""
        for _ in range(steps):
            try:
                self.step(str(self.rng.choice(_KINDS)))
            except ShapeError:
                continue  # a kernel larger than what is left of the image
        read = {name for node in self.nodes for name in node.inputs}
        outputs = [
            name
            for name in self.live
            if (name not in read and name not in self.inputs) or self.rng.random() < 0.1
        ]
        outputs = outputs or self.live[-1:]
        graph = Graph("random", tuple(self.nodes), self.values, self.inputs, tuple(outputs))
        return prune(verify(graph))

    def step(self, op: str) -> None:
        """One more node, where this op fits a value picked at random."""
        recent = self.live[-5:] if self.rng.random() < 0.7 else self.live
        x = self.values[str(self.rng.choice(recent))]
        if len(x.shape) != 4:
            return
        build = getattr(self, f"_{op.lower()}", None)
        inputs, attrs = build(x) if build else ([x.name], {})
        node = Node(f"{op}{len(self.nodes)}", op, tuple(inputs), (f"v{len(self.values)}",), attrs)
        operands = [self.values[name] for name in inputs]
        (shape,) = ops.get(node).infer(node, operands)
        same = op in _MOVES or (op == "Concat" and self.rng.random() < 0.7)
        y = replace(x if same else self.some_type(), name=node.outputs[0], shape=shape)
        if 0 < y.size <= _MAX_ELEMENTS and ops.get(node).int_reason(node, operands, [y]) is None:
            self.nodes.append(node)
            self.keep(y)

    def keep(self, value: Value) -> str:
        """Stores a value; a constant gets a name of its own."""
        if value.data is not None:
            value = replace(value, name=f"c{len(self.values)}")
        else:
            self.live.append(value.name)
        self.values[value.name] = value
        return value.name

    def some_type(self) -> Value:
        """An 8-bit value of random parameters; name and shape are to be replaced."""
        scale, zero_point = _PARAMETERS[int(self.rng.integers(len(_PARAMETERS)))]
        dtype = str(self.rng.choice(["u8", "u8", "s8"]))
        return q8("", (), dtype, scale, zero_point - (128 if dtype == "s8" else 0))

    def ints(self, low: int, high: int, count: int) -> tuple[int, ...]:
        """`count` numbers in low..high-1."""
        return tuple(int(n) for n in self.rng.integers(low, high, count))

    def _clamp(self) -> Mapping[str, Any]:
        choices = ({}, {}, {"clamp": (0.0, np.inf)}, {"clamp": (-1.0, 1.5)})
        return choices[int(self.rng.integers(len(choices)))]

    def _window(self, kernel: tuple[int, ...]) -> dict[str, Any]:
        pads = self.ints(0, 4, 4) if self.rng.random() < 0.5 else [k // 2 for k in kernel] * 2
        strides, dilations = (tuple(int(n) for n in self.rng.choice([1, 1, 2], 2)) for _ in "ab")
        return {"strides": strides, "dilations": dilations, "pads": tuple(pads)}

    def _conv(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        channels, kernel = x.shape[3], self.ints(1, 4, 2)
        groups = channels if self.rng.random() < 0.4 else 1
        out = channels if groups > 1 else int(self.rng.choice(_CHANNELS))
        dtype = str(self.rng.choice(["s8", "s8", "u8"]))
        inputs = [x.name, self.keep(weight_q8(self.rng, (out, *kernel, channels // groups), dtype))]
        if self.rng.random() < 0.5:
            bias = self.rng.integers(-3000, 3001, out).astype(np.int32)
            inputs.append(self.keep(constant("b", bias)))
        return inputs, {"groups": groups, **self._window(kernel), **self._clamp()}

    def _concat(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        fitting = [n for n in self.live if self.values[n].shape[:-1] == x.shape[:-1]]
        others = self.rng.choice(fitting, int(self.rng.integers(0, 4)))
        inputs = [x.name, *map(str, others)]
        self.rng.shuffle(inputs)
        return inputs, {"axis": int(self.rng.choice([3, -1]))}

    def _add(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        fitting = [n for n in self.live if self.values[n].shape == x.shape]
        other = str(self.rng.choice(fitting))
        if self.rng.random() < 0.3:
            shape = tuple(int(self.rng.choice([1, dim])) for dim in x.shape)
            model = q8("b", shape, "u8", 0.03, 90)
            other = self.keep(constant("b", draw(self.rng, model), model.quant))
        return [x.name, other], dict(self._clamp())

    _mul = _add

    def _maxpool(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        kernel = self.ints(1, 4, 2)
        return [x.name], {**self._window(kernel), "kernel": kernel, "pads": self.ints(0, 2, 4)}

    def _averagepool(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        inputs, attrs = self._maxpool(x)
        return inputs, {**attrs, "count_include_pad": bool(self.rng.random() < 0.5)}

    def _pad(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        return [x.name], {"begin": self.ints(0, 2, 4), "end": self.ints(0, 2, 4), "value": 0.5}

    def _slice(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        starts = tuple(int(self.rng.integers(0, dim // 2 + 1)) for dim in x.shape)
        return [x.name], {"starts": starts, "ends": (_WHOLE,) * 4, "steps": self.ints(1, 3, 4)}

    def _transpose(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        return [x.name], {"perm": tuple(int(axis) for axis in self.rng.permutation(4))}

    def _reshape(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        n, height, width, channels = x.shape
        return [x.name], {"shape": (n, width, height, channels)}

    def _softmax(self, x: Value) -> tuple[list[str], dict[str, Any]]:
        return [x.name], {"axis": -1}

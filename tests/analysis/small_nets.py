# SPDX-License-Identifier: Apache-2.0
"""Small float networks with branches, drawn from a seed, and data for them."""

from __future__ import annotations

import math

import numpy as np

import octavo
from octavo import ops
from octavo.ir import Graph, Node, Value, constant, verify

SIZE, CHANNELS, CLASSES = 8, 6, 10


class Net:
    """NHWC layers one after the other, each named after its operator and number."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.values = {"x": Value("x", "f32", (1, SIZE, SIZE, 3))}
        self.nodes: list[Node] = []

    def add(self, op: str, inputs: tuple[str, ...], **attrs: object) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        node = Node(name, op, inputs, (f"{name}/y",), attrs)
        (shape,) = ops.get(node).infer(node, [self.values[i] for i in inputs])
        self.values[f"{name}/y"] = Value(f"{name}/y", "f32", shape)
        self.nodes.append(node)
        return f"{name}/y"

    def weights(self, *shape: int) -> str:
        name = f"w{len(self.values)}"
        scale = math.sqrt(2.0 / math.prod(shape[1:]))
        data = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.values[name] = constant(name, data)
        return name

    def bias(self, channels: int) -> str:
        name = f"b{len(self.values)}"
        data = 0.1 * self.rng.standard_normal(channels).astype(np.float32)
        self.values[name] = constant(name, data)
        return name

    def conv(self, x: str, relu: bool = True) -> str:
        attrs = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1), "groups": 1}
        if relu:
            attrs["clamp"] = (0.0, math.inf)
        channels = self.values[x].shape[-1]
        w = self.weights(CHANNELS, 3, 3, channels)
        return self.add("Conv", (x, w, self.bias(CHANNELS)), **attrs)

    def model(self, y: str) -> octavo.Model:
        mean = self.add("GlobalAveragePool", (y,))
        flat = self.add("Flatten", (mean,), axis=1)
        channels = self.values[flat].shape[-1]
        out = self.add("Linear", (flat, self.weights(CLASSES, channels), self.bias(CLASSES)))
        dynamic = {"x": ("N", None, None, None)}
        graph = Graph("net", tuple(self.nodes), self.values, ("x",), (out,), dynamic)
        return octavo.Model(verify(graph))


def residual_net(seed: int, blocks: int = 3) -> octavo.Model:
    """Convolutions with additions around them, and one concatenation in front of the head."""
    net = Net(seed)
    x = net.conv("x")
    for _ in range(blocks):
        y = net.conv(net.conv(x), relu=False)
        x = net.add("Add", (x, y), clamp=(0.0, math.inf))
    return net.model(net.add("Concat", (x, net.conv(x)), axis=3))


def images(count: int, seed: int) -> np.ndarray:
    """Smooth random images [count, 8, 8, 3] float32."""
    noise = np.random.default_rng(seed).standard_normal((count, SIZE, SIZE, 3))
    for axis in (1, 2):
        noise = noise + np.roll(noise, 1, axis)
    return np.ascontiguousarray(noise / 2, np.float32)

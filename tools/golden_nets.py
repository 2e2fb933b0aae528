# SPDX-License-Identifier: Apache-2.0
"""Small networks of the usual kinds, quantized by hand with parameters that no machine computes
otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import ops
from octavo.ir import Graph, Node, Shape, Value, constant, verify
from octavo.ops.example_graphs import bias_s32, const_f32, f32, q8, weight_q8

Array = NDArray[Any]
Made = tuple[Graph, tuple[Array, ...]]
RELU = (0.0, math.inf)
RELU6 = (0.0, 6.0)


class Net:
    """Appends nodes and keeps their values; `x` is a float32 input of multiples of 1/32."""

    def __init__(self, rng: np.random.Generator, shape: Shape) -> None:
        self.rng = rng
        self.values: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.x = self._keep(f32("x", *shape))
        self.feed = (rng.integers(-96, 97, shape) / np.float32(32)).astype(np.float32)

    def _keep(self, value: Value) -> Value:
        self.values[value.name] = value
        return value

    def _constant(self, value: Value) -> Value:
        return self._keep(replace(value, name=f"c{len(self.values)}"))

    def node(self, op: str, inputs: list[Value], like: Value, **attrs: object) -> Value:
        """One more node; its output has the type and parameters of `like`."""
        name = f"v{len(self.values)}"
        node = Node(f"{op}{len(self.nodes)}", op, tuple(v.name for v in inputs), (name,), attrs)
        (shape,) = ops.get(node).infer(node, list(inputs))
        self.nodes.append(node)
        return self._keep(replace(like, name=name, shape=shape, data=None))

    def quantized(self, dtype: str = "u8") -> Value:
        """The input in steps of 1/32, zero in the middle."""
        return self.node("QuantizeLinear", [self.x], _q(1 / 32, dtype))

    def weighted(
        self, op: str, x: Value, shape: Shape, scale: float = 1 / 24, **attrs: object
    ) -> Value:
        """A Conv or Linear with a bias, whose weights keep the size of real numbers: about 1."""
        weights = weight_q8(self.rng, shape)
        spread = weights.affine.scale / np.float32(math.sqrt(math.prod(shape[1:])))
        weights = self._constant(replace(weights, quant=replace(weights.affine, scale=spread)))
        bias = self._constant(bias_s32(self.rng, x, weights))
        lowest = 0 if x.dtype == "u8" else -128
        like = _q(3 / 128, x.dtype, lowest) if "clamp" in attrs else _q(scale, x.dtype)
        return self.node(op, [x, weights, bias], like, **attrs)

    def conv(self, x: Value, out: int, kernel: int = 1, stride: int = 1, **attrs: object) -> Value:
        """Padded so that stride 1 keeps the size."""
        groups = int(attrs.get("groups", 1))  # type: ignore[call-overload]
        shape = (out, kernel, kernel, x.shape[3] // groups)
        pads = (kernel // 2,) * 4
        return self.weighted("Conv", x, shape, strides=(stride, stride), pads=pads, **attrs)

    def depthwise(self, x: Value, kernel: int, stride: int = 1, **attrs: object) -> Value:
        channels = x.shape[3]
        return self.conv(x, channels, kernel, stride, groups=channels, **attrs)

    def add(self, a: Value, b: Value, **attrs: object) -> Value:
        return self.node("Add", [a, b], _q(1 / 20, a.dtype), **attrs)

    def made(self, name: str, *results: Value) -> Made:
        """The graph; 8-bit results are dequantized."""
        outputs = []
        for y in results:
            y = self.node("DequantizeLinear", [y], f32("", 1)) if y.is_8bit else y
            outputs.append(y.name)
        graph = Graph(name, tuple(self.nodes), self.values, (self.x.name,), tuple(outputs))
        return verify(graph), (self.feed,)


def _q(scale: float, dtype: str = "u8", zero_point: int | None = None) -> Value:
    if zero_point is None:
        zero_point = 128 if dtype == "u8" else 0
    return q8("", (), dtype, scale, zero_point)


def mobile(rng: np.random.Generator) -> Made:
    """Inverted residuals, as in MobileNetV2."""
    net = Net(rng, (1, 30, 34, 3))
    x = net.conv(net.quantized(), 16, 3, 2, clamp=RELU6)
    for expanded, out, kernel, stride in ((48, 24, 3, 2), (72, 24, 3, 1), (72, 40, 5, 2)):
        y = net.conv(x, expanded, clamp=RELU6)
        y = net.depthwise(y, kernel, stride, clamp=RELU6)
        y = net.conv(y, out)
        x = net.add(x, y) if y.shape == x.shape else y
    x = net.conv(x, 96, clamp=RELU6)
    x = net.node("GlobalAveragePool", [x], _q(x.scale / 2))
    x = net.node("Flatten", [x], x, axis=1)
    return net.made("mobile", net.weighted("Linear", x, (37, 96), 1 / 256))


def residual(rng: np.random.Generator) -> Made:
    """3x3 convolutions wide enough for Winograd, in s8; softmax at the end."""
    net = Net(rng, (1, 28, 28, 3))
    x = net.conv(net.quantized("s8"), 32, 3, clamp=RELU)
    x = net.node("MaxPool", [x], x, kernel=(2, 2), strides=(2, 2), pads=(0,) * 4)
    for out, stride in ((32, 1), (64, 2)):
        y = net.conv(x, out, 3, stride, clamp=RELU)
        y = net.conv(y, out, 3)
        x = x if stride == 1 else net.conv(x, out, 1, stride)
        x = net.add(x, y, clamp=RELU)
    x = net.node("GlobalAveragePool", [x], _q(x.scale / 2, "s8"))
    x = net.node("Flatten", [x], x, axis=1)
    x = net.weighted("Linear", x, (10, 64), 1 / 64)
    shares = net.node("Softmax", [x], _q(1 / 256, "s8", -128), axis=-1)
    return net.made("residual", x, shares)


def gated(rng: np.random.Generator) -> Made:
    """Squeeze and excite, hard swish, branches that are joined, and a resize."""
    net = Net(rng, (2, 13, 11, 5))
    stem = net.conv(net.quantized(), 24, 3)
    x = net.node("HardSwish", [stem], _q(stem.scale / 2, zero_point=10))
    gate = net.node("GlobalAveragePool", [x], _q(x.scale / 2))
    gate = net.conv(net.conv(gate, 8, clamp=RELU), 24)
    gate = net.node("Sigmoid", [gate], _q(1 / 256, zero_point=0))
    x = net.node("Mul", [x, gate], _q(x.scale))
    deep = net.depthwise(x, 5)
    pooled = {"kernel": (3, 3), "strides": (1, 1), "pads": (1,) * 4, "count_include_pad": False}
    mean = net.node("AveragePool", [x], _q(x.scale), **pooled)
    x = net.node("Concat", [deep, mean, x], _q(deep.scale), axis=3)
    big = net.node(
        "Resize", [x], _q(x.scale), mode="linear", coordinates="half_pixel", size=(20, 23)
    )
    return net.made("gated", net.conv(big, 9), gate)


def encoder(rng: np.random.Generator) -> Made:
    """Attention, layer normalization and Gelu on 21 tokens of width 48."""
    tokens, heads, width = 21, 3, 16
    wide = heads * width
    net = Net(rng, (1, tokens, wide))
    x = net.quantized()

    def split(y: Value, perm: Shape) -> Value:
        y = net.node("Reshape", [y], y, shape=(1, tokens, heads, width))
        return net.node("Transpose", [y], y, perm=perm)

    q, k, v = (net.weighted("Linear", x, (wide, wide)) for _ in range(3))
    scores = net.node("MatMul", [split(q, (0, 2, 1, 3)), split(k, (0, 2, 3, 1))], _q(1 / 8))
    shares = net.node("Softmax", [scores], _q(1 / 256, zero_point=0), axis=-1)
    mixed = net.node("MatMul", [shares, split(v, (0, 2, 1, 3))], _q(1 / 32))
    joined = net.node("Transpose", [mixed], mixed, perm=(0, 2, 1, 3))
    joined = net.node("Reshape", [joined], joined, shape=(1, tokens, wide))
    x = net.add(x, net.weighted("Linear", joined, (wide, wide)))
    gain = [net._constant(constant("w", rng.uniform(0.5, 1.5, wide).astype(np.float32)))]
    gain.append(net._constant(constant("b", np.zeros(wide, np.float32))))
    x = net.node("LayerNorm", [x, *gain], _q(1 / 32), epsilon=1e-5)
    hidden = net.weighted("Linear", x, (2 * wide, wide))
    hidden = net.node("Gelu", [hidden], _q(hidden.scale / 2, zero_point=9), approximate="none")
    return net.made("encoder", net.add(x, net.weighted("Linear", hidden, (wide, 2 * wide))))


def autoencoder(rng: np.random.Generator) -> Made:
    """A chain of linear layers for a batch of 5."""
    net = Net(rng, (5, 130))
    x = net.quantized("s8")
    for out in (64, 33, 8, 33, 64):
        x = net.weighted("Linear", x, (out, x.shape[1]), clamp=RELU)
    return net.made("autoencoder", net.weighted("Linear", x, (130, 64), 1 / 128))


def floating(rng: np.random.Generator) -> Made:
    """float32 steps: their bits are the norm's as well."""
    net = Net(rng, (1, 14, 15, 6))
    x = net.x

    def conv(y: Value, shape: Shape, groups: int = 1) -> Value:
        weights = [net._constant(const_f32("w", rng, *shape)) for shape in (shape, shape[:1])]
        return net.node("Conv", [y, *weights], f32("", 1), pads=(1,) * 4, groups=groups)

    x = conv(conv(x, (40, 3, 3, 6)), (40, 3, 3, 1), 40)
    x = net.node("MaxPool", [x], x, kernel=(3, 2), strides=(2, 2), pads=(1, 0, 1, 0))
    x = net.node("AveragePool", [x], x, kernel=(2, 2), strides=(1, 1), pads=(0,) * 4)
    x = net.node("Reshape", [x], x, shape=(-1, 40))
    x = net.node("Linear", [x, net._constant(const_f32("w", rng, 19, 40))], x)
    shares = net.node("Softmax", [x], x, axis=-1)
    return net.made("floating", x, shares, net.node("Sigmoid", [x], x))


#: Name -> builder of the graph (before the passes) and its input.
NETS: dict[str, Callable[[np.random.Generator], Made]] = {
    make.__name__: make for make in (mobile, residual, gated, encoder, autoencoder, floating)
}

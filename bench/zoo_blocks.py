# SPDX-License-Identifier: Apache-2.0
"""Builds float32 ONNX networks with seeded weights whose activations stay in range, layer by layer.

Weights are He-scaled draws from a Laplace distribution, not a Gaussian: trained networks sit
nearer Laplace (many small weights, a few large ones), and that shape decides how much of an int8
range a channel uses and how often AVX2's ``vpmaddubsw`` pairs could saturate.

A random deep network without normalisation drifts: activations grow, shrink, or stop depending
on the input. So every convolution carries a batch norm, folded into its weights and bias, whose
statistics are those of a small seeded batch that the builder runs through the network in NumPy
while it appends layers. (Propagating moments analytically instead drifts by about 4 % a layer:
a factor of 7 over ResNet-50.)

Random normalised networks are also chaotic: a small error grows 112-fold through MobileNetV1,
where training contracts it, and int8 would measure noise. Two traits of trained networks bring
that to 1.7: betas above zero on average, so that ReLU cuts fewer units off, and depthwise filters
with a low-pass part, which pass the smooth signal better than noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.inputs import natural_input

Array = npt.NDArray[np.float32]

Padding = Literal["same", "valid"] | int

OPSET = 17
IR_VERSION = 8  # the IR version that was current with opset 17
INPUT_NAME = "input"
OUTPUT_NAME = "output"


@dataclass(frozen=True)
class Tensor:
    """A value of the network and what it holds for the builder's own batch, (B, C, H, W)."""

    name: str
    sample: Array

    @property
    def channels(self) -> int:
        """Size of axis 1: channels of an image, features of a flat tensor."""
        return int(self.sample.shape[1])


@dataclass(frozen=True)
class Norm:
    """Ranges from which a folded batch norm draws its per-channel gamma and beta."""

    gamma_low: float = 0.6
    gamma_high: float = 1.4
    beta_mean: float = 0.5
    beta_std: float = 0.3


# Small gammas keep the sum over residual branches bounded.
RESIDUAL_NORM = Norm(gamma_low=0.2, gamma_high=0.6, beta_mean=0.0, beta_std=0.2)
LOGITS_NORM = Norm(gamma_low=1.5, gamma_high=2.5, beta_mean=0.0, beta_std=0.5)


@dataclass(frozen=True)
class Window:
    """A sliding window over H and W."""

    kernel: tuple[int, int]
    stride: int
    begins: tuple[int, int]
    ends: tuple[int, int]

    @classmethod
    def over(cls, x: Array, kernel: tuple[int, int], stride: int, pad: Padding) -> Window:
        """Window with explicit padding; ``"same"`` puts the odd pixel at the end, as TF does."""
        totals = [0, 0]
        if pad == "same":
            sizes = x.shape[2:4]
            totals = [
                max((-(-size // stride) - 1) * stride + k - size, 0)
                for size, k in zip(sizes, kernel, strict=True)
            ]
        elif pad != "valid":
            return cls(kernel, stride, (pad, pad), (pad, pad))
        begins = (totals[0] // 2, totals[1] // 2)
        return cls(kernel, stride, begins, (totals[0] - begins[0], totals[1] - begins[1]))

    @property
    def attrs(self) -> dict[str, list[int]]:
        """The ONNX attributes of Conv and MaxPool."""
        pads = [*self.begins, *self.ends]
        strides = [self.stride, self.stride]
        return {"kernel_shape": list(self.kernel), "strides": strides, "pads": pads}

    def taps(self, x: Array, fill: float) -> dict[tuple[int, int], Array]:
        """For each (row, column) of the window, the input that it sees at every position."""
        (top, left), (bottom, right) = self.begins, self.ends
        edges = ((0, 0), (0, 0), (top, bottom), (left, right))
        padded = np.pad(x, edges, constant_values=fill)
        rows = (padded.shape[2] - self.kernel[0]) // self.stride * self.stride + 1
        cols = (padded.shape[3] - self.kernel[1]) // self.stride * self.stride + 1
        return {
            (i, j): padded[:, :, i : i + rows : self.stride, j : j + cols : self.stride]
            for i in range(self.kernel[0])
            for j in range(self.kernel[1])
        }


def _convolve(x: Array, weight: Array, window: Window, *, depthwise: bool) -> Array:
    """Convolution of (B, C, H, W) by OIHW weights, as one product per tap of the window."""
    total: Any = 0.0
    for (i, j), seen in window.taps(x, 0.0).items():
        if depthwise:
            total = total + seen * weight[:, 0, i, j, None, None]
        else:
            batch, channels, height, width = seen.shape
            flat = weight[:, :, i, j] @ seen.reshape(batch, channels, height * width)
            total = total + flat.reshape(batch, -1, height, width)
    result: Array = total
    return result


class NetBuilder:
    """Appends layers to an ONNX graph while running its own batch through them.

    Layers take and return `Tensor`. The graph is NCHW with a symbolic batch dimension ``N``.
    """

    def __init__(self, name: str, input_shape: Sequence[int], seed: int) -> None:
        self._name = name
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        # Statistics need some thousand values a channel: from positions, or else from samples.
        positions = int(np.prod(input_shape[1:]))
        batch = 4 if positions > 10_000 else 32 if positions > 1 else 256
        self.input = Tensor(INPUT_NAME, natural_input((batch, *input_shape), seed=1))

    def _constant(self, name: str, value: npt.ArrayLike) -> str:
        self._constants[name] = numpy_helper.from_array(np.asarray(value, np.float32), name)
        return name

    def _emit(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        name = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def _laplace(self, shape: tuple[int, ...]) -> Array:
        # He: a standard deviation of √(2 / fan_in); that of Laplace(b) is b·√2.
        fan_in = int(np.prod(shape[1:]))
        return self._rng.laplace(0.0, np.sqrt(1.0 / fan_in), shape).astype(np.float32)

    def _gamma_beta(self, channels: int, norm: Norm) -> tuple[Array, Array]:
        gamma = self._rng.uniform(norm.gamma_low, norm.gamma_high, channels)
        beta = self._rng.normal(norm.beta_mean, norm.beta_std, channels)
        return gamma.astype(np.float32), beta.astype(np.float32)

    def conv(
        self,
        x: Tensor,
        channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        *,
        pad: Padding = "same",
        depthwise: bool = False,
        norm: Norm | None = None,
    ) -> Tensor:
        """Convolution with bias: weights and bias hold a folded batch norm."""
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        window = Window.over(x.sample, size, stride, pad)
        weight = self._laplace((channels, 1 if depthwise else x.channels, *size))
        if depthwise:
            low_pass = self._rng.choice([-1.0, 1.0], (channels, 1, 1, 1)) * weight.std()
            weight += low_pass.astype(np.float32)
        raw = _convolve(x.sample, weight, window, depthwise=depthwise)
        gamma, beta = self._gamma_beta(channels, norm or Norm())
        scale = gamma / np.sqrt(raw.var(axis=(0, 2, 3)) + np.float32(1e-5))
        bias = beta - raw.mean(axis=(0, 2, 3)) * scale
        prefix = f"conv_{len(self._nodes)}"
        weight_name = self._constant(f"{prefix}_weight", weight * scale[:, None, None, None])
        bias_name = self._constant(f"{prefix}_bias", bias)
        name = self._emit(
            "Conv",
            [x.name, weight_name, bias_name],
            group=x.channels if depthwise else 1,
            **window.attrs,
        )
        return Tensor(name, raw * scale[:, None, None] + bias[:, None, None])

    def depthwise(
        self, x: Tensor, kernel: int, stride: int = 1, *, pad: Padding = "same"
    ) -> Tensor:
        """Depthwise convolution: one filter per channel."""
        return self.conv(x, x.channels, kernel, stride, pad=pad, depthwise=True)

    def gemm(self, x: Tensor, features: int, *, norm: Norm | None = None) -> Tensor:
        """Fully connected layer on a flat tensor.

        One variance for all features: behind a global pooling the builder's batch has only a
        handful of values per feature.
        """
        weight = self._laplace((features, x.channels))
        raw = x.sample @ weight.T
        mean = raw.mean(axis=0)
        gamma, beta = self._gamma_beta(features, norm or Norm())
        scale = gamma / np.sqrt(np.square(raw - mean).mean() + np.float32(1e-5))
        bias = beta - mean * scale
        prefix = f"gemm_{len(self._nodes)}"
        weight_name = self._constant(f"{prefix}_weight", weight * scale[:, None])
        bias_name = self._constant(f"{prefix}_bias", bias)
        name = self._emit("Gemm", [x.name, weight_name, bias_name], transB=1)
        return Tensor(name, raw * scale + bias)

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return Tensor(self._emit("Relu", [x.name]), np.maximum(x.sample, 0.0))

    def relu6(self, x: Tensor) -> Tensor:
        """clip(x, 0, 6), bounds as initializers (what exporters write since opset 11)."""
        bounds = [self._constant("relu6_min", 0.0), self._constant("relu6_max", 6.0)]
        return Tensor(self._emit("Clip", [x.name, *bounds]), np.clip(x.sample, 0.0, 6.0))

    def max_pool(self, x: Tensor, kernel: int, stride: int, *, pad: Padding = "valid") -> Tensor:
        """Max pooling."""
        window = Window.over(x.sample, (kernel, kernel), stride, pad)
        name = self._emit("MaxPool", [x.name], **window.attrs)
        return Tensor(name, np.max(list(window.taps(x.sample, -np.inf).values()), axis=0))

    def global_avg_pool(self, x: Tensor) -> Tensor:
        """Mean over H and W, flattened to (N, C)."""
        name = self._emit("GlobalAveragePool", [x.name])
        name = self._emit("Flatten", [name], axis=1)
        return Tensor(name, x.sample.mean(axis=(2, 3)))

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """Residual sum of two branches."""
        return Tensor(self._emit("Add", [a.name, b.name]), a.sample + b.sample)

    def concat(self, *parts: Tensor) -> Tensor:
        """Concatenation over channels."""
        name = self._emit("Concat", [p.name for p in parts], axis=1)
        return Tensor(name, np.concatenate([p.sample for p in parts], axis=1))

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax over the features of a flat tensor."""
        exp = np.exp(x.sample - x.sample.max(axis=1, keepdims=True))
        name = self._emit("Softmax", [x.name], axis=-1)
        return Tensor(name, exp / exp.sum(axis=1, keepdims=True))

    def finish(self, output: Tensor) -> onnx.ModelProto:
        """Checked model whose only output is `output`, the last layer.

        Raises:
            ValueError: `output` is not the last layer.
            onnx.checker.ValidationError: the graph is malformed.
        """
        if self._nodes[-1].output[0] != output.name:
            raise ValueError(f"{output.name} is not the last layer of {self._name}")
        self._nodes[-1].output[0] = OUTPUT_NAME
        graph = helper.make_graph(
            self._nodes,
            self._name,
            [_value_info(INPUT_NAME, self.input.sample)],
            [_value_info(OUTPUT_NAME, output.sample)],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model.producer_name = "octavo-bench-zoo"
        onnx.checker.check_model(model)
        return model


def _value_info(name: str, sample: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *sample.shape[1:]])

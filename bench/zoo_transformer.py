# SPDX-License-Identifier: Apache-2.0
"""A BERT-like encoder in ONNX with seeded weights, written out as exporters do.

MatMul and Add for linear layers, heads split by Reshape and Transpose, scores divided by the root
of the head size, Gelu by Erf, LayerNormalization behind each residual sum. Weights are Laplace
draws, as in `bench.zoo_blocks`; layer normalization keeps the activations in range by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.zoo_blocks import INPUT_NAME, IR_VERSION, OPSET, OUTPUT_NAME


@dataclass(frozen=True)
class Encoder:
    """Sizes of an encoder; `positions` tokens of `width` features go in and come out.

    With a `vocabulary` the inputs are those of an exported BERT: int64 `input_ids` and
    `attention_mask`, both [N, positions]. Without, embedded tokens as float32.
    """

    layers: int
    width: int
    heads: int
    hidden: int
    positions: int
    vocabulary: int = 0


class EncoderBuilder:
    """Appends the layers of an `Encoder` to an ONNX graph with a symbolic batch dimension."""

    def __init__(self, name: str, sizes: Encoder, seed: int) -> None:
        self._name = name
        self._sizes = sizes
        self._rng = np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._mask = ""

    def _constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def _emit(self, op: str, inputs: Sequence[str], **attrs: Any) -> str:
        name = f"{op.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def _linear(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        # The standard deviation of Laplace(b) is b * sqrt(2).
        spread = gain / math.sqrt(2 * inputs)
        weights = self._rng.laplace(0.0, spread, (inputs, outputs))
        product = self._emit("MatMul", [x, self._constant(weights)])
        bias = self._rng.normal(0.0, 0.1, outputs)
        return self._emit("Add", [product, self._constant(bias)])

    def _norm(self, x: str) -> str:
        width = self._sizes.width
        gamma = self._constant(self._rng.uniform(0.6, 1.4, width))
        beta = self._constant(self._rng.normal(0.0, 0.2, width))
        return self._emit("LayerNormalization", [x, gamma, beta], axis=-1, epsilon=1e-12)

    def _heads(self, x: str, gain: float, perm: Sequence[int]) -> str:
        s = self._sizes
        x = self._linear(x, s.width, s.width, gain)
        split = self._constant([0, s.positions, s.heads, s.width // s.heads], np.int64)
        return self._emit("Transpose", [self._emit("Reshape", [x, split])], perm=perm)

    def _attention(self, x: str) -> str:
        s = self._sizes
        # Trained attention is more decided than what equal variances give, hence the gains.
        q = self._heads(x, 1.5, (0, 2, 1, 3))
        k = self._heads(x, 1.5, (0, 2, 3, 1))
        v = self._heads(x, 1.0, (0, 2, 1, 3))
        root = self._constant(math.sqrt(s.width // s.heads))
        scores = self._emit("Div", [self._emit("MatMul", [q, k]), root])
        if self._mask:
            scores = self._emit("Add", [scores, self._mask])
        mixed = self._emit("MatMul", [self._emit("Softmax", [scores], axis=-1), v])
        merged = self._emit("Transpose", [mixed], perm=(0, 2, 1, 3))
        joined = self._constant([0, s.positions, s.width], np.int64)
        return self._linear(self._emit("Reshape", [merged, joined]), s.width, s.width)

    def _gelu(self, x: str) -> str:
        scaled = self._emit("Div", [x, self._constant(math.sqrt(2.0))])
        gate = self._emit("Add", [self._emit("Erf", [scaled]), self._constant(1.0)])
        return self._emit("Mul", [self._emit("Mul", [x, gate]), self._constant(0.5)])

    def _embedded(self) -> str:
        """Embeddings of tokens and positions; the mask as 0 and -10000."""
        s = self._sizes
        axes = self._constant([1, 2], np.int64)
        mask = self._emit("Cast", [self._emit("Unsqueeze", ["attention_mask", axes])], to=1)
        hidden = self._emit("Sub", [self._constant(1.0), mask])
        self._mask = self._emit("Mul", [hidden, self._constant(-10000.0)])
        table = self._constant(self._rng.normal(0.0, 1.0, (s.vocabulary, s.width)))
        tokens = self._emit("Gather", [table, "input_ids"], axis=0)
        place = self._constant(self._rng.normal(0.0, 0.3, (1, s.positions, s.width)))
        return self._emit("Add", [tokens, place])

    def build(self) -> onnx.ModelProto:
        """The model, with float32 [N, positions, width] as its output."""
        s = self._sizes
        x = self._norm(self._embedded() if s.vocabulary else INPUT_NAME)
        for _ in range(s.layers):
            x = self._norm(self._emit("Add", [self._attention(x), x]))
            hidden = self._gelu(self._linear(x, s.width, s.hidden))
            x = self._norm(self._emit("Add", [self._linear(hidden, s.hidden, s.width), x]))
        self._nodes[-1].output[0] = OUTPUT_NAME
        shape = ["N", s.positions, s.width]
        declare = helper.make_tensor_value_info
        inputs = [declare(INPUT_NAME, TensorProto.FLOAT, shape)]
        if s.vocabulary:
            names = ("input_ids", "attention_mask")
            inputs = [declare(name, TensorProto.INT64, shape[:2]) for name in names]
        outputs = [declare(OUTPUT_NAME, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self._nodes, self._name, inputs, outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        model.producer_name = "octavo-bench-zoo"
        onnx.checker.check_model(model)
        return model

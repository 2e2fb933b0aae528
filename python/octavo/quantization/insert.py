# SPDX-License-Identifier: Apache-2.0
"""Writes the chosen parameters into the graph as QuantizeLinear / DequantizeLinear pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Affine, Graph, Node, Value, constant, prune, verify
from octavo.quant import multiplier, quantize
from octavo.quantization.ranges import weight_scales

__all__ = ["insert_qdq"]

Array = NDArray[Any]
#: Keeps |bias_s32| away from the int32 limits, with room for the accumulated products.
_BIAS_LIMIT = 2.0**30


def _fit_bias(scales: NDArray[np.float32], bias: Array, in_scale: float) -> NDArray[np.float32]:
    """Weight scales raised where the bias would not fit int32 otherwise (ONNX Runtime PR 22020)."""
    least = np.abs(np.asarray(bias, np.float64)) / (_BIAS_LIMIT * in_scale)
    return np.maximum(scales, least.astype(np.float32))


class _Inserter:
    def __init__(self, graph: Graph, parameters: Mapping[str, Affine], method: str) -> None:
        self.graph = graph
        self.parameters = parameters
        self.method = method
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: list[Node] = []
        self.renamed: dict[str, str] = {}  # value -> what its readers read from now on

    def pair(self, name: str, source: str, result: str) -> None:
        """source -> QuantizeLinear -> DequantizeLinear -> result."""
        value = self.graph.values[name]
        stored = f"{name}/q"
        self.values[stored] = Value(stored, "u8", value.shape, self.parameters[name])
        self.nodes.append(Node(f"{name}/quantize", "QuantizeLinear", (source,), (stored,)))
        self.values[result] = replace(value, name=result, data=None)
        self.nodes.append(Node(f"{name}/dequantize", "DequantizeLinear", (stored,), (result,)))

    def constant_operand(self, name: str) -> None:
        """A constant activation operand (of Add, Mul, Concat): stored in 8 bits."""
        value = self.graph.values[name]
        assert value.data is not None
        affine = self.parameters[name]
        data = quantize(value.data, affine.scale, affine.zero_point, "u8")
        self._dequantized(name, constant(f"{name}/q", data, affine))

    def _dequantized(self, name: str, stored: Value) -> None:
        self.values[stored.name] = stored
        result = f"{name}/dq"
        self.values[result] = Value(result, "f32", stored.shape)
        self.nodes.append(Node(f"{name}/dequantize", "DequantizeLinear", (stored.name,), (result,)))
        self.renamed[name] = result

    def weights(self, node: Node) -> None:
        """Weights per channel in s8, bias in s32 with scale s_x * s_w[c]."""
        weight, bias = self.graph.values[node.inputs[1]], None
        assert weight.data is not None
        scales = weight_scales(weight.data, self.method)
        in_scale = float(self.parameters[node.inputs[0]].scale)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.graph.values[node.inputs[2]]
            assert bias.data is not None
            scales = _fit_bias(scales, bias.data, in_scale)
        zeros = np.zeros(scales.shape, np.int32)
        if weight.name not in self.renamed:
            column = scales.reshape(-1, *([1] * (weight.data.ndim - 1)))
            data = np.clip(np.rint(weight.data / column), -127, 127).astype(np.int8)
            stored = constant(f"{weight.name}/q", data, Affine(scales, zeros, 0))
            self._dequantized(weight.name, stored)
        else:  # weights shared by two nodes keep the first node's scales
            scales = self.values[f"{weight.name}/q"].affine.scale
        if bias is not None and bias.data is not None:
            bias_scale = multiplier(in_scale, scales, 1.0)
            exact = np.rint(bias.data.astype(np.float64) / bias_scale.astype(np.float64))
            data = np.clip(exact, -(2**31) + 1, 2**31 - 1).astype(np.int32)
            own = f"{bias.name}/{node.name}"  # a bias depends on its node's input scale
            self._dequantized(own, constant(f"{own}/q", data, Affine(bias_scale, zeros, 0)))

    def rewire(self, node: Node) -> Node:
        inputs = [self.renamed.get(name, name) for name in node.inputs]
        if node.op in ("Conv", "Linear") and len(node.inputs) > 2:
            inputs[2] = self.renamed.get(f"{node.inputs[2]}/{node.name}", inputs[2])
        return replace(node, inputs=tuple(inputs))

    def run(self, chosen: set[str]) -> Graph:
        for name in self.parameters:
            value = self.graph.values[name]
            if value.data is not None:
                self.constant_operand(name)
            elif name in self.graph.inputs:
                self.pair(name, name, f"{name}/dq")
                self.renamed[name] = f"{name}/dq"
        for node in self.graph.nodes:
            if node.name in chosen and node.op in ("Conv", "Linear"):
                self.weights(node)
            outputs = []
            pending = []
            for name in node.outputs:
                if name not in self.parameters:
                    outputs.append(name)
                elif name in self.graph.outputs:  # the model's output keeps its name
                    raw = f"{name}/raw"
                    self.values[raw] = replace(self.graph.values[name], name=raw)
                    outputs.append(raw)
                    pending.append((name, raw, name))
                else:
                    outputs.append(name)
                    pending.append((name, name, f"{name}/dq"))
                    self.renamed[name] = f"{name}/dq"
            self.nodes.append(replace(self.rewire(node), outputs=tuple(outputs)))
            for name, source, result in pending:
                self.pair(name, source, result)
        return self.graph.with_(nodes=tuple(self.nodes), values=self.values)


def insert_qdq(
    graph: Graph, parameters: Mapping[str, Affine], chosen: set[str], method: str
) -> Graph:
    """The graph with every value of `parameters` stored in u8 and the weights of the `chosen`
    Conv and Linear nodes in s8 per channel."""
    return verify(prune(_Inserter(graph, parameters, method).run(chosen)))

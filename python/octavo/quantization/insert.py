# SPDX-License-Identifier: Apache-2.0
"""Writes the chosen parameters into the graph as QuantizeLinear / DequantizeLinear pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Affine, Graph, Node, Value, constant, free_name, prune, verify
from octavo.ops.precision import LAYERS, ON_REQUEST
from octavo.quant import multiplier, quantize
from octavo.quantization.ranges import weight_scales
from octavo.quantization.recipe import Settings
from octavo.quantization.rounding import nearest_round
from octavo.quantization.rules import has_constant_weights

__all__ = ["fit_bias", "insert_qdq", "integer_bias"]

Array = NDArray[Any]
#: Node name -> (s8 weights [O, ...], scales [O]).
Rounded = Mapping[str, tuple[NDArray[np.int8], NDArray[np.float32]]]
#: Keeps |bias_s32| away from the int32 limits, with room for the accumulated products.
_BIAS_LIMIT = 2.0**30


def fit_bias(scales: NDArray[np.float32], bias: Array, in_scale: float) -> NDArray[np.float32]:
    """Weight scales raised where the bias would not fit int32 otherwise (ONNX Runtime PR 22020)."""
    least = np.abs(np.asarray(bias, np.float64)) / (_BIAS_LIMIT * in_scale)
    return np.maximum(scales, least.astype(np.float32))


def integer_bias(bias: Array, scale: NDArray[np.float32]) -> NDArray[np.int32]:
    """A real bias in units of `scale`, to nearest."""
    exact = np.rint(np.asarray(bias, np.float64) / scale.astype(np.float64))
    return np.clip(exact, -(2**31) + 1, 2**31 - 1).astype(np.int32)


class _Inserter:
    def __init__(
        self,
        graph: Graph,
        parameters: Mapping[str, Affine],
        settings: Mapping[str, Settings] | Settings,
        precision: Mapping[str, str],
        dtypes: Mapping[str, str],
        wide: Mapping[str, Affine],
        rounded: Rounded,
    ) -> None:
        self.graph = graph
        self.parameters = parameters
        self.settings = settings
        self.precision = precision
        self.dtypes = dtypes
        self.wide = wide
        self.widened: dict[str, str] = {}  # value of 16 bits -> what its other readers read
        self.chosen: set[str] = set()
        self.rounded = rounded
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes: list[Node] = []
        self._node_names = {node.name for node in graph.nodes}
        self.renamed: dict[str, str] = {}  # value -> what its readers read from now on

    def fresh(self, name: str) -> str:
        """A value name that the model does not have, `name` itself where possible."""
        return free_name(name, self.values)

    def convert(self, op: str, title: str, source: str, result: str) -> None:
        """Adds the QuantizeLinear or DequantizeLinear source -> result."""
        title = free_name(title, self._node_names)
        self._node_names.add(title)
        self.nodes.append(Node(title, op, (source,), (result,)))

    def pair(self, name: str, source: str, result: str) -> None:
        """source -> QuantizeLinear -> DequantizeLinear -> result, in 16 bits where the value has
        them; then once more in 8 bits for those who want that."""
        if name not in self.wide:
            self.stored_as(name, source, result, self.dtypes.get(name, "u8"), self.parameters[name])
            return
        self.stored_as(name, source, result, "s16", self.wide[name])
        self.widened[name] = result
        readers = self.graph.consumers.get(name, ())
        if any(reader.name in self.chosen and not self.is_wide(reader) for reader in readers):
            self.renamed[name] = self.fresh(f"{name}/dq")
            dtype = self.dtypes.get(name, "u8")
            self.stored_as(name, result, self.renamed[name], dtype, self.parameters[name])

    def stored_as(self, name: str, source: str, result: str, dtype: str, affine: Affine) -> None:
        value = self.graph.values[name]
        self.values[result] = replace(value, name=result, data=None)
        stored = self.fresh(f"{name}/q")
        self.values[stored] = Value(stored, dtype, value.shape, affine)
        self.convert("QuantizeLinear", f"{name}/quantize", source, stored)
        self.convert("DequantizeLinear", f"{name}/dequantize", stored, result)

    def is_wide(self, node: Node) -> bool:
        return self.precision.get(node.name) == "int16"

    def read(self, node: Node, name: str) -> str:
        """What a node reads for a value: 8 bits where it computes in 8 bits."""
        narrow = node.name in self.chosen and not self.is_wide(node)
        if name in self.widened and not narrow:
            return self.widened[name]
        return self.renamed.get(name, name)

    def constant_operand(self, name: str) -> None:
        """A constant activation operand (of Add, Mul, Concat): stored like an activation."""
        value = self.graph.values[name]
        assert value.data is not None
        affine = self.parameters[name]
        dtype = self.dtypes.get(name, "u8")
        data = quantize(value.data, affine.scale, affine.zero_point, dtype)
        self.renamed[name] = self.stored(name, data, affine)

    def stored(self, name: str, data: Array, affine: Affine) -> str:
        """A quantized constant behind DequantizeLinear; the name of the result."""
        stored = constant(self.fresh(f"{name}/q"), data, affine)
        self.values[stored.name] = stored
        result = self.fresh(f"{name}/dq")
        self.values[result] = Value(result, "f32", stored.shape)
        self.convert("DequantizeLinear", f"{name}/dequantize", stored.name, result)
        return result

    def layer(self, node: Node) -> tuple[str, ...]:
        """The inputs of a Conv or Linear: weights in s8, bias in s32 with scale
        s_x * s_w[c]. Each layer has its own, even of a constant that others read, too: scales
        depend on the bias, and ONNX Runtime 1.31 refuses two layers on one DequantizeLinear."""
        weight, bias = self.graph.values[node.inputs[1]], None
        assert weight.data is not None
        x = node.inputs[0]
        wide = x in self.widened and self.is_wide(node)
        in_scale = float((self.wide if wide else self.parameters)[x].scale)
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.graph.values[node.inputs[2]]
            assert bias.data is not None
        if node.name in self.rounded:
            data, scales = self.rounded[node.name]
        else:
            scales = self.scales(node, weight.data)
            if bias is not None and bias.data is not None:
                scales = fit_bias(scales, bias.data, in_scale)
            data = nearest_round(weight.data, scales)
        zeros = np.zeros(scales.shape, np.int32)
        inputs = [
            self.read(node, x),
            self.stored(weight.name, data, Affine(scales, zeros, 0)),
        ]
        if bias is not None and bias.data is not None:
            bias_scale = multiplier(in_scale, scales, 1.0)
            whole = integer_bias(bias.data, bias_scale)
            inputs.append(self.stored(bias.name, whole, Affine(bias_scale, zeros, 0)))
        return tuple(inputs)

    def scales(self, node: Node, weights: Array) -> NDArray[np.float32]:
        """One scale per channel, by the node's settings."""
        told = self.settings if isinstance(self.settings, Settings) else self.settings[node.name]
        return weight_scales(weights, told.weight_ranges, per_channel=told.per_channel)

    def weights(self, weight: Value, scales: NDArray[np.float32]) -> str:
        """Weights [channels, ...] in s8 behind DequantizeLinear."""
        assert weight.data is not None
        data = nearest_round(weight.data, scales)
        return self.stored(weight.name, data, Affine(scales, np.zeros(scales.shape, np.int32), 0))

    def float_layer(self, node: Node) -> Node:
        """A Conv or Linear between float32 values whose weights alone are stored in s8."""
        weight = self.graph.values[node.inputs[1]]
        assert weight.data is not None
        w = self.weights(weight, self.scales(node, weight.data))
        inputs = [self.read(node, name) for name in node.inputs]
        inputs[1] = w
        attrs = {**node.attrs, "precision": self.precision[node.name]}
        return replace(node, inputs=tuple(inputs), attrs=attrs)

    def converted(self, node: Node, chosen: set[str]) -> Node:
        """The node with its inputs in the precision it computes in."""
        layer = node.op in LAYERS and has_constant_weights(self.graph, node)
        if layer and self.precision.get(node.name) in ON_REQUEST:
            return self.float_layer(node)
        if node.name in chosen and node.op in LAYERS:
            return replace(node, inputs=self.layer(node))
        return replace(node, inputs=tuple(self.read(node, name) for name in node.inputs))

    def run(self, chosen: set[str]) -> Graph:
        self.chosen = chosen
        for name in self.parameters:
            value = self.graph.values[name]
            if value.data is not None:
                self.constant_operand(name)
            elif name in self.graph.inputs:
                self.renamed[name] = self.fresh(f"{name}/dq")
                self.pair(name, name, self.renamed[name])
        for node in self.graph.nodes:
            node = self.converted(node, chosen)
            outputs = []
            pending = []
            for name in node.outputs:
                if name not in self.parameters:
                    outputs.append(name)
                elif name in self.graph.outputs:  # the model's output keeps its name
                    raw = self.fresh(f"{name}/raw")
                    self.values[raw] = replace(self.graph.values[name], name=raw)
                    outputs.append(raw)
                    pending.append((name, raw, name))
                else:
                    outputs.append(name)
                    self.renamed[name] = self.fresh(f"{name}/dq")
                    pending.append((name, name, self.renamed[name]))
            self.nodes.append(replace(node, outputs=tuple(outputs)))
            for name, source, result in pending:
                self.pair(name, source, result)
        return self.graph.with_(nodes=tuple(self.nodes), values=self.values)


def insert_qdq(
    graph: Graph,
    parameters: Mapping[str, Affine],
    chosen: set[str],
    settings: Mapping[str, Settings] | Settings,
    *,
    precision: Mapping[str, str] | None = None,
    dtypes: Mapping[str, str] | None = None,
    wide: Mapping[str, Affine] | None = None,
    rounded: Rounded | None = None,
) -> Graph:
    """The graph with every value of `parameters` stored in `dtypes` (name -> "u8", the default, or
    "s8") and the weights of the `chosen` Conv and Linear nodes in s8, by the `settings` of the node
    (by its name, or one for all).

    `precision` maps nodes that are not `chosen` to "weights" (s8 weights, float32 arithmetic),
    "dynamic", "dynamic_row" (activations quantized on the fly) or "float32". An op without constant
    weights has no such form and stays in float32. Neighbours of another precision meet at the Q/DQ
    pair of the value between them: a value is in `parameters` when a chosen node reads or writes
    it. `rounded` are s8 weights and scales that count instead of rounding a node's weights to
    nearest.

    Chosen nodes of precision "int16" compute on s16 values: those of `wide`, with symmetric
    parameters (usually what such nodes write, and model inputs they read). Other chosen nodes read
    such a value through a second pair, in 8 bits.
    """
    inserter = _Inserter(
        graph, parameters, settings, precision or {}, dtypes or {}, wide or {}, rounded or {}
    )
    return verify(prune(inserter.run(chosen)))

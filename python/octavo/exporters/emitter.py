# SPDX-License-Identifier: Apache-2.0
"""Emission of ONNX nodes with lazy layouts.

The IR is NHWC, ONNX is NCHW. Instead of inserting and cancelling transposes, every IR value v
remembers the axis order p in which ONNX holds it: onnx = transpose(v, p). A Transpose node of the
IR only changes p; a real one is emitted when an operator needs another order than the one at hand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import missing_extra
from octavo.ir import METADATA_PREFIX, Graph, Node, Shape, Value, free_name
from octavo.ops import symbolic_shapes
from octavo.ops.precision import PRECISION_KEY, requested
from octavo.quant import multiplier

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise missing_extra("onnx", "writing ONNX files") from error

__all__ = ["NCHW", "OPSET", "Emitter", "Order", "identity", "is_clamped"]

Array = NDArray[Any]
Order = tuple[int, ...]
OPSET = 17
IR_VERSION = 8
NCHW: Order = (0, 3, 1, 2)
_TYPES = {
    "f32": TensorProto.FLOAT,
    "u8": TensorProto.UINT8,
    "s8": TensorProto.INT8,
    "s16": TensorProto.INT16,
    "s32": TensorProto.INT32,
    "s64": TensorProto.INT64,
    "u32": TensorProto.UINT32,
    "bool": TensorProto.BOOL,
}


def identity(rank: int) -> Order:
    """The order that changes nothing."""
    return tuple(range(rank))


def is_clamped(clamp: tuple[float, float] | None) -> bool:
    """True when a fused clamp bounds anything."""
    return clamp is not None and not (clamp[0] == -math.inf and clamp[1] == math.inf)


class Emitter:
    """Collects ONNX nodes and initializers for one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._held: dict[str, dict[Order, str]] = {}  # IR value -> order -> ONNX tensor
        self._shared: dict[tuple[str, str, Shape, bytes], str] = {}
        self._names = set(graph.values)
        self._titles = {node.name for node in graph.nodes}
        self._count = 0
        self.opset = OPSET
        self._title = ""
        self._pending = ""
        self._precision: str | None = None
        for name in graph.inputs:
            self._held[name] = {identity(len(graph.values[name].shape)): name}

    def fresh(self, stem: str) -> str:
        """A tensor name nobody else has."""
        self._count += 1
        name = free_name(f"{stem}/onnx{self._count}", self._names)
        self._names.add(name)
        return name

    def node(
        self, op: str, inputs: Sequence[str], output: str, attrs: Mapping[str, Any] | None = None
    ) -> str:
        """Appends a node with one output; returns the output's name."""
        given = {key: value for key, value in (attrs or {}).items() if value is not None}
        name, self._title = self._title or free_name(f"{output}/{op}", self._titles), ""
        self._titles.add(name)
        named = list(inputs)
        while named and not named[-1]:
            named.pop()
        self.nodes.append(helper.make_node(op, named, [output], name=name, **given))
        return output

    def several(self, op: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Appends a node with several outputs."""
        name = free_name(f"{outputs[0]}/{op}", self._titles)
        self._titles.add(name)
        self.nodes.append(helper.make_node(op, list(inputs), list(outputs), name=name))

    def begin(self, node: Node) -> None:
        """The operator emitted for an IR node takes its name; helpers around it do not."""
        self._pending = node.name
        self._precision = requested(node)

    def main(
        self, op: str, inputs: Sequence[str], output: str, attrs: Mapping[str, Any] | None = None
    ) -> str:
        """Like `node`, for the operator that stands for the IR node."""
        self._title = self._pending
        self.node(op, inputs, output, attrs)
        if self._precision is not None:  # what Q and DQ around it cannot tell; others skip it
            mark = self.nodes[-1].metadata_props.add()
            mark.key, mark.value = PRECISION_KEY, self._precision
        return output

    def initializer(self, stem: str, data: Array) -> str:
        """A constant under a name made from `stem`; equal requests share it."""
        array = np.ascontiguousarray(data).reshape(data.shape)
        key = (stem, array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = self._add_initializer(free_name(stem, self._names), array)
        return self._shared[key]

    def _add_initializer(self, name: str, array: Array) -> str:
        self._names.add(name)
        self.initializers[name] = numpy_helper.from_array(array, name)
        return name

    def order(self, name: str) -> Order:
        """The order in which a value is at hand (identity for constants)."""
        held = self._held.get(name)
        return next(iter(held)) if held else identity(len(self.graph.values[name].shape))

    def hold(self, name: str, order: Order, tensor: str) -> None:
        """Records that ONNX `tensor` is the value in `order`."""
        self._held.setdefault(name, {})[order] = tensor

    def output_name(self, name: str, order: Order) -> str:
        """Name for the tensor that computes a value: its own, unless it is a model output in
        another order, or the name is taken."""
        plain = order == identity(len(order))
        if name in self._held or (name in self.graph.outputs and not plain):
            return self.fresh(name)
        return name

    def tensor(self, name: str, order: Order) -> str:
        """The ONNX tensor of a value in `order`; emits a Transpose when it is held otherwise."""
        value = self.graph.values[name]
        held = self._held.setdefault(name, {})
        if order in held:
            return held[order]
        if value.data is not None:
            plain = order == identity(len(order))
            data = np.ascontiguousarray(value.data.transpose(order)).reshape(
                [value.shape[axis] for axis in order]
            )
            title = name if plain else free_name(f"{name}/{'_'.join(map(str, order))}", self._names)
            tensor = self._add_initializer(title, data)
        else:
            source_order, source = next(iter(held.items()))
            perm = [source_order.index(axis) for axis in order]
            tensor = self.node("Transpose", [source], self.fresh(name), {"perm": perm})
        held[order] = tensor
        return tensor

    def parameters(self, value: Value, order: Order) -> tuple[str, str, int | None]:
        """(scale, zero point, axis) of a quantized value held in `order`: initializers, the zero
        point "" where it is to be left out."""
        affine = value.affine
        if value.dtype == "s16":
            self.opset = max(self.opset, 21)  # the first with 16-bit Q and DQ
        zero_type = {"u8": np.uint8, "s8": np.int8, "s16": np.int16, "s32": np.int32}[value.dtype]
        scale = self.initializer(f"{value.name}/scale", np.asarray(affine.scale, np.float32))
        # Those of biases are left out. Weights need theirs, each its own: ONNX Runtime keeps a Gemm
        # in float32 without, and refuses shared ones where it turns s8 into u8 (x64quantprecision).
        zero = ""
        if value.dtype != "s32" or affine.zero_point.any():
            zero = self.initializer(f"{value.name}/zero_point", affine.zero_point.astype(zero_type))
        axis = None if affine.axis is None else order.index(affine.axis)
        return scale, zero, axis

    def dequantized(self, name: str, order: Order) -> str:
        """A float tensor of an 8-bit value: DequantizeLinear in front of a float operator."""
        value = self.graph.values[name]
        if not value.is_quantized:
            return self.tensor(name, order)
        scale, zero, axis = self.parameters(value, order)
        stored = self.tensor(name, order)
        attrs = {"axis": axis}
        return self.node("DequantizeLinear", [stored, scale, zero], self.fresh(name), attrs)

    def dequantized_bias(self, name: str, x: Value, w: Value) -> str:
        """A float tensor of an s32 bias whose scale is s_x * s_w[c], and its zero point 0."""
        value = self.graph.values[name]
        if value.dtype != "s32":
            return self.tensor(name, identity(1))
        scale = np.broadcast_to(multiplier(x.scale, w.affine.scale, 1.0), value.shape)
        inputs = [self.tensor(name, identity(1)), self.initializer(f"{name}/scale", scale)]
        return self.node("DequantizeLinear", inputs, self.fresh(name), {"axis": 0})

    def finish(self, name: str, order: Order, result: str, clamp: Any = None) -> None:
        """Takes a float `result` as the value `name`: clamp, then QuantizeLinear if it is 8-bit."""
        value = self.graph.values[name]
        if is_clamped(clamp):
            result = self.clip(result, clamp, self.fresh(name))
        if value.is_quantized:
            scale, zero, axis = self.parameters(value, order)
            target = self.output_name(name, order)
            result = self.node("QuantizeLinear", [result, scale, zero], target, {"axis": axis})
        else:
            target = self.output_name(name, order)
            self.nodes[-1].output[0] = target
            result = target
        self.hold(name, order, result)

    def clip(self, source: str, clamp: tuple[float, float], output: str) -> str:
        """Relu or Clip."""
        low, high = clamp
        if low == 0.0 and high == math.inf:
            return self.node("Relu", [source], output)
        bounds = [
            self.initializer(f"clip/{bound!r}", np.float32(bound)) if math.isfinite(bound) else ""
            for bound in (low, high)
        ]
        return self.node("Clip", [source, *bounds], output)

    def model(self) -> onnx.ModelProto:
        """Everything emitted so far as a model, symbolic dimensions by name."""
        shapes = symbolic_shapes(self.graph)

        def info(name: str) -> onnx.ValueInfoProto:
            kind = _TYPES[self.graph.values[name].dtype]
            return helper.make_tensor_value_info(name, kind, shapes[name])

        body = helper.make_graph(
            self.nodes,
            self.graph.name or "octavo",
            [info(name) for name in self.graph.inputs],
            [info(name) for name in self.graph.outputs],
            initializer=list(self.initializers.values()),
        )
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(
            body, opset_imports=opsets, producer_name="octavo", ir_version=IR_VERSION
        )
        for key, value in self.graph.metadata.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = f"{METADATA_PREFIX}{key}", json.dumps(value)
        return model

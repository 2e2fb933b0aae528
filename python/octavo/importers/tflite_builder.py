# SPDX-License-Identifier: Apache-2.0
"""The graph under construction, and the table of handlers that translate TFLite nodes into it.

Quantized nodes come out as float ones between DequantizeLinear and QuantizeLinear, so that the
passes decide what runs in integers; nodes that only move bytes work on them directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from octavo import quant
from octavo.errors import FormatError
from octavo.importers.onnx_builder import Builder, attr, normal_axis, unsupported
from octavo.importers.onnx_quant import along_axis
from octavo.importers.tflite_file import Tensor
from octavo.ir import DTYPE_NAMES, Affine, Array, Node, Shape, Value, check_affine

Handler = Callable[["TfliteBuilder", Node], None]
Clamp = tuple[float, float] | None
#: TFLite operator -> its translation.
HANDLERS: dict[str, Handler] = {}

_INF = float("inf")
#: ActivationFunctionType -> bounds of the fused activation.
_ACTIVATIONS: dict[int, Clamp] = {0: None, 1: (0.0, _INF), 2: (-1.0, 1.0), 3: (0.0, 6.0)}

__all__ = ["HANDLERS", "Clamp", "TfliteBuilder", "activation", "attr", "handles", "normal_axis"]


def handles(*op_names: str) -> Callable[[Handler], Handler]:
    """Decorator: the function translates these operators."""

    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(op_names, function))
        return function

    return register


def activation(node: Node) -> Clamp:
    """The fused activation as bounds. Raises UnsupportedError for TANH and SIGN_BIT."""
    number = attr(node, "FusedActivationFunction", 0, int)
    if number not in _ACTIVATIONS:
        raise unsupported(
            node, f"fused activation {number}; only none, RELU, RELU_N1_TO_1 and RELU6 work"
        )
    return _ACTIVATIONS[number]


class TfliteBuilder(Builder):
    """Builder over the tensors of a TFLite file."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(opset=0, constants={})
        self.tensors = tensors
        self.reserve(list(tensors))
        for tensor in tensors.values():
            if tensor.data is not None:
                self.define(tensor.name, tensor.data)

    def define(self, name: str, data: Array) -> None:
        """A constant: integers with parameters stay integers until a consumer wants them real."""
        tensor = self.tensors[name]
        dtype = DTYPE_NAMES.get(data.dtype, "")
        if tensor.quant is None or dtype not in ("u8", "s8", "s32"):
            self.constants[name] = data
            return
        stored = Value(self.unique(f"{name}/stored"), dtype, data.shape, tensor.quant, data)
        self.quantized[name] = stored

    def dtype(self, name: str) -> str:
        """IR type of a declared tensor. Raises UnsupportedError for a type without one."""
        tensor = self.tensors[name]
        return DTYPE_NAMES.get(tensor.numpy_type, str(tensor.numpy_type))

    def declared(self, node: Node, name: str) -> Affine | None:
        """Parameters of a computed 8-bit tensor, None for any other.

        Raises UnsupportedError for 16-bit integers and per-channel activations, FormatError for
        8 bits without parameters, QuantizationError for parameters without meaning.
        """
        tensor, dtype = self.tensors[name], self.dtype(name)
        if dtype == "s16":
            raise unsupported(
                node, f"tensor '{name}' is int16; quantize activations to int8 instead"
            )
        if dtype not in quant.QRANGE:
            return None
        if tensor.quant is None:
            raise unsupported(node, f"tensor '{name}' is {dtype} without scale and zero point")
        if tensor.quant.axis is not None:
            raise unsupported(node, f"per-channel quantization of the computed tensor '{name}'")
        check_affine(name, tensor.quant, dtype, tensor.shape)
        return tensor.quant

    def operand(self, node: Node, index: int) -> Value:
        """An input as real numbers: float32, or DequantizeLinear of its bytes."""
        name = self.required(node, index)
        if name in self.quantized:
            stored = self.quantized[name]
            check_affine(name, stored.affine, stored.dtype, stored.shape)
        value = self.use(name)
        if value.is_8bit:
            real = f"{name}/real"
            if real not in self.values:
                self.emit("DequantizeLinear", real, [name], real, dtype="f32")
            value = self.values[real]
        if value.dtype != "f32":
            raise unsupported(node, f"input '{name}' is {value.dtype}; only float32 and int8 work")
        return value

    def stored(self, node: Node, index: int) -> Value:
        """An input whose bytes may be moved: float32, or 8 bits with parameters."""
        name = self.required(node, index)
        if name in self.quantized:
            return self.operand(node, index)
        value = self.use(name)
        if value.dtype != "f32" and not value.is_8bit:
            raise unsupported(node, f"input '{name}' is {value.dtype}; only float32 and int8 work")
        return value

    def result(
        self,
        node: Node,
        op: str,
        inputs: Sequence[str],
        attrs: Mapping[str, Any] | None = None,
        output: str | None = None,
    ) -> None:
        """The node that computes an output (the first unless told): quantized where declared so."""
        name = self.required_output(node) if output is None else output
        affine = self.declared(node, name)
        if affine is None:
            self.emit(op, node.name, inputs, name, attrs, dtype="f32")
            return
        real = self.unique(f"{name}/real32")
        self.emit(op, node.name, inputs, real, attrs, dtype="f32")
        self.emit(
            "QuantizeLinear", f"{node.name}/quantize", [real], name,
            dtype=self.dtype(name), quant=affine,
        )  # fmt: skip

    def required_output(self, node: Node) -> str:
        """Name of the first output. Raises FormatError where it is missing."""
        if not node.outputs or not node.outputs[0]:
            raise FormatError(f"{node.label()}: its output is missing")
        return node.outputs[0]

    def move(
        self,
        node: Node,
        op: str,
        attrs: Mapping[str, Any],
        x: Value | None = None,
        output: str | None = None,
    ) -> None:
        """A node that moves or selects elements: bytes, where both sides mean the same by them."""
        name = self.required_output(node) if output is None else output
        x = self.stored(node, 0) if x is None else x
        affine = self.declared(node, name)
        same = affine is not None and x.is_8bit and x.dtype == self.dtype(name)
        if same and x.affine.same(affine):
            self.emit(op, node.name, [x.name], name, attrs)
            return
        if x.is_8bit:
            real = self.unique(f"{x.name}/real32")
            x = self.emit("DequantizeLinear", real, [x.name], real, dtype="f32")
        self.result(node, op, [x.name], attrs, name)

    def step(self, node: Node, op: str, what: str, x: Value, attrs: Mapping[str, Any]) -> Value:
        """An intermediate value of the type of `x`, named after the node."""
        name = self.unique(f"{node.name}/{what}")
        return self.emit(op, name, [x.name], name, attrs)

    def layer_weight(self, node: Node, perm: tuple[int, ...]) -> Value:
        """Input 1 as weights, permuted. Beside float32 activations int8 weights are made real:
        TFLite would quantize the activations on the fly there, and round more."""
        name = self.required(node, 1)
        if name in self.quantized:
            stored = self.quantized[name]
            scale, zero_point = self.spread(stored)
            if self.dtype(self.required(node, 0)) == "f32":
                assert stored.data is not None
                self.constants[name] = quant.dequantize(stored.data, scale, zero_point)
                del self.quantized[name]
        return self.weight(node, 1, perm)

    def layer_bias(self, node: Node, w: Value) -> list[str]:
        """Input 2 as [name], [] where absent. TFLite adds an int32 bias to the sum as it is,
        whatever scale the file gives it: that scale is input scale times weight scale."""
        name = self.optional(node, 2)
        if name is None:
            return []
        bias = self.quantized.get(name)
        data = self.constants.get(name) if bias is None else bias.data
        if data is None:
            raise unsupported(node, f"bias '{name}' is computed at run time; it must be constant")
        x = self.tensors[self.required(node, 0)].quant
        stored = self.producer_constant(w)
        if data.dtype != np.int32 or x is None or stored is None:
            return [self.operand(node, 2).name]
        product = np.float32(x.scale.reshape(-1)[0]) * stored.affine.scale.reshape(-1)
        scale = np.broadcast_to(product, data.shape).copy()
        affine = Affine(scale, np.zeros(data.shape, np.int32), 0)
        check_affine(name, affine, "s32", data.shape)
        key = self.unique(f"{node.name}/bias")
        self.quantized[key] = Value(f"{key}/stored", "s32", data.shape, affine, data)
        return [self.use(key).name]

    def spread(self, stored: Value) -> tuple[Array, Array]:
        """(scale, zero point) of a quantized constant, to broadcast against its elements."""
        check_affine(stored.name, stored.affine, stored.dtype, stored.shape)
        return along_axis(stored.affine, len(stored.shape))

    def producer_constant(self, value: Value) -> Value | None:
        """The stored constant behind DequantizeLinear, if that computes the value."""
        for node in reversed(self.nodes):
            if value.name in node.outputs:
                found = self.values[node.inputs[0]]
                return found if found.data is not None else None
        return None

    def clipped(self, node: Node, op: str, x: Sequence[str], attrs: Mapping[str, Any]) -> None:
        """An op that takes no fused clamp, followed by Clip where the output could exceed it."""
        clamp, name = activation(node), self.required_output(node)
        affine = self.declared(node, name)
        if clamp is not None and affine is not None:
            dtype = self.dtype(name)
            point = int(affine.zero_point)
            if quant.clamp_bounds(clamp, float(affine.scale), point, dtype) == quant.QRANGE[dtype]:
                clamp = None
        if clamp is None:
            self.result(node, op, x, attrs)
            return
        inner = self.unique(f"{node.name}/unclipped")
        self.emit(op, inner, x, inner, attrs, dtype="f32")
        self.result(node, "Clip", [inner], {"lo": clamp[0], "hi": clamp[1]})

    def numbers(self, node: Node, index: int, what: str) -> tuple[int, ...]:
        """A constant list of integers that must be there."""
        found = self.ints(node, index, what)
        if found is None:
            raise FormatError(f"{node.label()}: {what} is missing")
        return found

    def shape_of(self, name: str) -> Shape:
        """Shape of a tensor as computed so far, without a constant entering the graph."""
        if name in self.quantized:
            return self.quantized[name].shape
        return self.constants[name].shape if name in self.constants else self.use(name).shape

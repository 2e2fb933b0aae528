# SPDX-License-Identifier: Apache-2.0
"""QuantizeLinear, DequantizeLinear and Cast between number types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from octavo import quant
from octavo.errors import FormatError, QuantizationError
from octavo.importers.onnx_builder import (
    Builder,
    attr,
    handles,
    normal_axis,
    unsupported,
)
from octavo.importers.onnx_proto import numpy_type
from octavo.ir import DTYPE_NAMES, Affine, Array, Node, Shape, Value, check_affine

_DYNAMIC = "it must be constant: quantize the model statically"


def parameters(b: Builder, node: Node, shape: Shape) -> tuple[Affine, str | None]:
    """Scale (input 1) and zero point (input 2) as IR parameters, and the zero point's type.

    `shape` is the quantized tensor's. Raises UnsupportedError where they are computed or blocked,
    QuantizationError where scale and zero point do not fit each other.
    """
    scale = b.array(node, 1, f"scale ({_DYNAMIC})")
    zero_point = b.array(node, 2, f"zero point ({_DYNAMIC})")
    if scale is None:
        raise FormatError(f"{node.label()}: the scale is missing")
    if scale.dtype != np.float32:
        raise unsupported(node, f"scale is {scale.dtype}; only float32 scales work")
    if attr(node, "block_size", 0, int) or scale.ndim > 1:
        raise unsupported(node, "blocked quantization; use per-tensor or per-channel")
    if zero_point is not None and zero_point.size != scale.size:
        raise QuantizationError(
            f"{node.label()}: {scale.size} scales but {zero_point.size} zero points"
        )
    points = np.zeros(scale.shape, np.int32) if zero_point is None else zero_point
    kind = None if zero_point is None else DTYPE_NAMES.get(zero_point.dtype, str(zero_point.dtype))
    if scale.size == 1:
        affine = Affine.per_tensor(float(scale.reshape(-1)[0]), int(points.reshape(-1)[0]))
        return affine, kind
    axis = normal_axis(node, attr(node, "axis", 1, int), len(shape))
    return Affine(scale, points.astype(np.int32).reshape(scale.shape), axis), kind


def _require_float32(node: Node, key: str) -> None:
    """An attribute that chooses the type of real numbers: absent or float32."""
    element = attr(node, key, 0, int)
    if element and numpy_type(element, node.label()) != np.float32:
        raise unsupported(node, f"{key} {element}; only float32 (1) works")


def check(node: Node, name: str, affine: Affine, dtype: str, shape: Shape) -> None:
    """`ir.check_affine` with the node's name in the message."""
    try:
        check_affine(name, affine, dtype, shape)
    except QuantizationError as error:
        raise QuantizationError(f"{node.label()}: {error}") from None


@handles("QuantizeLinear", "com.microsoft:QuantizeLinear")
def quantize_linear(b: Builder, node: Node) -> None:
    """A constant is quantized at once; per channel only such."""
    shape = b.shape(node, 0)
    affine, kind = parameters(b, node, shape)
    _require_float32(node, "precision")
    declared = attr(node, "output_dtype", 0, int)
    if declared:
        wanted = DTYPE_NAMES.get(numpy_type(declared, node.label()).newbyteorder("="), "?")
        if kind not in (None, wanted):
            raise QuantizationError(f"{node.label()}: zero point is {kind}, output_dtype {wanted}")
        kind = wanted
    dtype = kind or "u8"
    if dtype not in quant.STORED_RANGE:
        raise unsupported(node, f"quantizes to {dtype}; only u8, s8 and s16 work")
    check(node, node.outputs[0], affine, dtype, shape)
    name = b.required(node, 0)
    if name in b.constants:
        b.constants[node.outputs[0]] = _quantized(node, b.constants[name], affine, dtype)
        return
    if affine.axis is not None:
        raise unsupported(node, f"per-channel quantization of the computed tensor '{name}'")
    x = b.real(node, 0)
    b.emit("QuantizeLinear", node.name, [x.name], node.outputs[0], dtype=dtype, quant=affine)


def _quantized(node: Node, data: Array, affine: Affine, dtype: str) -> Array:
    if data.dtype != np.float32:
        raise unsupported(node, f"quantizes a constant of type {data.dtype}; use float32")
    scale, zero_point = along_axis(affine, data.ndim)
    return quant.quantize(data, scale, zero_point, dtype)


def along_axis(affine: Affine, rank: int) -> tuple[Array, Array]:
    """(scale, zero point) that broadcast against a tensor of this rank."""
    if affine.axis is None:
        return affine.scale, affine.zero_point
    dims = [1] * rank
    dims[affine.axis] = -1
    return affine.scale.reshape(dims), affine.zero_point.reshape(dims)


@handles("DequantizeLinear", "com.microsoft:DequantizeLinear")
def dequantize_linear(b: Builder, node: Node) -> None:
    """Parameters other than those the tensor was written with mean QuantCast first."""
    name, shape = b.required(node, 0), b.shape(node, 0)
    data = b.constants.get(name)
    dtype = b.use(name).dtype if data is None else DTYPE_NAMES.get(data.dtype, str(data.dtype))
    affine, kind = parameters(b, node, shape)
    _require_float32(node, "output_dtype")
    if dtype not in quant.STORED_RANGE and (dtype != "s32" or data is None):
        raise unsupported(
            node, f"dequantizes '{name}' of type {dtype}; only u8, s8, s16 and constant s32"
        )
    if kind not in (None, dtype):
        raise QuantizationError(f"{node.label()}: '{name}' is {dtype} but its zero point is {kind}")
    check(node, name, affine, dtype, shape)
    if data is not None:
        data.setflags(write=False)
        b.quantized[node.outputs[0]] = Value(name, dtype, shape, affine, data)
        return
    if affine.axis is not None:
        raise unsupported(node, f"per-channel quantization of the computed tensor '{name}'")
    _read(b, node, affine)


def _read(b: Builder, node: Node, affine: Affine) -> None:
    x = b.read_as(b.movable(node, 0), affine)
    b.emit("DequantizeLinear", node.name, [x.name], node.outputs[0], dtype="f32")


@handles("Cast")
def cast(b: Builder, node: Node) -> None:
    """One that changes nothing disappears; 8 bits to float32 is DequantizeLinear by 1."""
    name = b.required(node, 0)
    value = b.use(name)
    wanted = DTYPE_NAMES.get(numpy_type(attr(node, "to", 0, int), node.label()).newbyteorder("="))
    if wanted == value.dtype:
        b.alias[node.outputs[0]] = name
    elif wanted == "f32" and value.dtype in quant.QRANGE:
        _read(b, node, Affine.per_tensor(1.0, 0))
    elif wanted == "f32" and value.dtype in ("s32", "s64", "bool"):
        b.emit("Cast", node.name, [name], node.outputs[0], dtype="f32")
    else:
        raise unsupported(node, f"casts '{name}' from {value.dtype}; only constants can be cast")


def adopt_input_parameters(b: Builder, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
    """An 8-bit model input that is only ever read under one set of parameters has these.

    before: x (scale 1, zero point 0) -> QuantCast -> v;  after: v is x.
    """
    for name in inputs:
        value = b.values[name]
        if value.dtype not in quant.QRANGE:
            continue
        readers = [node for node in b.nodes if name in node.inputs]
        casts = {node.outputs[0]: b.values[node.outputs[0]] for node in readers}
        kinds = {node.op for node in readers}
        if kinds != {"QuantCast"} or len(casts) != 1:
            continue
        ((cast_name, target),) = casts.items()
        if cast_name in outputs:
            continue
        b.values[name] = replace(value, quant=target.quant)
        del b.values[cast_name]
        b.nodes = [
            replace(node, inputs=tuple(name if item == cast_name else item for item in node.inputs))
            for node in b.nodes
            if cast_name not in node.outputs
        ]

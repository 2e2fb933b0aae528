# SPDX-License-Identifier: Apache-2.0
"""The options of TFLite operators: which table holds them, and which of its fields matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from octavo.errors import FormatError

_WINDOW = "Padding StrideW StrideH"
_POOL = ("Pool2DOptions", f"{_WINDOW} FilterWidth FilterHeight FusedActivationFunction")
_RESIZE = "AlignCorners HalfPixelCenters"

#: Operator -> (table of the schema, its fields). One without an entry has no options that matter.
_TABLES: Mapping[str, tuple[str, str]] = {
    "ADD": ("AddOptions", "FusedActivationFunction"),
    "AVERAGE_POOL_2D": _POOL,
    "BATCH_MATMUL": ("BatchMatMulOptions", "AdjX AdjY"),
    "CONCATENATION": ("ConcatenationOptions", "Axis FusedActivationFunction"),
    "CONV_2D": (
        "Conv2DOptions", f"{_WINDOW} DilationWFactor DilationHFactor FusedActivationFunction",
    ),
    "DEPTHWISE_CONV_2D": (
        "DepthwiseConv2DOptions",
        f"{_WINDOW} DilationWFactor DilationHFactor DepthMultiplier FusedActivationFunction",
    ),
    "DIV": ("DivOptions", "FusedActivationFunction"),
    "FULLY_CONNECTED": (
        "FullyConnectedOptions", "FusedActivationFunction WeightsFormat KeepNumDims",
    ),
    "GATHER": ("GatherOptions", "Axis BatchDims"),
    "GELU": ("GeluOptions", "Approximate"),
    "LEAKY_RELU": ("LeakyReluOptions", "Alpha"),
    "MAX_POOL_2D": _POOL,
    "MEAN": ("ReducerOptions", "KeepDims"),
    "MUL": ("MulOptions", "FusedActivationFunction"),
    "PACK": ("PackOptions", "Axis"),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _RESIZE),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _RESIZE),
    "SOFTMAX": ("SoftmaxOptions", "Beta"),
    "SPLIT": ("SplitOptions", "NumSplits"),
    "SQUEEZE": ("SqueezeOptions", "SqueezeDims"),
    "STRIDED_SLICE": (
        "StridedSliceOptions", "BeginMask EndMask EllipsisMask NewAxisMask ShrinkAxisMask",
    ),
    "SUB": ("SubOptions", "FusedActivationFunction"),
    "UNPACK": ("UnpackOptions", "Axis"),
    "RESHAPE": ("ReshapeOptions", "NewShape"),
}  # fmt: skip
#: Fields that are lists.
_LISTS = frozenset(("NewShape", "SqueezeDims"))
_MAX_LIST = 64


def options_of(raw: Any, op: str, name: str) -> dict[str, Any]:
    """Field -> number, truth value or tuple of an operator; empty where the file has no options.

    Raises FormatError where the options belong to another operator.
    """
    if op not in _TABLES or not raw.BuiltinOptionsType():
        return {}
    import tflite

    table, fields = _TABLES[op]
    if raw.BuiltinOptionsType() != getattr(tflite.BuiltinOptions, table):
        raise FormatError(f"node '{name}' ({op}): its options are those of another operator")
    found, options = raw.BuiltinOptions(), getattr(tflite, table)()
    if found is None:
        raise FormatError(f"node '{name}' ({op}): its options are missing")
    options.Init(found.Bytes, found.Pos)
    return {field: _field(options, field, f"node '{name}' ({op})") for field in fields.split()}


def _field(options: Any, field: str, what: str) -> Any:
    if field not in _LISTS:
        return getattr(options, field)()
    length = getattr(options, f"{field}Length")()
    if length > _MAX_LIST:
        raise FormatError(f"{what}: {length} numbers in {field}")
    return tuple(int(getattr(options, field)(at)) for at in range(length))

# SPDX-License-Identifier: Apache-2.0
"""Facts read from an ONNX file: inputs, multiply-accumulates, quantization step of the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, shape_inference


@dataclass(frozen=True)
class InputSpec:
    """A graph input at batch 1: name, NumPy dtype, shape."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


def input_specs(model: onnx.ModelProto) -> list[InputSpec]:
    """Inputs that a caller must feed; symbolic and missing dimensions count as 1."""
    constants = {c.name for c in model.graph.initializer}
    specs = []
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        shape = tuple(d.dim_value or 1 for d in tensor.shape.dim)
        specs.append(InputSpec(value.name, dtype, shape))
    return specs


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of every value at batch 1, by ONNX shape inference."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_value = dim.dim_value or 1
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {c.name: tuple(c.dims) for c in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return shapes


def count_macs(model: onnx.ModelProto) -> int:
    """Multiply-accumulates of one sample in Conv, Gemm, MatMul and their QLinear forms.

    Raises:
        ValueError: shape inference left a dimension of such a node unknown.
    """
    shapes = _shapes(model)
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "QLinearConv"):
            weight = node.input[1 if node.op_type == "Conv" else 3]
            depth = math.prod(shapes.get(weight, (0, 0))[1:])
        elif node.op_type in ("Gemm", "MatMul", "QLinearMatMul"):
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            depth = shapes.get(node.input[0], (0,))[0 if transposed else -1]
        else:
            continue
        node_macs = math.prod(shapes.get(node.output[0], (0,))) * depth
        if node_macs == 0:
            raise ValueError(f"node {node.name!r} ({node.op_type}): shapes are not known")
        total += node_macs
    return total


def output_steps(model: onnx.ModelProto) -> dict[str, float | None]:
    """Quantization step (scale) of each output; None where it does not come from 8 bits.

    An output is quantized if a DequantizeLinear with one constant scale writes it; an integer
    output has the step 1.
    """
    constants = {c.name: c for c in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    steps: dict[str, float | None] = {}
    for value in model.graph.output:
        node = producers.get(value.name)
        step: float | None = None
        if node is not None and node.op_type == "DequantizeLinear" and node.input[1] in constants:
            scale: npt.NDArray[np.float32] = numpy_helper.to_array(constants[node.input[1]])
            step = float(scale.reshape(-1)[0]) if scale.size == 1 else None
        elif value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            step = 1.0
        steps[value.name] = step
    return steps

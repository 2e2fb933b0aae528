# SPDX-License-Identifier: Apache-2.0
"""Operators of transformers: LayerNormalization, Gelu, Pow, Gather."""

from __future__ import annotations

import numpy as np

from octavo.errors import FormatError
from octavo.importers.onnx_builder import (
    Builder,
    attr,
    handles,
    normal_axis,
    unsupported,
)
from octavo.ir import Node


@handles("LayerNormalization")
def layer_normalization(b: Builder, node: Node) -> None:
    """Over the last axis; an absent bias is 0."""
    x = b.real(node, 0)
    if normal_axis(node, attr(node, "axis", -1, int), len(x.shape)) != len(x.shape) - 1:
        raise unsupported(node, "normalization over more than the last axis")
    if any(node.outputs[1:]):
        raise unsupported(node, "the outputs for training (mean, inverse deviation)")
    scale = b.real(node, 1)
    if b.optional(node, 2) is None:
        bias = b.new_constant(f"{node.name}/bias", np.zeros(scale.shape, np.float32))
    else:
        bias = b.real(node, 2)
    epsilon = {"epsilon": attr(node, "epsilon", 1e-5, float)}
    b.emit("LayerNorm", node.name, [x.name, scale.name, bias.name], node.outputs[0], epsilon)


@handles("Gelu")
def gelu(b: Builder, node: Node) -> None:
    """The exact form, or the tanh one."""
    form = {"approximate": attr(node, "approximate", "none", str)}
    b.emit("Gelu", node.name, [b.real(node, 0).name], node.outputs[0], form)


@handles("Pow")
def power(b: Builder, node: Node) -> None:
    """x^2 is x * x, x^0.5 its root; no other exponent."""
    x = b.real(node, 0)
    exponent = b.array(node, 1, "exponent")
    number = None if exponent is None or exponent.size != 1 else float(exponent.reshape(-1)[0])
    if number == 2.0:
        b.emit("Mul", node.name, [x.name, x.name], node.outputs[0])
    elif number == 0.5:
        b.emit("Sqrt", node.name, [x.name], node.outputs[0])
    else:
        raise unsupported(node, f"exponent {number}; only 2 and 0.5 work")


@handles("Gather")
def gather(b: Builder, node: Node) -> None:
    """One constant index is a Slice without its axis; anything else stays Gather."""
    data = b.movable(node, 0)
    rank = len(data.shape)
    axis = normal_axis(node, attr(node, "axis", 0, int), rank)
    indices = b.constants.get(b.required(node, 1))
    if indices is None or indices.ndim:
        operands = [data.name, b.use(b.required(node, 1)).name]
        b.emit("Gather", node.name, operands, node.outputs[0], {"axis": axis})
        return
    if indices.dtype.kind not in "iu":
        raise FormatError(f"{node.label()}: the index must be an integer, not {indices.dtype}")
    index = int(indices)
    if not -data.shape[axis] <= index < data.shape[axis]:
        raise FormatError(f"{node.label()}: index {index} of axis {axis} of {data.shape}")
    index %= data.shape[axis]
    starts, ends = [0] * rank, [2**63 - 1] * rank
    starts[axis], ends[axis] = index, index + 1
    name = b.unique(f"{node.name}/slice")
    ranges = {"starts": tuple(starts), "ends": tuple(ends), "steps": (1,) * rank}
    b.emit("Slice", name, [data.name], name, ranges)
    b.emit("Squeeze", node.name, [name], node.outputs[0], {"axes": (axis,)})

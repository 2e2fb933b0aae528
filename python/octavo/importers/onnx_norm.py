# SPDX-License-Identifier: Apache-2.0
"""Operators of transformers: LayerNormalization, Gelu, Pow."""

from __future__ import annotations

import numpy as np

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

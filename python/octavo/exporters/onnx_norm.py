# SPDX-License-Identifier: Apache-2.0
"""Operators of transformers to ONNX: normalization, means, embeddings, masks."""

from __future__ import annotations

import numpy as np

from octavo.exporters.emitter import Emitter, identity
from octavo.ir import Node


def layer_norm(e: Emitter, node: Node) -> None:
    """Scale and bias stay float32."""
    rank = len(e.graph.values[node.inputs[0]].shape)
    inputs = [e.dequantized(node.inputs[0], identity(rank))]
    inputs += [e.tensor(name, (0,)) for name in node.inputs[1:]]
    attrs = {"axis": -1, "epsilon": float(node.attrs["epsilon"])}
    result = e.main("LayerNormalization", inputs, e.fresh(node.outputs[0]), attrs)
    e.finish(node.outputs[0], identity(rank), result)


def reduce_mean(e: Emitter, node: Node) -> None:
    """With the axes as an input."""
    values = e.graph.values
    rank, output = len(values[node.inputs[0]].shape), node.outputs[0]
    inputs = [e.dequantized(node.inputs[0], identity(rank))]
    e.opset = max(e.opset, 18)  # from then on the axes are an input
    axes = np.asarray(node.attrs["axes"], np.int64)
    inputs.append(e.initializer(f"{output}/axes", axes))
    attrs = {"keepdims": int(node.attrs.get("keepdims", True))}
    result = e.main("ReduceMean", inputs, e.fresh(output), attrs)
    e.finish(output, identity(len(values[output].shape)), result)


def gather(e: Emitter, node: Node) -> None:
    """On stored bytes, like every operator that only moves them."""
    ranks = [len(e.graph.values[name].shape) for name in node.inputs]
    inputs = [e.tensor(n, identity(r)) for n, r in zip(node.inputs, ranks, strict=True)]
    output = node.outputs[0]
    order = identity(len(e.graph.values[output].shape))
    target = e.output_name(output, order)
    e.main("Gather", inputs, target, {"axis": int(node.attrs["axis"])})
    e.hold(output, order, target)


def cast(e: Emitter, node: Node) -> None:
    """To float32."""
    order = identity(len(e.graph.values[node.inputs[0]].shape))
    output = node.outputs[0]
    target = e.output_name(output, order)
    e.main("Cast", [e.tensor(node.inputs[0], order)], target, {"to": 1})
    e.hold(output, order, target)

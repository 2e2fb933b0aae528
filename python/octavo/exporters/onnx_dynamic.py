# SPDX-License-Identifier: Apache-2.0
"""Layers that quantize their activations on the fly, in ONNX's own operators.

y = Cast(MatMulInteger(q, w, z, zw)) * (s * sw) + b  with  (q, s, z) = DynamicQuantizeLinear(x)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from octavo.errors import UnsupportedError
from octavo.exporters.emitter import NCHW, Emitter, Order, identity
from octavo.ir import DTYPES, Node, Value
from octavo.ops.precision import requested

__all__ = ["dynamic_layer", "reads_stored"]

_FLOAT = 1  # onnx.TensorProto.FLOAT


def reads_stored(e: Emitter, name: str) -> bool:
    """Do only layers of this kind read a dequantized weight? They take it as it is stored."""
    readers = e.graph.consumers.get(name, ())
    weights = [r.inputs[1:2] == (name,) and requested(r) == "dynamic" for r in readers]
    return bool(readers) and all(weights) and name not in e.graph.outputs


def _stored(e: Emitter, node: Node) -> Value:
    value = e.graph.values[node.inputs[1]]
    if value.is_8bit:
        return value
    source = e.graph.producers.get(value.name)
    if source is None or source.op != "DequantizeLinear":
        raise UnsupportedError(f"{node.label()}: weights '{value.name}' are not stored in 8 bits")
    return e.graph.values[source.inputs[0]]


def dynamic_layer(e: Emitter, node: Node, attrs: dict[str, Any]) -> None:
    """A Conv with its ONNX attributes, or a Linear. Raises UnsupportedError for rows with ranges of
    their own, which ONNX's operators cannot express."""
    if requested(node) != "dynamic":
        raise UnsupportedError(
            f"{node.label()}: ONNX quantizes on the fly per tensor only; use precision 'dynamic' "
            "instead of 'dynamic_row', or save a .octavo file"
        )
    conv = node.op == "Conv"
    output = node.outputs[0]
    order: Order = NCHW if conv else identity(len(e.graph.values[output].shape))
    w = _stored(e, node)
    x = e.dequantized(node.inputs[0], order)
    q, scale, zero_point = (e.fresh(f"{output}/{part}") for part in ("q", "scale", "zero"))
    e.several("DynamicQuantizeLinear", [x], [q, scale, zero_point])
    weights, points = e.tensor(w.name, NCHW if conv else (1, 0)), w.affine.zero_point
    if np.all(points == points.reshape(-1)[0]):
        points = points.reshape(-1)[0]
    stored_zero = e.initializer(f"{w.name}/zero_point", np.asarray(points, DTYPES[w.dtype]))
    kind = "ConvInteger" if conv else "MatMulInteger"
    total = e.main(kind, [q, weights, zero_point, stored_zero], e.fresh(output), attrs)
    real = e.node("Cast", [total], e.fresh(output), {"to": _FLOAT})
    channel = (-1, 1, 1) if conv else (-1,)
    scales = e.initializer(f"{w.name}/scale", w.affine.scale.reshape(channel))
    factor = e.node("Mul", [scale, scales], e.fresh(output))
    result = e.node("Mul", [real, factor], e.fresh(output))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = e.tensor(node.inputs[2], identity(1))
        if conv:
            data = e.graph.values[node.inputs[2]].data
            assert data is not None
            bias = e.initializer(f"{node.inputs[2]}/channels", data.reshape(channel))
        result = e.node("Add", [result, bias], e.fresh(output))
    e.finish(output, order, result, node.attrs.get("clamp"))

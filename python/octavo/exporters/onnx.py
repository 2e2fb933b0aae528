# SPDX-License-Identifier: Apache-2.0
"""IR to ONNX: float graphs as they are, quantized ones with QuantizeLinear / DequantizeLinear."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from octavo.errors import UnsupportedError
from octavo.exporters.emitter import NCHW, Emitter, Order, identity
from octavo.exporters.onnx_dynamic import dynamic_layer, reads_stored
from octavo.exporters.onnx_norm import cast, gather, layer_norm, reduce_mean
from octavo.files import write_atomic
from octavo.ir import Graph, Node
from octavo.ops.dynamic import is_dynamic

if TYPE_CHECKING:
    import onnx

__all__ = ["export_onnx"]

Handler = Callable[[Emitter, Node], None]
_SAME_NAME = {
    "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Sigmoid", "Sqrt", "Tanh",
}  # fmt: skip
_UNARY_ATTRS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}


def _conv(e: Emitter, node: Node) -> None:
    x, w = node.inputs[0], node.inputs[1]
    values = e.graph.values
    attrs = {
        "kernel_shape": list(values[w].shape[1:3]),
        "strides": list(node.attrs["strides"]),
        "dilations": list(node.attrs["dilations"]),
        "pads": list(node.attrs["pads"]),
        "group": int(node.attrs["groups"]),
    }
    if is_dynamic(node):
        dynamic_layer(e, node, attrs)
        return
    inputs = [e.dequantized(x, NCHW), e.dequantized(w, NCHW)]
    if len(node.inputs) > 2 and node.inputs[2]:
        inputs.append(e.dequantized_bias(node.inputs[2], values[x], values[w]))
    result = e.main("Conv", inputs, e.fresh(node.outputs[0]), attrs)
    e.finish(node.outputs[0], NCHW, result, node.attrs.get("clamp"))


def _linear(e: Emitter, node: Node) -> None:
    if is_dynamic(node):
        dynamic_layer(e, node, {})
        return
    x, w = node.inputs[0], node.inputs[1]
    values = e.graph.values
    rank = len(values[x].shape)
    source = e.dequantized(x, identity(rank))
    bias = ""
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = e.dequantized_bias(node.inputs[2], values[x], values[w])
    output = node.outputs[0]
    if rank == 2:
        inputs = [source, e.dequantized(w, (0, 1)), *([bias] if bias else [])]
        result = e.main("Gemm", inputs, e.fresh(output), {"transB": 1})
    else:
        result = e.main("MatMul", [source, e.dequantized(w, (1, 0))], e.fresh(output))
        if bias:
            result = e.node("Add", [result, bias], e.fresh(output))
    e.finish(output, identity(rank), result, node.attrs.get("clamp"))


def _pool(e: Emitter, node: Node) -> None:
    attrs: dict[str, Any] = {}
    if node.op != "GlobalAveragePool":
        attrs = {
            "kernel_shape": list(node.attrs["kernel"]),
            "strides": list(node.attrs["strides"]),
            "pads": list(node.attrs["pads"]),
        }
    if node.op == "MaxPool":
        attrs["dilations"] = list(node.attrs["dilations"])
    if node.op == "AveragePool":
        attrs["count_include_pad"] = int(node.attrs["count_include_pad"])
        if any(step != 1 for step in node.attrs["dilations"]):
            e.opset = max(e.opset, 19)  # the first with dilations for this operator
            attrs["dilations"] = list(node.attrs["dilations"])
    inputs = [e.dequantized(node.inputs[0], NCHW)]
    result = e.main(node.op, inputs, e.fresh(node.outputs[0]), attrs)
    e.finish(node.outputs[0], NCHW, result)


def _resize(e: Emitter, node: Node) -> None:
    attrs = {
        "mode": node.attrs["mode"],
        "coordinate_transformation_mode": node.attrs["coordinates"],
        "nearest_mode": node.attrs["rounding"],
    }
    output = node.outputs[0]
    scales, sizes = "", []
    if "scales" in node.attrs:
        values = np.asarray([1, 1, *node.attrs["scales"]], np.float32)
        scales = e.initializer(f"{output}/scales", values)
    else:
        n, height, width, channels = e.graph.values[output].shape
        sizes = [
            e.initializer(f"{output}/sizes", np.asarray([n, channels, height, width], np.int64))
        ]
    inputs = [e.dequantized(node.inputs[0], NCHW), "", scales, *sizes]
    result = e.main("Resize", inputs, e.fresh(output), attrs)
    e.finish(output, NCHW, result)


def _unary(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    attrs: dict[str, Any] = {k: float(node.attrs[k]) for k in _UNARY_ATTRS.get(node.op, ())}
    if node.op == "Gelu":
        e.opset = max(e.opset, 20)  # the first with this operator
        attrs = {"approximate": node.attrs.get("approximate", "none")}
    inputs = [e.dequantized(node.inputs[0], order)]
    result = e.main(node.op, inputs, e.fresh(node.outputs[0]), attrs)
    e.finish(node.outputs[0], order, result)


def _clip(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    source = e.dequantized(node.inputs[0], order)
    bounds = (float(node.attrs["lo"]), float(node.attrs["hi"]))
    result = e.clip(source, bounds, e.fresh(node.outputs[0]))
    e.finish(node.outputs[0], order, result)


def _binary(e: Emitter, node: Node) -> None:
    values = e.graph.values
    output = node.outputs[0]
    rank = len(values[output].shape)
    activations = [
        n for n in node.inputs if values[n].data is None and len(values[n].shape) == rank
    ]
    order = e.order(activations[0]) if activations else identity(rank)
    inputs = []
    for name in node.inputs:
        if len(values[name].shape) == rank:
            inputs.append(e.dequantized(name, order))
        else:  # a lower rank broadcasts along trailing axes: only right in the plain order
            if values[name].size != 1:
                order = identity(rank)
            inputs.append("")
    for index, name in enumerate(node.inputs):
        own = len(values[name].shape)
        inputs[index] = e.dequantized(name, order if own == rank else identity(own))
    result = e.main(node.op, inputs, e.fresh(output))
    e.finish(output, order, result, node.attrs.get("clamp"))


def _concat(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    inputs = [e.dequantized(name, order) for name in node.inputs]
    axis = order.index(int(node.attrs["axis"]) % len(order))
    result = e.main("Concat", inputs, e.fresh(node.outputs[0]), {"axis": axis})
    e.finish(node.outputs[0], order, result)


def _plain_shape(e: Emitter, node: Node) -> None:
    """Reshape and its relatives, in the plain order, on stored bytes."""
    source = node.inputs[0]
    rank = len(e.graph.values[source].shape)
    output = node.outputs[0]
    target = e.output_name(output, identity(len(e.graph.values[output].shape)))
    tensor = e.tensor(source, identity(rank))
    if node.op == "Flatten":
        e.main("Flatten", [tensor], target, {"axis": int(node.attrs["axis"])})
    else:
        key = {"Reshape": "shape"}.get(node.op, "axes")
        data = np.asarray(node.attrs[key], np.int64)
        e.main(node.op, [tensor, e.initializer(f"{output}/{key}", data)], target)
    e.hold(output, identity(len(e.graph.values[output].shape)), target)


def _transpose(e: Emitter, node: Node) -> None:
    source, output = node.inputs[0], node.outputs[0]
    perm = tuple(int(axis) for axis in node.attrs["perm"])
    order = e.order(source)
    e.hold(output, tuple(perm.index(axis) for axis in order), e.tensor(source, order))


def _pad(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    pads = [int(node.attrs["begin"][a]) for a in order] + [int(node.attrs["end"][a]) for a in order]
    output = node.outputs[0]
    inputs = [
        e.dequantized(node.inputs[0], order),
        e.initializer(f"{output}/pads", np.asarray(pads, np.int64)),
        e.initializer(f"{output}/value", np.float32(node.attrs["value"])),
    ]
    e.finish(output, order, e.main("Pad", inputs, e.fresh(output)))


def _slice(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    output = node.outputs[0]
    parts = []
    for key in ("starts", "ends", "axes", "steps"):
        data = range(len(order)) if key == "axes" else [int(node.attrs[key][a]) for a in order]
        parts.append(e.initializer(f"{output}/{key}", np.asarray(list(data), np.int64)))
    target = e.output_name(output, order)
    e.main("Slice", [e.tensor(node.inputs[0], order), *parts], target)
    e.hold(output, order, target)


def _softmax(e: Emitter, node: Node) -> None:
    rank = len(e.graph.values[node.inputs[0]].shape)
    attrs = {"axis": int(node.attrs["axis"])}
    inputs = [e.dequantized(node.inputs[0], identity(rank))]
    result = e.main("Softmax", inputs, e.fresh(node.outputs[0]), attrs)
    e.finish(node.outputs[0], identity(rank), result)


def _matmul(e: Emitter, node: Node) -> None:
    ranks = [len(e.graph.values[name].shape) for name in node.inputs]
    inputs = [e.dequantized(n, identity(r)) for n, r in zip(node.inputs, ranks, strict=True)]
    output = node.outputs[0]
    result = e.main("MatMul", inputs, e.fresh(output))
    e.finish(output, identity(len(e.graph.values[output].shape)), result)


def _batch_norm(e: Emitter, node: Node) -> None:
    rank = len(e.graph.values[node.inputs[0]].shape)
    axis = int(node.attrs["axis"]) % rank
    order = (0, axis, *(a for a in range(1, rank) if a != axis))
    inputs = [e.tensor(node.inputs[0], order), *(e.tensor(n, (0,)) for n in node.inputs[1:])]
    attrs = {"epsilon": float(node.attrs["epsilon"])}
    result = e.main("BatchNormalization", inputs, e.fresh(node.outputs[0]), attrs)
    e.finish(node.outputs[0], order, result)


def _quantize(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    value = e.graph.values[node.outputs[0]]
    scale, zero, axis = e.parameters(value, order)
    target = e.output_name(value.name, order)
    inputs = [e.tensor(node.inputs[0], order), scale, zero]
    e.hold(value.name, order, e.main("QuantizeLinear", inputs, target, {"axis": axis}))


def _dequantize(e: Emitter, node: Node) -> None:
    source, output = e.graph.values[node.inputs[0]], node.outputs[0]
    if reads_stored(e, output):
        return
    orders: Sequence[Order] = [e.order(source.name)]
    if source.data is not None and len(source.shape) == 4:
        readers = {reader.op for reader in e.graph.consumers.get(output, ())}
        orders = [NCHW] if readers == {"Conv"} else orders
    for order in orders:
        scale, zero, axis = e.parameters(source, order)
        target = e.output_name(output, order)
        inputs = [e.tensor(source.name, order), scale, zero]
        e.hold(output, order, e.main("DequantizeLinear", inputs, target, {"axis": axis}))


def _requantize(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    e.finish(node.outputs[0], order, e.dequantized(node.inputs[0], order))


def _quant_cast(e: Emitter, node: Node) -> None:
    order = e.order(node.inputs[0])
    e.hold(node.outputs[0], order, e.tensor(node.inputs[0], order))


_HANDLERS: dict[str, Handler] = {
    "Add": _binary,
    "AveragePool": _pool,
    "BatchNorm": _batch_norm,
    "Cast": cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Div": _binary,
    "Flatten": _plain_shape,
    "Gather": gather,
    "GlobalAveragePool": _pool,
    "LayerNorm": layer_norm,
    "Linear": _linear,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Mul": _binary,
    "Pad": _pad,
    "QuantCast": _quant_cast,
    "ReduceMean": reduce_mean,
    "QuantizeLinear": _quantize,
    "Requantize": _requantize,
    "Reshape": _plain_shape,
    "Resize": _resize,
    "Slice": _slice,
    "Softmax": _softmax,
    "Squeeze": _plain_shape,
    "Sub": _binary,
    "Transpose": _transpose,
    "Unsqueeze": _plain_shape,
    **dict.fromkeys(_SAME_NAME, _unary),
}


def export_onnx(graph: Graph, path: str | os.PathLike[str] | None = None) -> onnx.ModelProto:
    """The graph as an ONNX model (opset 17), written atomically to `path` if given.

    Raises UnsupportedError naming a node that ONNX has no form for.
    """
    e = Emitter(graph)
    for node in graph.nodes:
        handler = _HANDLERS.get(node.op)
        if handler is None:
            raise UnsupportedError(f"{node.label()}: has no ONNX form")
        e.begin(node)
        handler(e, node)
    for name in graph.outputs:
        plain = identity(len(graph.values[name].shape))
        tensor = e.tensor(name, plain)
        if tensor != name:
            e.node("Identity", [tensor], name)
    model = e.model()
    if path is not None:
        write_atomic(path, model.SerializeToString())
    return model

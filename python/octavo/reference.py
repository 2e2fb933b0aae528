# SPDX-License-Identifier: Apache-2.0
"""The reference for people: any graph in plain NumPy, as real numbers or in the integer norm.

`run_int` is what C++ must equal bit for bit; `run_float` is what quantization tries to preserve.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import ops
from octavo.errors import InvalidArgumentError, ShapeError
from octavo.ir import DTYPES, Graph, Node, Value
from octavo.quant import dequantize, multiplier

__all__ = ["real_value", "run_float", "run_int"]

Array = NDArray[Any]
Arrays = dict[str, Array]


def real_value(value: Value, data: Array) -> Array:
    """The real numbers that stored elements mean: dequantized where the value has parameters."""
    if value.quant is None:
        return np.asarray(data, np.float32) if value.dtype in ("u8", "s8") else data
    affine = value.affine
    if affine.axis is None:
        return dequantize(data, affine.scale.reshape(()), affine.zero_point.reshape(()))
    shape = [1] * data.ndim
    shape[affine.axis] = -1
    return dequantize(data, affine.scale.reshape(shape), affine.zero_point.reshape(shape))


def _check_inputs(graph: Graph, inputs: Mapping[str, Array]) -> Arrays:
    """Inputs by name, with the graph's dtypes and shapes."""
    if set(inputs) != set(graph.inputs):
        raise InvalidArgumentError(f"inputs {sorted(inputs)}; the graph has {list(graph.inputs)}")
    for name, array in inputs.items():
        value = graph.values[name]
        if array.dtype != DTYPES[value.dtype]:
            raise InvalidArgumentError(f"input '{name}' is {array.dtype}, not {value.dtype}")
        if array.shape != value.shape:
            raise ShapeError(f"input '{name}' has shape {array.shape}, not {value.shape}")
    return dict(inputs)


def _walk(
    graph: Graph,
    known: Arrays,
    step: Callable[[Node, list[Array | None]], tuple[Array, ...]],
    keep: bool,
    visit: Callable[[str, Array], None] | None = None,
) -> Arrays:
    """Runs `step` over the nodes; frees values after their last reader unless `keep`."""
    readers = {name: len(nodes) for name, nodes in graph.consumers.items()}
    outputs = set(graph.outputs)
    for node in graph.nodes:
        args = [known[name] if name else None for name in node.inputs]
        for name, array in zip(node.outputs, step(node, args), strict=True):
            known[name] = array
            if visit is not None:
                visit(name, array)
        for name in dict.fromkeys(node.inputs):
            if name:
                readers[name] -= 1
                if readers[name] == 0 and not keep and name not in outputs:
                    del known[name]
    return known if keep else {name: known[name] for name in graph.outputs}


def _bias_scale(graph: Graph, node: Node) -> Array:
    """Scale of an integer bias: float32(s_x * s_w[c])."""
    x, w = graph.values[node.inputs[0]], graph.values[node.inputs[1]]
    return multiplier(x.scale, w.affine.scale, 1.0)


def run_float(
    graph: Graph,
    inputs: Mapping[str, Array],
    *,
    keep: bool = False,
    visit: Callable[[str, Array], None] | None = None,
) -> Arrays:
    """Interprets the graph on real numbers: quantized constants are dequantized, activations are
    not rounded (Quantize, Dequantize and Requantize change nothing).

    `inputs` as for the model (8-bit inputs are dequantized). Returns outputs by name, or with
    `keep` every value; `visit(name, array)` sees each computed value as it appears. float32.
    """
    known: Arrays = {}
    for name, array in _check_inputs(graph, inputs).items():
        known[name] = real_value(graph.values[name], array)
    for value in graph.values.values():
        if value.data is not None:
            known[value.name] = real_value(value, value.data)

    def step(node: Node, args: list[Array | None]) -> tuple[Array, ...]:
        if node.op in ("Conv", "Linear") and len(args) > 2 and args[2] is not None:
            bias = graph.values[node.inputs[2]]
            if bias.dtype == "s32" and bias.quant is None:
                args[2] = args[2].astype(np.float32) * _bias_scale(graph, node)
        return ops.get(node).float_ref(node, args)

    return _walk(graph, known, step, keep, visit)


def run_int(graph: Graph, inputs: Mapping[str, Array], *, keep: bool = False) -> Arrays:
    """Interprets the graph in the norm: nodes on quantized values by `int_ref`, exactly; the rest
    by `float_ref`.

    Returns outputs by name, or with `keep` every value, as stored (8-bit where the graph is).
    """
    known = _check_inputs(graph, inputs)
    for value in graph.values.values():
        if value.data is not None:
            known[value.name] = value.data

    def step(node: Node, args: list[Array | None]) -> tuple[Array, ...]:
        values, results = graph.inputs_of(node), graph.outputs_of(node)
        op = ops.get(node)
        if any(v is not None and v.is_quantized for v in (*values, *results)):
            return op.int_ref(node, args, values, results)
        return op.float_ref(node, args)

    return _walk(graph, known, step, keep)

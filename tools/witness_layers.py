# SPDX-License-Identifier: Apache-2.0
"""A quantized ONNX model cut at its 8-bit tensors, and each piece run alone in Octavo.

Each piece computes one 8-bit tensor from the nearest 8-bit tensors before it: one QOperator node,
or DequantizeLinear, some float operators, QuantizeLinear. Fed with the witness's own tensors, a
piece shows what one operator does differently, free of what its predecessors did.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

import octavo
from octavo.reference import run_float

Array = NDArray[Any]
Arrays = Mapping[str, Array]

_AROUND = {"QuantizeLinear", "DequantizeLinear", "Cast", "Identity"}


def _produces_8bit(node: onnx.NodeProto) -> bool:
    return node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear")


def stored_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the 8-bit tensors that are computed from activations, in the order of the nodes."""
    constants = {c.name for c in model.graph.initializer}
    found: list[str] = []
    for node in model.graph.node:
        if all(name in constants for name in node.input):
            constants |= set(node.output)
        elif _produces_8bit(node):
            found += node.output
    return found


def with_private_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which no two nodes share an initializer, be it through Identity: ONNX Runtime's
    precise mode rewrites weights and zero points in place and fails on shared ones."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    constants = {c.name: c for c in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    del copy.graph.initializer[:]
    for index, node in enumerate(copy.graph.node):
        for at, name in enumerate(node.input):
            if name in constants:
                own = copy.graph.initializer.add()
                own.CopyFrom(constants[name])
                own.name = node.input[at] = f"{name}/{index}"
    return copy


def with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """A copy that returns these tensors after its own outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    present = {value.name for value in copy.graph.output}
    copy.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in present
    )
    return copy


@dataclass(frozen=True)
class Piece:
    """`op` names the operators that compute, e.g. "Conv", "Conv+Clip"."""

    output: str
    op: str
    inputs: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]


def _piece(model: onnx.ModelProto, output: str, boundary: set[str]) -> Piece:
    """Nodes needed for `output` back to tensors of `boundary`, in order."""
    producers = {name: i for i, node in enumerate(model.graph.node) for name in node.output}
    inputs: dict[str, None] = {}
    taken: set[int] = set()
    pending = [output]
    while pending:
        name = pending.pop()
        if name in boundary and name != output:
            inputs[name] = None
        elif name in producers and producers[name] not in taken:
            taken.add(producers[name])
            pending += [source for source in model.graph.node[producers[name]].input if source]
    nodes = tuple(model.graph.node[i] for i in sorted(taken))
    constants = {c.name for c in model.graph.initializer}
    computing = []
    for node in nodes:
        if all(name in constants for name in node.input):
            constants |= set(node.output)
        elif node.op_type not in _AROUND:
            computing.append(node.op_type)
    op = "+".join(dict.fromkeys(computing)) or "QuantizeLinear"
    return Piece(output, op, tuple(inputs), nodes)


def pieces(model: onnx.ModelProto) -> list[Piece]:
    """The model as pieces, in order. Graph inputs are boundaries too."""
    stored = stored_tensors(model)
    constants = {c.name for c in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - constants
    return [_piece(model, name, set(stored) | inputs) for name in stored]


def piece_model(model: onnx.ModelProto, piece: Piece, tensors: Arrays) -> onnx.ModelProto:
    used = {name for node in piece.nodes for name in node.input}

    def info(name: str) -> onnx.ValueInfoProto:
        dtype = helper.np_dtype_to_tensor_dtype(tensors[name].dtype)
        return helper.make_tensor_value_info(name, dtype, tensors[name].shape)

    graph = helper.make_graph(
        piece.nodes,
        "piece",
        [info(name) for name in piece.inputs],
        [info(piece.output)],
        [c for c in model.graph.initializer if c.name in used],
    )
    cut: onnx.ModelProto = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=min(model.ir_version, 10)
    )
    return cut


@dataclass(frozen=True)
class PieceResult:
    """`stored`: what Octavo computes; `real`: the float reference in units of the output's step,
    before rounding, on the scale of the stored numbers and clamped to their range."""

    stored: Array
    real: Array


def run_piece(model: onnx.ModelProto, piece: Piece, tensors: Arrays) -> PieceResult:
    """Runs a piece on given tensors. Raises OctavoError where Octavo cannot."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "piece.onnx"
        onnx.save_model(piece_model(model, piece, tensors), path)
        cut = octavo.load(path)
    feed = {name: tensors[name] for name in piece.inputs}
    stored = cut.compile().run(feed)[piece.output]
    value = cut.source.values[piece.output]
    exact = run_float(cut.source, feed)[piece.output]
    limits = np.iinfo(stored.dtype)
    real = exact.astype(np.float64) / value.scale + value.zero_point
    return PieceResult(stored, np.clip(real, limits.min, limits.max))

# SPDX-License-Identifier: Apache-2.0
"""TFLite models to the IR: float32, int8 and uint8 with static quantization.

The importer translates and never optimises: quantized operators come out as Q/DQ around float ones.
TFLite multiplies by integers and rounds in fixed point where Octavo's norm is float32
(docs/numerics.md), so that an output may differ by one step at a rounding boundary.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# The handler modules fill the table `HANDLERS`.
from octavo.errors import FormatError, GraphError, OctavoError, UnsupportedError, missing_extra
from octavo.importers import tflite_conv, tflite_elementwise  # noqa: F401
from octavo.importers.onnx_binding import (
    InputShape,
    bind,
    bound_shape,
    same_program,
    symbols_of,
    unknown_symbol,
)
from octavo.importers.onnx_proto import InputSpec, read_bytes
from octavo.importers.tflite_builder import HANDLERS, Handler, TfliteBuilder
from octavo.importers.tflite_file import Tensor, TfliteFile, read_file
from octavo.importers.tflite_movement import try_fold
from octavo.ir import Graph, Node, Value, prune, topological, verify

#: What an operator that is not supported could be replaced by.
_WAYS_OUT = {
    "ARG_MAX": "end the model before it and take the largest outside",
    "CALL_ONCE": "states between runs are not supported; export the model without streaming",
    "CUSTOM": "replace custom operators before converting",
    "DEPTH_TO_SPACE": "replace it by RESHAPE and TRANSPOSE",
    "IF": "export the model without control flow",
    "TRANSPOSE_CONV": "replace it by RESIZE_BILINEAR and CONV_2D before quantizing",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "recurrent layers are not supported; unroll it",
    "VAR_HANDLE": "states between runs are not supported; export the model without streaming",
    "WHILE": "export the model without control flow",
}
#: What malformed but parseable nodes make NumPy and Python raise.
_MALFORMED = (
    ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError,
)  # fmt: skip


def load_tflite(
    model: str | os.PathLike[str] | bytes, shapes: Mapping[str, InputShape] | None = None
) -> Graph:
    """Reads a TFLite model (path or bytes) into a verified graph.

    `shapes` gives dimensions that the file leaves open (a batch, as a rule) their numbers:
    {"x": (4, 96, 96, 3)} or {"x": {"N": 4}}; what the file says, else 1, where it says nothing.

    Raises InvalidArgumentError (no such file), FormatError (not TFLite, damaged), UnsupportedError,
    GraphError, ShapeError, QuantizationError or LimitError, each naming the node or tensor; and
    MissingExtraError where the package `tflite` is not installed.
    """
    try:
        import tflite  # noqa: F401
    except ImportError as error:
        raise missing_extra("tflite", "reading TFLite models") from error
    source = read_file(read_bytes(model) if isinstance(model, str | os.PathLike) else bytes(model))
    specs = [_spec(source.tensors[name]) for name in source.inputs]
    binding = bind(specs, shapes or {})
    graph = _translate(source, specs, binding)
    if not binding:
        return graph
    keep = frozenset(name for name in binding if _is_free(source, specs, binding, name, graph))
    dynamic = {spec.name: symbols_of(spec, keep) for spec in specs}
    return graph.with_(dynamic={name: dims for name, dims in dynamic.items() if any(dims)})


def _spec(tensor: Tensor) -> InputSpec:
    """The input as declared; the first axis is the batch of all inputs, "N"."""
    dims = tuple(
        ("N" if axis == 0 else unknown_symbol(tensor.name, axis)) if axis in tensor.dynamic else dim
        for axis, dim in enumerate(tensor.shape)
    )
    return InputSpec(tensor.name, tensor.numpy_type, dims)


def _translate(source: TfliteFile, specs: list[InputSpec], binding: Mapping[str, int]) -> Graph:
    """The graph for one choice of numbers."""
    b = TfliteBuilder(source.tensors)
    for spec in specs:
        dtype = b.dtype(spec.name)
        entry = Node(spec.name, "input", (), (spec.name,))
        if dtype not in ("f32", "u8", "s8", "s32", "s64", "bool"):
            raise UnsupportedError(f"input '{spec.name}': element type {dtype}; use float32")
        affine = b.declared(entry, spec.name)
        b.values[spec.name] = Value(spec.name, dtype, bound_shape(spec, binding), affine)
        b.constants.pop(spec.name, None)
        b.quantized.pop(spec.name, None)
    default = all(b.values[name].shape == source.tensors[name].shape for name in source.inputs)
    for node in source.nodes:
        _handler(node)
    for node in _ordered(source, b):
        _translate_node(b, node)
        if default:
            _check_declared(b, node)
    for name in source.outputs:
        b.use(name)
    graph = Graph(source.name, tuple(b.nodes), b.values, source.inputs, source.outputs)
    return verify(prune(graph))


def _ordered(source: TfliteFile, b: TfliteBuilder) -> tuple[Node, ...]:
    """Nodes in topological order. Raises GraphError for duplicates, cycles and dangling inputs."""
    ready = {*b.constants, *b.quantized, *source.inputs}
    seen = set(ready)
    for node in source.nodes:
        for name in filter(None, node.outputs):
            if name in seen:
                raise GraphError(f"{node.label()}: output '{name}' is already defined")
            seen.add(name)
    return topological(source.nodes, ready)


def _translate_node(b: TfliteBuilder, node: Node) -> None:
    try:
        if try_fold(b, node):
            return
        _handler(node)(b, node)
    except OctavoError:
        raise
    except _MALFORMED as error:
        raise FormatError(f"{node.label()}: options or inputs make no sense: {error}") from error


def _handler(node: Node) -> Handler:
    found = HANDLERS.get(node.op)
    if found is not None:
        return found
    known = _WAYS_OUT.get(node.op.split()[0])
    way_out = known or "replace it before converting, or cut the model there"
    raise UnsupportedError(f"{node.label()}: this operator is not supported; {way_out}")


def _check_declared(b: TfliteBuilder, node: Node) -> None:
    """The file states every tensor's shape: another one means that we misread the node."""
    for name in filter(None, node.outputs):
        found, declared = b.shape_of(name), b.tensors[name].shape
        if found != declared:
            raise FormatError(
                f"{node.label()}: output '{name}' is declared {declared}, "
                f"but its inputs give {found}"
            )


def _is_free(
    source: TfliteFile,
    specs: list[InputSpec],
    binding: Mapping[str, int],
    symbol: str,
    graph: Graph,
) -> bool:
    """True when the symbol's number went into no attribute and no constant of the graph."""
    try:
        other = _translate(source, specs, {**binding, symbol: binding[symbol] + 64})
    except OctavoError:
        return False
    return same_program(graph, other)

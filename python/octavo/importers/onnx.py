# SPDX-License-Identifier: Apache-2.0
"""ONNX models to the IR: opset 10 to 23, float32, QDQ and QOperator.

The importer translates and never optimises: spatial operators come out NHWC with Transpose nodes
around them, QOperator nodes as Q/DQ around float ones. `octavo.passes` takes it from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

# The handler modules fill the table `HANDLERS`.
from octavo.errors import (
    FormatError,
    GraphError,
    OctavoError,
    UnsupportedError,
    missing_extra,
)
from octavo.importers import (
    onnx_conv,  # noqa: F401
    onnx_elementwise,  # noqa: F401
    onnx_linear,  # noqa: F401
    onnx_movement,  # noqa: F401
    onnx_norm,  # noqa: F401
    onnx_resize,  # noqa: F401
)
from octavo.importers.onnx_binding import (
    InputShape,
    bind,
    bound_shape,
    same_program,
    symbols_of,
)
from octavo.importers.onnx_builder import HANDLERS, Builder, Handler
from octavo.importers.onnx_dynamic import take_dynamic
from octavo.importers.onnx_fold import try_fold
from octavo.importers.onnx_proto import Source, parse_model, read_bytes, read_source
from octavo.importers.onnx_qoperator import rewrite_qoperator
from octavo.importers.onnx_quant import adopt_input_parameters
from octavo.importers.onnx_schema import check_schema
from octavo.ir import DTYPE_NAMES, Graph, Node, Value, prune, topological, verify
from octavo.ops.precision import PRECISION_KEY

if TYPE_CHECKING:
    from onnx import ModelProto

#: What an operator that is not supported could be replaced by.
_WAYS_OUT = {
    "ConvTranspose": "replace it by Resize and Conv before quantizing",
    "If": "export the model without control flow",
    "Loop": "export the model without control flow",
    "Resize": "cut the model before it, or run that part elsewhere",
}
#: What malformed but parseable nodes make NumPy and Python raise.
_MALFORMED = (
    ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, MemoryError,
)  # fmt: skip


def load_onnx(
    model: str | os.PathLike[str] | bytes | ModelProto,
    shapes: Mapping[str, InputShape] | None = None,
) -> Graph:
    """Reads an ONNX model (path, bytes or ModelProto) into a verified graph.

    `shapes` gives symbolic dimensions their numbers: {"x": (4, 3, 224, 224)} or {"x": {"N": 4}};
    1 where it says nothing. `Graph.dynamic` keeps the symbols that may take other numbers later
    without importing again.

    Raises InvalidArgumentError (no such file), FormatError (not ONNX, damaged), UnsupportedError,
    GraphError, ShapeError, QuantizationError or LimitError, each naming the node or tensor; and
    MissingExtraError where the package `onnx` is not installed.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise missing_extra("onnx", "reading ONNX models") from error
    if isinstance(model, str | os.PathLike):
        model = read_bytes(model)
    if isinstance(model, bytes | bytearray | memoryview):
        model = parse_model(bytes(model))
    try:
        source = read_source(model)
    except OctavoError:
        raise
    except (UnicodeDecodeError, *_MALFORMED) as error:
        raise FormatError(f"damaged ONNX model: {error}") from error
    binding = bind(source.inputs, shapes or {})
    graph = _translate(source, binding)
    if not binding:
        return graph
    keep = frozenset(symbol for symbol in binding if _is_free(source, binding, symbol, graph))
    dynamic = {spec.name: symbols_of(spec, keep) for spec in source.inputs}
    return graph.with_(dynamic={name: dims for name, dims in dynamic.items() if any(dims)})


def _translate(source: Source, binding: Mapping[str, int]) -> Graph:
    """The graph for one choice of numbers."""
    b = Builder(source.opset, source.constants)
    for spec in source.inputs:
        dtype = DTYPE_NAMES.get(spec.element.newbyteorder("="))
        if dtype is None:
            raise UnsupportedError(f"input '{spec.name}': element type {spec.element}; use float32")
        b.values[spec.name] = Value(spec.name, dtype, bound_shape(spec, binding))
    order = _ordered(source)
    b.reserve([name for node in order for name in node.outputs])
    for node in order:
        _translate_node(b, node)
    outputs = tuple(_output(b, name) for name in source.outputs)
    inputs = tuple(spec.name for spec in source.inputs)
    adopt_input_parameters(b, inputs, outputs)
    graph = Graph(source.name, tuple(b.nodes), b.values, inputs, outputs, metadata=source.metadata)
    return verify(prune(graph))


def _ordered(source: Source) -> tuple[Node, ...]:
    """Nodes in topological order. Raises GraphError for duplicates, cycles and dangling inputs."""
    ready = {*source.constants, *(spec.name for spec in source.inputs)}
    seen = set(ready)
    for node in source.nodes:
        for name in filter(None, node.outputs):
            if name in seen:
                raise GraphError(f"{node.label()}: output '{name}' is already defined")
            seen.add(name)
    for name in source.outputs:
        if name not in seen:
            raise GraphError(f"graph '{source.name}': output '{name}' is produced by nothing")
    return topological(source.nodes, ready)


def _translate_node(b: Builder, node: Node) -> None:
    try:
        check_schema(node, b.opset)
        inputs = tuple(b.alias.get(name, name) for name in node.inputs)
        resolved = Node(node.name, node.op, inputs, node.outputs, node.attrs)
        for step in _steps(b, resolved):
            first = len(b.nodes)
            if not (take_dynamic(b, step) or try_fold(b, step)):
                _handler(b, step)(b, step)
            if PRECISION_KEY in step.attrs:
                b.mark(first, str(step.attrs[PRECISION_KEY]))
    except OctavoError:
        raise
    except _MALFORMED as error:
        raise FormatError(f"{node.label()}: attributes or inputs make no sense: {error}") from error


def _steps(b: Builder, node: Node) -> Iterator[Node]:
    rewritten = rewrite_qoperator(b, node)
    yield from [node] if rewritten is None else rewritten


def _handler(b: Builder, node: Node) -> Handler:
    found = HANDLERS.get(node.op)
    if found is not None:
        return found
    way_out = _WAYS_OUT.get(node.op, "replace it in the exporter, or cut the model there")
    raise UnsupportedError(
        f"{node.label()}, opset {b.opset}: this operator is not supported; {way_out}"
    )


def _output(b: Builder, name: str) -> str:
    """Makes a model output exist under its own name: a copy, where it is another value's alias."""
    source = b.alias.get(name, name)
    value = b.use(source)
    if source != name:
        attrs = {"shape": (0,) * len(value.shape)}
        b.emit("Reshape", f"{name}/copy", [source], name, attrs)
    return name


def _is_free(source: Source, binding: Mapping[str, int], symbol: str, graph: Graph) -> bool:
    """True when the symbol's number went into no attribute and no constant of the graph.

    Found by translating once more with another number: only shapes of values may differ.
    """
    try:
        other = _translate(source, {**binding, symbol: binding[symbol] + 64})
    except OctavoError:
        return False
    return same_program(graph, other)

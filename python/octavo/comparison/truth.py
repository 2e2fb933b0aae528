# SPDX-License-Identifier: Apache-2.0
"""The float network that a quantized one is compared with, and the tensors they have in common."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError, OctavoError
from octavo.ir import Graph, Node, Value, constant
from octavo.model import Model
from octavo.ops import infer_graph
from octavo.ops.attrs import clamp
from octavo.passes import run_float_pipeline, run_model_pipeline
from octavo.plan import Plan
from octavo.plan.build import build
from octavo.plan.card import TensorInfo
from octavo.quantization.equalized import EQUALIZED_KEY, equalize_again
from octavo.reference import real_value, run_float
from octavo.session import Session

__all__ = ["ENGINES", "FloatNetwork", "Reference", "Truth", "float_twin"]

Array = NDArray[Any]
#: How the reference runs: C++ float kernels where they can, NumPy only.
ENGINES = ("auto", "numpy")
#: What the quantizer and the passes append to a tensor's name; a number where that was taken.
_SUFFIX = re.compile(r"/(q|raw|dq|stored|moved)(\.\d+)?$")
#: On real numbers these change nothing.
_CONVERSIONS = frozenset(("DequantizeLinear", "QuantCast", "QuantizeLinear", "Requantize"))


def base_name(name: str, known: Container[str]) -> str | None:
    """The float graph's name of a tensor, which is in `known`: what quantizer and passes appended
    is taken off, one by one, since a model may have names like these itself."""
    while name not in known:
        shorter = _SUFFIX.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return name


def float_twin(graph: Graph) -> Graph:
    """An optimized graph on real numbers: constants dequantized, activations float32 and unrounded.

    Conversions that also permute axes become Transpose, the others a Reshape to the same shape.
    """
    values: dict[str, Value] = {}
    for value in graph.values.values():
        if value.data is not None and (value.quant is not None or value.dtype in ("u8", "s8")):
            values[value.name] = constant(value.name, real_value(value, value.data))
        elif value.data is None and (value.quant is not None or value.dtype in ("u8", "s8")):
            values[value.name] = replace(value, dtype="f32", quant=None)
        else:
            values[value.name] = value
    nodes = []
    for node in graph.nodes:
        if node.op in _CONVERSIONS:
            shape = values[node.inputs[0]].shape
            perm = tuple(node.attrs.get("perm", range(len(shape))))
            if perm != tuple(range(len(shape))):
                node = Node(node.name, "Transpose", node.inputs, node.outputs, {"perm": perm})
            else:
                node = Node(node.name, "Reshape", node.inputs, node.outputs, {"shape": shape})
        elif "precision" in node.attrs:
            attrs = {key: item for key, item in node.attrs.items() if key != "precision"}
            node = replace(node, attrs=attrs)
        nodes.append(node)
    return graph.with_(nodes=tuple(nodes), values=values, notes={})


class FloatNetwork:
    """A float graph of fixed shapes whose tensors can all be read: in C++, else in NumPy."""

    def __init__(self, graph: Graph, *, engine: str = "auto", threads: int = 1) -> None:
        self.graph = graph
        self._session: Session | None = None
        if engine == "auto":
            with suppress(OctavoError):  # an operator without float kernels: NumPy knows all
                self._session = _kept_session(float_twin(graph), threads)

    @property
    def engine(self) -> str:
        """What runs it: "cpp" or "numpy"."""
        return "numpy" if self._session is None else "cpp"

    def run(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Every tensor by name, as real numbers (8-bit inputs dequantized)."""
        if self._session is None:
            return run_float(self.graph, inputs, keep=True)
        real = {
            name: np.ascontiguousarray(real_value(self.graph.values[name], array))
            for name, array in inputs.items()
        }
        outputs = self._session.run(real)
        return _Tensors(self._session, {**real, **outputs}, self.graph)


class _Tensors(Mapping[str, Array]):
    """The tensors of a session's last run, read when asked for."""

    def __init__(self, session: Session, known: Mapping[str, Array], graph: Graph) -> None:
        self._session, self._known, self._graph = session, known, graph

    def __getitem__(self, name: str) -> Array:
        if name in self._known:
            return self._known[name]
        data = self._graph.values[name].data
        if data is not None:
            return real_value(self._graph.values[name], data)
        return self._session.read_tensor(name)

    def __contains__(self, name: object) -> bool:
        return name in self._graph.values

    def __iter__(self) -> Any:
        return iter(self._graph.values)

    def __len__(self) -> int:
        return len(self._graph.values)


def _kept_session(graph: Graph, threads: int) -> Session:
    def infos(names: tuple[str, ...]) -> list[TensorInfo]:
        return [TensorInfo(n, graph.values[n].dtype, graph.values[n].shape) for n in names]

    plan = Plan.from_bytes(build(graph, keep_all=True).data)
    names = (infos(graph.inputs), infos(graph.outputs))
    return Session(plan, names, isa=None, threads=threads, reasons={}, replan=None)


class _Names:
    """Which tensor of the reference a tensor of the quantized graph stands for."""

    graph: Graph

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self.graph.nodes}

    def counterpart(self, node: Node, value: Value) -> str | None:
        """The reference's name of a tensor: by its name, else as the output of the node of the same
        name, operator and fused activation (other quantizers name tensors their own way)."""
        values = self.graph.values
        name = base_name(value.name, values)
        twin = self._nodes.get(node.name)
        if name is None and twin is not None and twin.op == node.op and clamp(twin) == clamp(node):
            name = twin.outputs[0]
        return name if name and values[name].shape == value.shape else None


class Reference(_Names):
    """The float network in the structure that was quantized, and its tensors for some inputs, all
    of them in memory, computed in NumPy."""

    def __init__(self, model: Model, inputs: Mapping[str, Array], source: Graph | None) -> None:
        source = source if source is not None else model.reference
        shapes = {name: tuple(np.shape(array)) for name, array in inputs.items()}
        if source is None:
            self.graph = model.graph_for(shapes)
        else:
            self.graph = run_model_pipeline(infer_graph(source, shapes))
            told = model.source.metadata.get(EQUALIZED_KEY)
            if isinstance(told, Mapping):
                self.graph = equalize_again(self.graph, told).graph
        self.tensors = run_float(self.graph, inputs, keep=True)


class Truth(_Names):
    """The reference of a model for inputs of some shapes, as it runs."""

    def __init__(
        self,
        model: Model,
        shapes: Mapping[str, tuple[int, ...]],
        source: Graph | None,
        *,
        engine: str,
        threads: int,
    ) -> None:
        source = source if source is not None else model.reference
        #: Is it another network than the model itself with unrounded numbers?
        self.given = source is not None
        if source is None:
            self.graph = model.graph_for(shapes)
        else:
            if set(source.inputs) != set(shapes):
                raise InvalidArgumentError(
                    f"the reference has inputs {list(source.inputs)}, the data {sorted(shapes)}"
                )
            self.graph = run_float_pipeline(infer_graph(source, shapes))
        self.network = FloatNetwork(self.graph, engine=engine, threads=threads)

    def twin(self, node: Node, tensor: str, *, scaled: bool = False) -> Node | None:
        """The reference's node that does what `node` does: the one that computes `tensor`, with the
        same operator and fused activation, whose bounds may differ if channels were `scaled`."""
        found = self.graph.producers.get(tensor)
        if found is None or found.op != node.op:
            return None
        return found if scaled or clamp(found) == clamp(node) else None

# SPDX-License-Identifier: Apache-2.0
"""The quantized network against its float reference, layer by layer, on the same inputs."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError
from octavo.ir import Graph, Node, Value
from octavo.model import Model
from octavo.ops import infer_graph
from octavo.ops.attrs import clamp
from octavo.ops.precision import executed
from octavo.passes import run_model_pipeline
from octavo.reference import real_value, run_float

__all__ = ["Comparison", "LayerError", "Reference", "compare"]

Array = NDArray[Any]
#: Below this ratio the error is a third of the signal: the layer no longer carries it.
BROKEN_DB = 10.0
#: What the quantizer and the passes append to a tensor's name; a number where that was taken.
_SUFFIX = re.compile(r"/(q|raw|dq|stored|moved)(\.\d+)?$")


@dataclass(frozen=True)
class LayerError:
    """Distance of one tensor from the reference.

    `sqnr_db` = 10 log10(sum ref^2 / sum (ref - got)^2), inf when equal; absolute errors are in the
    tensor's real unit; `saturated` is the share of reference values outside the 8-bit range (None
    for float tensors).
    """

    node: str
    op: str
    tensor: str
    precision: str
    sqnr_db: float
    max_abs: float
    mean_abs: float
    cosine: float
    saturated: float | None


@dataclass(frozen=True)
class Comparison:
    """All layers in order of execution, and the outputs once more."""

    layers: tuple[LayerError, ...]
    outputs: tuple[LayerError, ...]

    @property
    def first_broken(self) -> LayerError | None:
        """The first layer below 10 dB, or None."""
        return next((layer for layer in self.layers if layer.sqnr_db < BROKEN_DB), None)

    def by_node(self) -> dict[str, LayerError]:
        """Node name -> its (last) output's error."""
        return {layer.node: layer for layer in self.layers}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; an infinite SQNR is None."""

        def plain(layer: LayerError) -> dict[str, Any]:
            row = asdict(layer)
            row["sqnr_db"] = layer.sqnr_db if math.isfinite(layer.sqnr_db) else None
            return row

        broken = self.first_broken
        return {
            "layers": [plain(layer) for layer in self.layers],
            "outputs": [plain(layer) for layer in self.outputs],
            "first_broken": broken.node if broken else None,
        }


def _measure(got: Array, expected: Array) -> tuple[float, float, float, float]:
    """(SQNR dB, max abs, mean abs, cosine) in float64."""
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    if a.size == 0:
        return math.inf, 0.0, 0.0, 1.0
    difference = np.abs(a - b)
    noise, signal = float(np.dot(difference, difference)), float(np.dot(b, b))
    if noise == 0.0:
        sqnr = math.inf
    else:
        sqnr = 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
    norm = math.sqrt(float(np.dot(a, a)) * signal)
    cosine = float(np.dot(a, b)) / norm if norm > 0.0 else float(noise == 0.0)
    return sqnr, float(difference.max()), float(difference.mean()), cosine


def _saturated(value: Value, expected: Array) -> float | None:
    """Share of reference values more than half a step outside what the tensor can hold."""
    if not value.is_8bit or expected.size == 0:
        return None
    low, high = (0, 255) if value.dtype == "u8" else (-128, 127)
    least = (low - value.zero_point - 0.5) * value.scale
    most = (high - value.zero_point + 0.5) * value.scale
    return float(np.mean((expected < least) | (expected > most)))


def _base_name(name: str, known: Container[str]) -> str | None:
    """The float graph's name of a tensor, which is in `known`: what quantizer and passes appended
    is taken off, one by one, since a model may have names like these itself."""
    while name not in known:
        shorter = _SUFFIX.sub("", name)
        if shorter == name:
            return None
        name = shorter
    return name


class Reference:
    """The float network and its tensors for some inputs."""

    def __init__(self, model: Model, inputs: Mapping[str, Array], source: Graph | None) -> None:
        source = source if source is not None else model.reference
        shapes = {name: tuple(np.shape(array)) for name, array in inputs.items()}
        if source is None:
            graph = model.graph_for(shapes)
        else:
            graph = run_model_pipeline(infer_graph(source, shapes))
        self.graph = graph
        self.tensors = run_float(graph, inputs, keep=True)
        self._nodes = {node.name: node for node in graph.nodes}

    def counterpart(self, node: Node, value: Value) -> str | None:
        """The reference's name of a tensor: by its name, else as the output of the node of the same
        name, operator and fused activation (other quantizers name tensors their own way)."""
        name = _base_name(value.name, self.tensors)
        twin = self._nodes.get(node.name)
        if name is None and twin is not None and twin.op == node.op and clamp(twin) == clamp(node):
            name = twin.outputs[0]
        return name if name and self.tensors[name].shape == value.shape else None


def compare(
    model: Model,
    inputs: Mapping[str, Array] | Array,
    *,
    reference: Model | None = None,
    isa: str | None = None,
) -> Comparison:
    """Runs `model` in C++ and the float reference in NumPy on the same inputs.

    The reference is `reference`, else the network the model was quantized from, else the model's
    own graph with dequantized weights and unrounded activations. Inputs as for `Session.run`, with
    the model's default shapes or any shape its symbolic dimensions allow.

    Raises what `Model.compile` and `Session.run` raise, and InvalidArgumentError when the reference
    has no tensor in common with the model.
    """
    if not isinstance(inputs, Mapping):
        if len(model.inputs) != 1:
            raise InvalidArgumentError("the model has several inputs: pass a dict of name -> array")
        inputs = {model.inputs[0].name: inputs}
    shapes = {name: tuple(np.shape(array)) for name, array in inputs.items()}
    graph = model.graph_for(shapes)
    session = model.compile(isa=isa, shapes=shapes, keep_all=True)
    results = session.run(inputs)
    truth = Reference(model, inputs, reference.source if reference else None)
    layers, outputs = [], []
    for node in graph.nodes:
        for value in graph.outputs_of(node):
            name = truth.counterpart(node, value)
            if name is None:
                continue
            if value.name in results:
                got = results[value.name]
            else:
                got = _stored(value, session.read_tensor(value.name))
            expected = truth.tensors[name]
            errors = _measure(real_value(value, got), expected)
            saturated = _saturated(value, expected)
            layers.append(
                LayerError(node.name, node.op, name, executed(graph, node), *errors, saturated)
            )
            if value.name in graph.outputs:
                outputs.append(layers[-1])
    if not layers:
        raise InvalidArgumentError("the reference shares no tensor name and shape with the model")
    return Comparison(tuple(layers), tuple(outputs))


def _stored(value: Value, plan: Array) -> Array:
    """The plan's u8 numbers as the graph's type."""
    return (plan ^ np.uint8(0x80)).view(np.int8) if value.dtype == "s8" and value.is_8bit else plan

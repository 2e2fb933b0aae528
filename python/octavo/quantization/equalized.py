# SPDX-License-Identifier: Apache-2.0
"""What equalization did to a network, and how a float network is equalized the same way again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError
from octavo.ir import Graph, Node, Value, constant, free_name
from octavo.quantization.channels import LAYERS, reads_depthwise
from octavo.quantization.levels import Levels, levels_of

__all__ = [
    "EQUALIZED_KEY",
    "GAIN_STEPS",
    "Editor",
    "Equalized",
    "decoded",
    "equalize_again",
    "read_shift",
]

Array = NDArray[Any]
F64 = NDArray[np.float64]
#: `Graph.metadata` key of what `Equalized.metadata` gives.
EQUALIZED_KEY = "equalized"
#: Gains are 2^(k / 16), so that a byte holds them.
GAIN_STEPS = 16.0


@dataclass
class Equalized:
    """The graph with other constants; what became of each changed tensor, gain * x - shift
    ([channels] each), the new extremes of tensors, from those that calibration saw, and the levels
    of model inputs (which the graph does not know of yet).

    `readers` of a tensor are the layers that alone read it so, where others read it as it was.
    """

    graph: Graph
    gains: dict[str, F64] = field(default_factory=dict)
    shifts: dict[str, F64] = field(default_factory=dict)
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)
    levels: dict[str, Levels] = field(default_factory=dict)
    readers: dict[str, list[str]] = field(default_factory=dict)

    @property
    def changed(self) -> list[str]:
        """Names of the tensors that hold other numbers than before."""
        return sorted({*self.gains, *self.shifts})

    def metadata(self) -> dict[str, Any]:
        """For `Graph.metadata`: per tensor, gains as base64 of int8 k (gain 2^(k/16)), shifts as
        base64 of float16, levels as lists."""
        found: dict[str, dict[str, Any]] = {}
        for name, gain in self.gains.items():
            found.setdefault(name, {})["gain"] = _text(np.rint(np.log2(gain) * GAIN_STEPS), np.int8)
        for name, shift in self.shifts.items():
            found.setdefault(name, {})["shift"] = _text(shift, np.float16)
        for name, item in self.levels.items():
            found.setdefault(name, {})["levels"] = item.metadata()
        for name, readers in self.readers.items():
            if name in found:
                found[name]["readers"] = readers
        return found


def _text(numbers: Array, dtype: type[np.generic]) -> str:
    return base64.b64encode(numbers.astype(dtype).tobytes()).decode()


class Editor:
    """Constants of layers, each layer with its own."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Value] = dict(graph.values)
        self.nodes = {node.name: node for node in graph.nodes}

    def get(self, node: Node, place: int) -> F64 | None:
        """A constant operand in float64; None where there is none."""
        inputs = self.nodes[node.name].inputs
        if place >= len(inputs) or not inputs[place]:
            return None
        data = self.values[inputs[place]].data
        return None if data is None else data.astype(np.float64)

    def put(self, node: Node, place: int, data: F64) -> None:
        """Gives the node this constant, under a name of its own."""
        now = self.nodes[node.name]
        inputs = [*now.inputs, *[""] * (place + 1 - len(now.inputs))]
        base = inputs[place] or f"{node.name}/bias"
        readers = self.graph.consumers.get(base, ())
        name = base if len(readers) <= 1 and inputs[place] else free_name(base, self.values)
        self.values[name] = constant(name, data.astype(np.float32))
        inputs[place] = name
        self.nodes[node.name] = Node(now.name, now.op, tuple(inputs), now.outputs, now.attrs)

    def finish(self) -> Graph:
        """The graph with what was put."""
        nodes = tuple(self.nodes[node.name] for node in self.graph.nodes)
        return self.graph.with_(nodes=nodes, values=self.values)


def read_shift(w: F64, shift: F64, depthwise: bool) -> F64:
    """What a layer with weights [O, ..., I] makes of a constant input."""
    if depthwise:
        wide = np.repeat(shift, len(w) // len(shift))
        return np.asarray(w.reshape(len(w), -1).sum(axis=1) * wide)
    return np.asarray(w.reshape(len(w), -1, w.shape[-1]).sum(axis=1) @ shift)


def decoded(entry: Mapping[str, Any]) -> tuple[F64, F64]:
    """(gains, shifts) of one tensor in `Equalized.metadata`, each empty where there is none. Raises
    ValueError or TypeError where it is damaged."""
    powers, shifts = (
        np.frombuffer(base64.b64decode(entry.get(key, ""), validate=True), dtype)
        for key, dtype in (("gain", np.int8), ("shift", np.float16))
    )
    return np.exp2(powers.astype(np.float64) / GAIN_STEPS), shifts.astype(np.float64)


def equalize_again(graph: Graph, metadata: Mapping[str, Any]) -> Equalized:
    """The float graph with the gains and shifts that `Equalized.metadata` wrote down: the same
    function, with the tensors that its quantized twin approximates. Tensors that the graph does not
    have are left out. Raises FormatError where the metadata is damaged."""
    gains: dict[str, F64] = {}
    shifts: dict[str, F64] = {}
    levels: dict[str, Levels] = {}
    for name, entry in metadata.items():
        if name not in graph.values:
            continue
        try:
            gain, shift = decoded(entry)
            if "levels" in entry:
                levels[name] = levels_of(entry["levels"])
        except (TypeError, ValueError, AttributeError) as error:
            raise FormatError(
                f"metadata '{EQUALIZED_KEY}' of '{name}' is damaged: {error}"
            ) from error
        if gain.size in graph.values[name].shape:
            gains[name] = gain
        if shift.size in graph.values[name].shape:
            shifts[name] = shift / gains.get(name, 1.0)
    moved = {name: shift * gains.get(name, 1.0) for name, shift in shifts.items()}
    told = {name: metadata[name].get("readers") for name in (*gains, *shifts, *levels)}
    readers = {name: list(names) for name, names in told.items() if names is not None}
    return Equalized(_again(graph, gains, shifts), gains, moved, levels=levels, readers=readers)


def _again(graph: Graph, gains: Mapping[str, F64], shifts: Mapping[str, F64]) -> Graph:
    edit = Editor(graph)
    for node in graph.nodes:
        source, result = node.inputs[0], node.outputs[0]
        if node.op in ("Mul", "Add"):
            _factors_again(edit, node, gains.get(result), shifts.get(result))
        if node.op not in LAYERS and node.op != "LayerNorm":
            continue
        w, bias = edit.get(node, 1), edit.get(node, 2)
        if w is None or not {source, result} & {*gains, *shifts}:
            continue
        bias = np.zeros(len(w)) if bias is None else bias
        if node.op in LAYERS:
            depthwise = reads_depthwise(graph, node)
            if source in shifts:
                bias += read_shift(w, shifts[source], depthwise)
            if source in gains:
                g = gains[source]
                rows = np.repeat(g, len(w) // len(g)) if depthwise else g
                w /= rows.reshape(-1, *(1,) * (w.ndim - 1)) if depthwise else rows
        if result in shifts:
            bias -= shifts[result]
        if result in gains:
            w *= gains[result].reshape(-1, *(1,) * (w.ndim - 1))
            bias *= gains[result]
        edit.put(node, 1, w)
        edit.put(node, 2, bias)
    return edit.finish()


def _factors_again(edit: Editor, node: Node, gain: F64 | None, shift: F64 | None) -> None:
    """The constant of a Mul or an Add that `with_factors` put in."""
    numbers = edit.get(node, 1)
    if numbers is None or (gain is None and shift is None):
        return
    if shift is not None and node.op == "Add":
        numbers = numbers - shift
    edit.put(node, 1, numbers if gain is None else numbers * gain)

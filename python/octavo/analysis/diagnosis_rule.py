# SPDX-License-Identifier: Apache-2.0
"""What the rules of the diagnosis share: findings, severities, the view of a network."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.comparison import Comparison
from octavo.comparison.gains import twin_constant
from octavo.comparison.statistics import TensorStatistics
from octavo.comparison.truth import base_name
from octavo.ir import Graph, Node, Value
from octavo.ops.attrs import clamp
from octavo.reference import real_value
from octavo.session import LayerProfile

__all__ = [
    "SEVERITIES",
    "Evidence",
    "Finding",
    "Layer",
    "View",
    "finer",
    "rule_text",
    "severity_of",
]

Array = NDArray[Any]
F64 = NDArray[np.float64]
Evidence = Mapping[str, float | int | str | None]
#: The gravest first.
SEVERITIES = ("error", "warning", "info")
#: Between 8-bit and real numbers; not in a float network, and not for a rule to name.
_CONVERSIONS = frozenset(("DequantizeLinear", "QuantCast", "QuantizeLinear", "Requantize"))
#: Noise shares from which a cause is grave (13 dB) or worth a look (23 dB).
_GRAVE, _NOTABLE = 0.05, 0.005


@dataclass(frozen=True)
class Finding:
    """One cause: `code` for programs, `message` with the numbers and `remedy` for people.

    `noise` is noise power / signal power that the cause adds to its layer, the measure by which
    findings are ranked; `node` and `tensor` are None for a finding about the whole network.
    """

    code: str
    severity: str
    node: str | None
    tensor: str | None
    message: str
    remedy: str
    noise: float = 0.0
    evidence: Evidence = field(default_factory=dict)

    def demoted(self) -> Finding:
        """The same as a mere consequence of something else."""
        return replace(self, severity="info", message=f"{self.message} (follows from the input)")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "noise": self.noise if math.isfinite(self.noise) else None}


def severity_of(noise: float, *, at_most: str = "error") -> str:
    """By the share of noise, and no graver than `at_most`."""
    found = 0 if noise >= _GRAVE else 1 if noise >= _NOTABLE else 2
    return SEVERITIES[max(found, SEVERITIES.index(at_most))]


def rule_text(*nodes: str, **settings: Any) -> str:
    """A rule of a recipe for these nodes, as one line of JSON."""
    names = "|".join(map(re.escape, nodes))
    return json.dumps({"nodes": names, **settings}, ensure_ascii=False)


def finer(view: View, layer: Layer) -> str:
    """The rule that gives a node's output more than 8 bits: 16 for Conv and Linear; other nodes
    leave the integers only together with those that read them."""
    names = [layer.name]
    if layer.node.op not in ("Conv", "Linear"):
        readers = view.graph.consumers.get(layer.value.name, ())
        names += [node.name for node in readers if node.op not in _CONVERSIONS]
    return rule_text(*names, precision="int16")


@dataclass(frozen=True)
class Layer:
    """A node of the quantized graph with its statistics and the reference's node, if known."""

    node: Node
    value: Value
    sums: TensorStatistics
    twin: Node | None

    @property
    def signal(self) -> float:
        """Sum of squares of the reference's values."""
        return float(self.sums.signal.sum())

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name


@dataclass(frozen=True)
class View:
    """The network as the rules see it."""

    graph: Graph
    comparison: Comparison
    reference: Graph | None
    metadata: Mapping[str, Any]
    profile: tuple[LayerProfile, ...]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every node whose output was compared, in order of execution."""
        return tuple(self._layers())

    def _layers(self) -> Iterator[Layer]:
        producers = self.reference.producers if self.reference else {}
        for node in self.graph.nodes:
            sums = self.comparison.statistics.get(node.name)
            if sums is None or sums.count == 0:
                continue
            twin = producers.get(sums.tensor)
            scaled = sums.tensor in self.comparison.gains
            if twin is not None and twin.op != node.op:
                twin = None
            if twin is not None and not scaled and clamp(twin) != clamp(node):
                twin = None
            yield Layer(node, self.graph.values[node.outputs[0]], sums, twin)

    @cached_property
    def by_tensor(self) -> dict[str, Layer]:
        """Value name -> the layer that computes it."""
        return {layer.value.name: layer for layer in self.layers}

    def constants(self, layer: Layer, place: int) -> tuple[Array | None, Array | None]:
        """(the model's, the reference's) constant operand as real numbers; None where there is
        none, or where the reference has another shape."""
        node = layer.node
        if place >= len(node.inputs) or not node.inputs[place]:
            return None, None
        value = self.graph.values[node.inputs[place]]
        if value.data is None:
            return None, None
        mine, theirs = real_value(value, value.data), None
        if layer.twin is not None and self.reference is not None:
            found = twin_constant(self.reference, layer.twin, place, self.comparison.gains)
            theirs = found if found is not None and found.shape == value.shape else None
        return mine, theirs

    def float_name(self, name: str) -> str:
        """What the float model calls a tensor, as far as that is known."""
        known = self.reference.values if self.reference else {}
        return base_name(name, known) or name

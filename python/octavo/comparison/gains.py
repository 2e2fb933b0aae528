# SPDX-License-Identifier: Apache-2.0
"""Channels that equalization has scaled: the same network, with other numbers on the way.

Cross-layer equalization and SmoothQuant multiply the channels of a tensor by factors and divide
the weights that read them by the same (Nagel et al. 2019, section 4.1; Xiao et al. 2022, section
4). The reference's tensors are changed likewise before they are compared. A model says itself what
was done to it; in others' models a factor counts only where the reading layers undo it: a damaged
weight scale is no equalization.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph, Node
from octavo.quantization.equalized import EQUALIZED_KEY, decoded
from octavo.quantization.levels import levels_of
from octavo.reference import real_value

__all__ = ["Gain", "Gains", "find_gains", "stored_gains", "twin_constant"]

Array = NDArray[Any]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """stored = factor * x - shift, [channels] each, along the last axis."""

    factor: F64
    shift: F64

    @staticmethod
    def of(factor: F64) -> Gain:
        """Without a shift."""
        return Gain(factor, np.zeros_like(factor))

    def apply(self, real: Array) -> Array:
        """The reference's tensor as the quantized network holds it."""
        return np.asarray(real * self.factor - self.shift, real.dtype)


#: Tensor of the reference -> what became of it; `read_key` of a layer -> what became of its input
#: for it alone.
Gains = Mapping[str, Gain]
Twin = Callable[[Node], Node | None]

_LAYERS = frozenset(("Conv", "Linear"))
#: What a positive factor per channel passes unchanged.
_PASSING = frozenset(("AveragePool", "GlobalAveragePool", "MaxPool", "Pad"))
#: Factors nearer to 1 than this are rounding.
_LEAST = 0.02


def stored_gains(graph: Graph, metadata: Mapping[str, Any]) -> dict[str, Gain]:
    """What the quantizer says it did to tensors of the reference; entries that do not fit are left
    out."""
    found: dict[str, Gain] = {}
    entries = metadata.get(EQUALIZED_KEY)
    for name, entry in entries.items() if isinstance(entries, Mapping) else ():
        if isinstance(entry, Mapping) and "readers" in entry:
            found.update(_read_gains(entry))
            continue
        value = graph.values.get(name)
        if value is None or not value.shape or not isinstance(entry, Mapping):
            continue
        try:
            gain, shift = decoded(entry)
        except (ValueError, TypeError):
            continue
        ones = np.zeros(value.shape[-1])
        factor = gain if gain.size else ones + 1.0
        moved = shift if shift.size else ones
        if factor.shape == moved.shape == ones.shape:
            found[name] = Gain(factor, moved)
    return found


def read_key(layer: str) -> str:
    """Stands in `Gains` for the input of a layer of that name. No tensor is called so."""
    return f"\0{layer}"


def _read_gains(entry: Mapping[str, Any]) -> dict[str, Gain]:
    """What some layers alone read of a tensor; nothing where the entry is damaged."""
    try:
        gain, shift = decoded(entry)
        if "levels" in entry:
            levels = levels_of(entry["levels"])
            if levels.common is not None:
                return {}
            gain, shift = levels.gain, -levels.shift
        size = max(gain.size, shift.size)
        factor = gain if gain.size else np.ones(size)
        moved = shift if shift.size else np.zeros(size)
        if not size or factor.shape != moved.shape:
            return {}
        return {read_key(str(name)): Gain(factor, moved) for name in entry["readers"]}
    except (ValueError, TypeError):
        return {}


def twin_constant(reference: Graph, twin: Node, place: int, gains: Gains) -> Array | None:
    """A constant operand of the reference's node as real numbers, changed as the channels in front
    of and behind the node are; None where it is no constant.

    x' = g x - s and y' = h y - t make of y = W x + b: W' = h W / g, b' = h (b + (W / g) s) - t.
    """
    before = gains.get(read_key(twin.name), gains.get(twin.inputs[0]))
    behind = gains.get(twin.outputs[0])
    real = _constant(reference, twin, place)
    if twin.op in _LAYERS and place == 1 and real is not None:
        real = real if before is None else _undone(real, before.factor)
        column = None if behind is None else _column(behind.factor, real)
        return real if column is None else np.asarray(real * column, real.dtype)
    if place == 2 and twin.op in _LAYERS and before is not None and np.any(before.shift):
        weights = _constant(reference, twin, 1)
        if weights is not None:
            taken = _read(_undone(weights, before.factor), before.shift)
            real = np.asarray(taken if real is None else real + taken, np.float32)
    if behind is None or (twin.op not in _LAYERS and twin.op != "LayerNorm"):
        return real
    if place == 2:
        none = np.zeros(len(behind.factor), np.float32)
        return behind.apply(none if real is None else real)
    return None if real is None else np.asarray(real * behind.factor, real.dtype)


def _constant(reference: Graph, twin: Node, place: int) -> Array | None:
    name = twin.inputs[place] if place < len(twin.inputs) else ""
    value = reference.values[name] if name else None
    if value is None or value.data is None:
        return None
    return real_value(value, value.data)


def _read(weights: Array, shift: F64) -> F64:
    """What a layer makes of a constant input `shift`."""
    if weights.shape[-1] == len(shift):
        return np.asarray((weights * shift).reshape(len(weights), -1).sum(axis=1))
    rows = np.repeat(shift, len(weights) // len(shift))
    return np.asarray(weights.reshape(len(weights), -1).sum(axis=1) * rows)


def _column(factors: F64, weights: Array) -> F64:
    return factors.reshape(-1, *(1,) * (weights.ndim - 1))


def _undone(weights: Array, before: F64) -> Array:
    """Weights [O, ..., I] over the factors of their input; depthwise ones [C, ..., 1] by row."""
    if weights.shape[-1] == len(before):
        return np.asarray(weights / before, weights.dtype)
    if weights.shape[-1] == 1 and len(weights) % len(before) == 0:
        rows = np.repeat(before, len(weights) // len(before))
        return np.asarray(weights / _column(rows, weights), weights.dtype)
    return weights


def find_gains(graph: Graph, reference: Graph, twin: Twin) -> dict[str, Gain]:
    """The factors of every tensor of the reference whose channels the quantized graph has scaled;
    `twin` maps its nodes to the reference's."""
    networks = _Networks(graph, reference, twin)
    gains: dict[str, Gain] = {}
    for node in reference.nodes:
        if node.op in _PASSING and node.inputs[0] in gains:
            gains[node.outputs[0]] = gains[node.inputs[0]]
        if node.op not in _LAYERS and node.op != "LayerNorm":
            continue
        factors = networks.factors(node, gains)
        if factors is None or np.abs(factors - 1.0).max(initial=0.0) <= _LEAST:
            continue
        trial = {**gains, node.outputs[0]: Gain.of(factors)}
        if networks.undone(node.outputs[0], trial):
            gains = trial
    return gains


class _Networks:
    """Both graphs, with the quantized one's layers by the name of the reference's."""

    def __init__(self, graph: Graph, reference: Graph, twin: Twin) -> None:
        self.graph, self.reference = graph, reference
        self.mine = {found.name: node for node in graph.nodes if (found := twin(node)) is not None}

    def weights(self, node: Node, gains: Gains) -> tuple[F64, F64] | None:
        """(the model's, the reference's over the factors of its input), a row for each channel."""
        mine = self.mine.get(node.name)
        if mine is None or len(mine.inputs) < 2:
            return None
        value = self.graph.values[mine.inputs[1]]
        before = {name: gains[name] for name in node.inputs[:1] if name in gains}
        theirs = twin_constant(self.reference, node, 1, before)
        if value.data is None or theirs is None or theirs.shape != value.shape:
            return None
        rows = len(theirs)
        real = real_value(value, value.data).astype(np.float64).reshape(rows, -1)
        return real, theirs.astype(np.float64).reshape(rows, -1)

    def factors(self, node: Node, gains: Gains) -> F64 | None:
        """What a layer's rows were multiplied by; None where that is not known."""
        found = self.weights(node, gains)
        if found is None:
            return None
        real, theirs = found
        norm, dot = np.einsum("ck,ck->c", theirs, theirs), np.einsum("ck,ck->c", real, theirs)
        return np.where((norm > 0) & (dot > 0), dot / np.where(norm > 0, norm, 1.0), 1.0)

    def undone(self, name: str, gains: Gains) -> bool:
        """Do all readers of a tensor undo its factors?"""
        readers = self.reference.consumers.get(name, ())
        if name in self.reference.outputs or not readers:
            return False
        return all(self._undoes(reader, name, gains) for reader in readers)

    def _undoes(self, node: Node, name: str, gains: Gains) -> bool:
        if node.op in _PASSING:
            passed = {**gains, node.outputs[0]: gains[name]}
            return self.undone(node.outputs[0], passed)
        if node.op not in _LAYERS or node.inputs[0] != name:
            return False
        scaled, plain = self.weights(node, gains), self.weights(node, {})
        if scaled is None or plain is None:
            return False
        if self.reference.values[node.inputs[1]].shape[-1] > 1:
            # much nearer to the reference's with the factors than without, whatever its own are
            return _rest(*scaled) < 0.5 * _rest(*plain)
        # depthwise: a row has one factor before and one behind, so its readers decide
        behind, before = self.factors(node, gains), self.factors(node, {})
        assert behind is not None and before is not None
        if np.abs(behind - 1.0).max() < 0.5 * np.abs(before - 1.0).max():
            return True
        return self.undone(node.outputs[0], {**gains, node.outputs[0]: Gain.of(behind)})


def _rest(real: F64, theirs: F64) -> float:
    """The part of the weights that no factor of their row explains, over all of them."""
    norm = np.einsum("ck,ck->c", theirs, theirs)
    factor = np.einsum("ck,ck->c", real, theirs) / np.where(norm > 0, norm, 1.0)
    rest = real - factor[:, None] * theirs
    return float((rest * rest).sum()) / max(float((real * real).sum()), 1e-30)

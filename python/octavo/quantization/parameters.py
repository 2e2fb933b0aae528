# SPDX-License-Identifier: Apache-2.0
"""Chooses each tensor's type, range, scale and zero point, from statistics and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from octavo.ir import Affine, Graph, Node
from octavo.quantization.observers import Statistics
from octavo.quantization.ranges import activation_range, affine_from_range
from octavo.quantization.recipe import Settings
from octavo.quantization.rules import FIXED_PARAMETERS

__all__ = ["TensorRange", "choose_ranges", "settings_by_value", "wide_parameters"]


@dataclass(frozen=True)
class TensorRange:
    """How one activation is stored: `low` to `high` in `dtype` with `affine`; `method` chose it
    ("fixed" where the operator does, "table" where a calibration table does); `symmetric`: the zero
    point is in the middle."""

    low: float
    high: float
    affine: Affine
    dtype: str
    method: str
    symmetric: bool = False


def _settings_of(
    graph: Graph, name: str, nodes: Sequence[Node], settings: Mapping[str, Settings]
) -> Settings:
    """The settings of the node that computes a value, or, where that stays in float32 or the value
    is an input or a constant, of the first that reads it."""
    producer = graph.producers.get(name)
    chosen = {node.name for node in nodes}
    if producer is not None and producer.name in chosen:
        return settings[producer.name]
    readers = (node for node in graph.consumers.get(name, ()) if node.name in chosen)
    reader = next(readers, None)
    return settings[reader.name] if reader is not None else Settings()


def _fixed(graph: Graph, group: Sequence[str], settings: Settings) -> Affine | None:
    """The parameters that every producer of the group prescribes, in the settings' type."""
    if settings.symmetric:
        return None
    producers = [graph.producers[name].op for name in group if name in graph.producers]
    fixed = [FIXED_PARAMETERS[op] for op in producers if op in FIXED_PARAMETERS]
    if not fixed or len(producers) != len(fixed):
        return None
    if not all(fixed[0].same(other) for other in fixed):
        return None
    shift = 128 if settings.activation_type == "s8" else 0
    return Affine.per_tensor(float(fixed[0].scale), int(fixed[0].zero_point) - shift)


def _limits(affine: Affine, dtype: str) -> tuple[float, float]:
    """The least and the largest real number that is stored."""
    least, most = (0, 255) if dtype == "u8" else (-128, 127)
    scale, zero = np.float64(affine.scale), int(affine.zero_point)
    return float((least - zero) * scale), float((most - zero) * scale)


def settings_by_value(
    graph: Graph,
    nodes: Sequence[Node],
    groups: Iterable[Sequence[str]],
    settings: Mapping[str, Settings],
) -> dict[str, Settings]:
    """Value name -> the settings that count for it: those of the first of its group."""
    return {
        name: _settings_of(graph, group[0], nodes, settings) for group in groups for name in group
    }


def choose_ranges(
    graph: Graph,
    nodes: Sequence[Node],
    groups: Iterable[Sequence[str]],
    statistics: Mapping[str, Statistics],
    settings: Mapping[str, Settings],
) -> dict[str, TensorRange]:
    """Value name -> how it is stored. `groups` are values that share parameters (`rules`); they
    take the settings of the first of them. `settings` by node name."""
    found: dict[str, TensorRange] = {}
    for group in groups:
        chosen = _settings_of(graph, group[0], nodes, settings)
        dtype = chosen.activation_type
        fixed = _fixed(graph, group, chosen)
        if fixed is not None:
            entry = TensorRange(*_limits(fixed, dtype), fixed, dtype, "fixed")
        else:
            low, high = activation_range([statistics[name] for name in group], chosen)
            affine = affine_from_range(low, high, dtype, symmetric=chosen.symmetric)
            method = chosen.activation_ranges
            entry = TensorRange(low, high, affine, dtype, method, chosen.symmetric)
        found.update(dict.fromkeys(group, entry))
    return found


def wide_parameters(
    graph: Graph,
    nodes: Sequence[Node],
    statistics: Mapping[str, Statistics],
    settings: Mapping[str, Settings],
) -> dict[str, Affine]:
    """Symmetric s16 parameters for what nodes of precision "int16" write and what they read from
    float32 nodes and model inputs. They reach twice as far as anything seen: of 16 bits one is to
    spare, and a value beyond the calibration data would cost more than it."""
    chosen = {node.name for node in nodes}
    found: dict[str, Affine] = {}
    for node in nodes:
        if settings[node.name].precision != "int16":
            continue
        real = [
            name
            for name in node.inputs
            if name in statistics
            and graph.values[name].data is None
            and (name not in graph.producers or graph.producers[name].name not in chosen)
        ]
        for name in (*node.outputs, *real):
            if name in statistics:
                reach = max(-statistics[name].low, statistics[name].high)
                scale = max(reach / 16384.0, float(np.finfo(np.float32).tiny))
                found[name] = Affine.per_tensor(scale if reach > 0 else 1.0, 0)
    return found

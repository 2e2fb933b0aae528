# SPDX-License-Identifier: Apache-2.0
"""Centres channels: subtracts the middle of each channel's range from tensors without activation
and adds what that takes away to the biases of the layers that read them (Wei et al., Outlier
Suppression+, 2023)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Graph
from octavo.ops.attrs import clamp
from octavo.quantization.channel_ranges import ChannelRanges
from octavo.quantization.channels import LAYERS, groups_of, reads_depthwise
from octavo.quantization.equalized import Editor, read_shift
from octavo.quantization.rules import has_constant_weights

__all__ = ["centre"]

F64 = NDArray[np.float64]
#: What float16, in which shifts are written down, can hold.
_MOST_SHIFT = 60000.0


def _takes_shift(graph: Graph, name: str) -> bool:
    """Can every reader of a value undo a constant per channel? A padded convolution cannot: its
    border is 0, not the constant."""
    readers = graph.consumers.get(name, ())
    if name in graph.outputs or not readers:
        return False
    for node in readers:
        if node.op in LAYERS:
            padded = any(int(pad) for pad in node.attrs.get("pads", ()))
            if padded or node.inputs[0] != name or not has_constant_weights(graph, node):
                return False
            if groups_of(node) > 1 and not reads_depthwise(graph, node):
                return False
        elif node.op == "Add":
            alike = all(graph.values[n].shape == graph.values[name].shape for n in node.inputs)
            if clamp(node) is not None or not alike or not _takes_shift(graph, node.outputs[0]):
                return False
        else:
            return False
    return True


def centre(
    graph: Graph, ranges: dict[str, ChannelRanges], factors: Collection[str]
) -> tuple[Graph, dict[str, F64]]:
    """The graph with centred tensors, and what was subtracted by tensor; `ranges` become those of
    the new graph. `factors` are nodes Add whose constant may be anything."""
    shifts: dict[str, F64] = {}
    edit = Editor(graph)
    for node in graph.nodes:
        name = node.outputs[0]
        if node.op in LAYERS and has_constant_weights(graph, node):
            w = edit.get(node, 1)
            assert w is not None
            start = edit.get(node, 2)
            bias = np.zeros(len(w)) if start is None else start
            if node.inputs[0] in shifts:
                bias += read_shift(w, shifts[node.inputs[0]], reads_depthwise(graph, node))
            linear = clamp(node) is None and name in ranges
            if linear and ranges[name].low.size == len(w) and _takes_shift(graph, name):
                middle = _middle(ranges[name])
                if middle is not None:
                    shifts[name] = middle
                    bias -= middle
            if node.inputs[0] in shifts or name in shifts:
                edit.put(node, 2, bias)
        elif node.op == "Add" and node.name in factors:
            middle = _middle(ranges[name]) if name in ranges else None
            start = edit.get(node, 1)
            if middle is not None and start is not None and _takes_shift(graph, name):
                shifts[name] = middle
                edit.put(node, 1, start - middle)
        elif node.op == "Add" and any(n in shifts for n in node.inputs):
            shifts[name] = np.sum([shifts[n] for n in node.inputs if n in shifts], axis=0)
    for name, shift in shifts.items():
        if name in ranges:
            r = ranges[name]
            square = r.square - 2.0 * shift * r.mean + shift * shift
            ranges[name] = ChannelRanges(r.low - shift, r.high - shift, square, r.mean - shift)
    return edit.finish(), shifts


def _middle(r: ChannelRanges) -> F64 | None:
    """The middle of each channel's range, as it is written down; None where that cannot be."""
    middle = (r.low + r.high) / 2.0
    if np.abs(middle).max(initial=0.0) >= _MOST_SHIFT:
        return None
    return np.asarray(middle.astype(np.float16), np.float64)

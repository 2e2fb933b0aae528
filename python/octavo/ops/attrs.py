# SPDX-License-Identifier: Apache-2.0
"""Typed access to a node's attributes and operands, with errors that name the node."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from octavo.errors import GraphError, ShapeError
from octavo.ir import Node
from octavo.ops.base import Array

T = TypeVar("T")
Clamp = tuple[float, float]


def required(node: Node, items: Sequence[T | None], index: int) -> T:
    """Operand `index`, which the op cannot do without. Raises GraphError where it is absent."""
    item = items[index] if index < len(items) else None
    if item is None:
        raise GraphError(f"{node.label()}: input {index} is missing")
    return item


def optional(items: Sequence[T | None], index: int) -> T | None:
    """Operand `index`, or None where it is absent."""
    return items[index] if index < len(items) else None


def ints(node: Node, key: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
    """A list attribute. Raises GraphError where it is absent and has no default."""
    found = node.attrs.get(key, default)
    if found is None:
        raise GraphError(f"{node.label()}: attribute '{key}' is missing")
    return tuple(int(item) for item in found)


def number(node: Node, key: str, default: float | None = None) -> float:
    """A float attribute. Raises GraphError where it is absent and has no default."""
    found = node.attrs.get(key, default)
    if found is None:
        raise GraphError(f"{node.label()}: attribute '{key}' is missing")
    return float(found)


def axis(node: Node, rank: int, default: int = -1) -> int:
    """The attribute `axis`, counted from the front. Raises ShapeError outside [-rank, rank)."""
    found = int(node.attrs.get("axis", default))
    return normal_axis(node, found, rank)


def normal_axis(node: Node, found: int, rank: int) -> int:
    """An axis counted from the front. Raises ShapeError outside [-rank, rank)."""
    if not -rank <= found < rank:
        raise ShapeError(f"{node.label()}: axis {found} of a rank-{rank} tensor")
    return found % rank


def clamp(node: Node) -> Clamp | None:
    """The fused activation (lo, hi), if any."""
    found = node.attrs.get("clamp")
    return None if found is None else (float(found[0]), float(found[1]))


def clamp_floats(node: Node) -> Clamp:
    """The fused activation as the floats `lo hi` of a float step; unbounded where absent."""
    return clamp(node) or (-math.inf, math.inf)


def apply_clamp(node: Node, y: Array) -> Array:
    """The fused activation on real numbers; NaN stays NaN."""
    bounds = clamp(node)
    return y if bounds is None else np.clip(y, np.float32(bounds[0]), np.float32(bounds[1]))

# SPDX-License-Identifier: Apache-2.0
"""Every error Octavo raises on purpose. All derive from `OctavoError`, which is a `ValueError`.

A message names the node, tensor or field, the value found, and the way out.
"""

from __future__ import annotations

__all__ = [
    "FormatError",
    "GraphError",
    "InvalidArgumentError",
    "IsaError",
    "LimitError",
    "MissingExtraError",
    "OctavoError",
    "QuantizationError",
    "ShapeError",
    "StrictError",
    "UnsupportedError",
    "missing_extra",
]


class OctavoError(ValueError):
    """Base class of every error Octavo raises on purpose."""


class FormatError(OctavoError):
    """A file is not what it claims to be: wrong magic, truncated, damaged, trailing bytes."""


class UnsupportedError(OctavoError):
    """A legal model asks for something Octavo does not do: an operator, an attribute, a type."""


class GraphError(OctavoError):
    """The graph is not well formed: a cycle, a dangling input, a duplicate name."""


class QuantizationError(OctavoError):
    """A scale or zero point has no meaning: 0, negative, NaN, infinite, out of range."""


class ShapeError(OctavoError):
    """Shapes or ranks do not fit each other or the model."""


class LimitError(OctavoError):
    """Something is larger than the documented limits (docs/format.md)."""


class IsaError(OctavoError):
    """An instruction set is unknown, not built into this wheel, or not offered by this CPU."""


class InvalidArgumentError(OctavoError):
    """A call's argument is wrong: name, dtype, rank, memory order, byte order, writability."""


class StrictError(OctavoError):
    """`strict=True` and some step would run in float32; the message lists each with its reason."""


class MissingExtraError(OctavoError, ImportError):
    """An optional dependency is not installed; the message is the pip command that installs it."""


def missing_extra(extra: str, purpose: str) -> MissingExtraError:
    """The one-line error for an absent optional dependency, e.g. `missing_extra("onnx", ...)`."""
    return MissingExtraError(f"{purpose} needs an extra: pip install 'octavo[{extra}]'")

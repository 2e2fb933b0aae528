# SPDX-License-Identifier: Apache-2.0
"""The quantized network against its float reference, layer by layer, on the same inputs."""

from __future__ import annotations

from octavo.comparison.result import BROKEN_DB, Comparison, LayerError, OutputError
from octavo.comparison.truth import Reference
from octavo.comparison.walk import Progress, compare

__all__ = [
    "BROKEN_DB",
    "Comparison",
    "LayerError",
    "OutputError",
    "Progress",
    "Reference",
    "compare",
]

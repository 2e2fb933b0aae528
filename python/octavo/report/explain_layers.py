# SPDX-License-Identifier: Apache-2.0
"""One row for each executed step: what ran, how fast, how far from float, and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from octavo.analysis.diagnosis import Diagnosis
from octavo.comparison import Comparison
from octavo.session import LayerProfile

__all__ = ["explained_layers"]


def explained_layers(
    profile: Sequence[LayerProfile], comparison: Comparison, diagnosis: Diagnosis
) -> Iterator[dict[str, Any]]:
    """Rows in order of execution. A node of several steps has its errors at the last of them.
    `absent` maps the columns that are None to the reason."""
    errors = comparison.by_node()
    last = {layer.kernel.node: place for place, layer in enumerate(profile)}
    total = sum(layer.us for layer in profile) or 1.0
    for place, layer in enumerate(profile):
        kernel = layer.kernel
        error = errors.get(kernel.node) if last[kernel.node] == place else None
        absent: dict[str, str] = {}
        if error is None:
            why = (
                "measured at the node's last step"
                if last[kernel.node] != place
                else "the float network has no such tensor"
            )
            absent |= dict.fromkeys(("sqnr_db", "own_db", "saturated", "max_abs", "cosine"), why)
        else:
            if error.own_db is None:
                absent["own_db"] = "the layer's float function is not known"
            if error.saturated is None:
                absent["saturated"] = "a float tensor has no range"
        if layer.gmacs is None:
            absent["gmacs"] = absent["share_of_peak"] = "no multiply-accumulates"
        elif layer.share_of_peak is None:
            absent["share_of_peak"] = "the peak is known for int8 only"
        yield {
            "step": kernel.step,
            "layer": kernel.node,
            "op": error.op if error else kernel.op,
            "kernel": kernel.kernel,
            "isa": kernel.isa,
            "precision": kernel.precision,
            "us": layer.us,
            "us_median": layer.us_median,
            "share_of_time": layer.us / total,
            "macs": kernel.macs,
            "gmacs": layer.gmacs,
            "share_of_peak": layer.share_of_peak,
            "bytes": kernel.bytes,
            "threads": kernel.threads,
            "inputs": list(kernel.inputs),
            "outputs": list(kernel.outputs),
            "sqnr_db": error.sqnr_db if error else None,
            "own_db": error.own_db if error else None,
            "exact": bool(error and math.isinf(error.sqnr_db) and error.sqnr_db > 0),
            "saturated": error.saturated if error else None,
            "max_abs": error.max_abs if error else None,
            "cosine": error.cosine if error else None,
            "reason": kernel.reason,
            "findings": [
                number
                for number, found in enumerate(diagnosis.findings)
                if found.node == kernel.node
            ],
            "absent": absent,
        }

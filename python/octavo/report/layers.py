# SPDX-License-Identifier: Apache-2.0
"""The table of layers: what ran where, how fast, how far from the float reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from octavo.comparison import LayerError
from octavo.report.table import Column, bar, render
from octavo.session import LayerProfile

__all__ = ["layer_rows", "layer_table", "render_layers"]

_COLUMNS = (
    Column("layer", width=30),
    Column("op", width=14),
    Column("kernel", width=30),
    Column("precision"),
    Column("µs", right=True),
    Column("time"),
    Column("GMAC/s", right=True),
    Column("of peak", right=True),
    Column("SQNR dB", right=True),
)


def layer_rows(
    profile: Sequence[LayerProfile], errors: Mapping[str, LayerError] | None = None
) -> list[dict[str, Any]]:
    """One plain dict per step, for JSON. `errors` maps node names to their distance from float."""
    rows = []
    for layer in profile:
        error = (errors or {}).get(layer.kernel.node)
        rows.append(
            {
                "layer": layer.kernel.node,
                "op": layer.kernel.op,
                "kernel": layer.kernel.kernel,
                "isa": layer.kernel.isa,
                "precision": layer.kernel.precision,
                "us": layer.us,
                "us_median": layer.us_median,
                "macs": layer.kernel.macs,
                "bytes": layer.kernel.bytes,
                "threads": layer.kernel.threads,
                "inputs": list(layer.kernel.inputs),
                "outputs": list(layer.kernel.outputs),
                "gmacs": layer.gmacs,
                "share_of_peak": layer.share_of_peak,
                "sqnr_db": error.sqnr_db if error else None,
                "saturated": error.saturated if error else None,
                "reason": layer.kernel.reason,
            }
        )
    return rows


def layer_table(
    profile: Sequence[LayerProfile], errors: Mapping[str, LayerError] | None = None
) -> str:
    """`render_layers` of a profile; the last column stands there only with `errors`."""
    return render_layers(layer_rows(profile, errors), errors=errors is not None)


def render_layers(rows: Sequence[Mapping[str, Any]], *, errors: bool = False) -> str:
    """Rows of `layer_rows` as a terminal table, with a bar for each step's share of the time."""
    total = sum(row["us"] for row in rows) or 1.0

    def number(value: float | None, pattern: str) -> str:
        return "" if value is None else "∞" if math.isinf(value) else pattern.format(value)

    cells = [
        [
            row["layer"],
            row["op"],
            row["kernel"],
            row["precision"],
            f"{row['us']:.2f}",
            bar(row["us"] / total, 8),
            number(row["gmacs"], "{:.1f}"),
            number(row["share_of_peak"] and 100 * row["share_of_peak"], "{:.0f} %"),
            number(row["sqnr_db"], "{:.1f}"),
        ]
        for row in rows
    ]
    shown = len(_COLUMNS) if errors else len(_COLUMNS) - 1
    return render(_COLUMNS[:shown], [row[:shown] for row in cells])

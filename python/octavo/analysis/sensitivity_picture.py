# SPDX-License-Identifier: Apache-2.0
"""Sensitivity as a picture: every layer in order of rank, alone and left out."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from octavo.analysis.picture import new_figure, save_figure

if TYPE_CHECKING:
    from octavo.analysis.sensitivity import Sensitivity

__all__ = ["draw"]

_SHOWN = 40


def draw(found: Sensitivity, path: str | os.PathLike[str]) -> Path:
    """Writes the picture; the ending decides the format."""
    rows = found.layers[:_SHOWN]
    figure, axes = new_figure(7.5, 1.2 + 0.2 * max(4, len(rows)))
    places = list(range(len(rows)))
    only = [math.nan if row.only is None else row.only.sqnr_db for row in rows]
    without = [math.nan if row.without is None else row.without.sqnr_db for row in rows]
    own = [math.nan if row.own_db is None else row.own_db for row in rows]
    series = (
        ("only this layer in 8 bits", "#d9782d", only),
        ("all but this layer", "#3b6ea5", without),
        ("its own output", "#9a9a9a", own),
    )
    for title, colour, figures in series:
        points = [(y, db) for y, db in zip(places, figures, strict=True) if math.isfinite(db)]
        if points:
            heights, widths = zip(*points, strict=True)
            axes.plot(widths, heights, "o", color=colour, label=title, markersize=4)
    if math.isfinite(found.int8.sqnr_db):
        axes.axvline(found.int8.sqnr_db, color="#3b6ea5", linewidth=0.8, label="all in 8 bits")
    axes.set_yticks(places, [row.node for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="x", linewidth=0.3)
    axes.set_xlabel("SQNR in dB, more is better")
    axes.set_title(f"{found.model}: layers, worst first", fontsize=10)
    axes.legend(fontsize=7, loc="lower right")
    return save_figure(figure, path)

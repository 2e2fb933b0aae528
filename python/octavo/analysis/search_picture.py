# SPDX-License-Identifier: Apache-2.0
"""A search as a picture: SQNR over latency, and the Pareto set in it."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from octavo.analysis.picture import new_figure, save_figure

if TYPE_CHECKING:
    from octavo.analysis.search_result import SearchResult

__all__ = ["draw"]


def draw(found: SearchResult, path: str | os.PathLike[str]) -> Path:
    """Writes the picture; the ending decides the format."""
    figure, axes = new_figure(6.5, 4.5)
    tried = [(ms, db) for _, db, ms in found.measured if math.isfinite(db)]
    if tried:
        axes.plot(*zip(*tried, strict=True), "o", color="#c8c8c8", markersize=3, label="trials")
    front = [(c.latency_ms, c.score.sqnr_db) for c in found.pareto]
    front = [point for point in front if math.isfinite(point[1])]
    if front:
        axes.plot(*zip(*front, strict=True), "o-", color="#d9782d", markersize=5, label="Pareto")
    for candidate, title, colour in (
        (found.start, "start recipe", "#3b6ea5"),
        (found.best, "best", "#222222"),
    ):
        if math.isfinite(candidate.score.sqnr_db):
            point = (candidate.latency_ms, candidate.score.sqnr_db)
            axes.plot(*point, "D", color=colour, label=title, markersize=6, fillstyle="none")
    limit = found.limits.latency_ms
    axes.axvline(found.float32.latency_ms, color="#9a9a9a", linestyle=":", label="float32")
    if limit is not None:
        axes.axvline(limit, color="#b03030", linewidth=0.8, label="limit")
    axes.set_xlabel("milliseconds per inference on this CPU")
    axes.set_ylabel("SQNR of the outputs in dB")
    axes.set_title(f"{found.model}: {found.trials} trials", fontsize=10)
    axes.grid(linewidth=0.3)
    axes.legend(fontsize=8)
    return save_figure(figure, path)

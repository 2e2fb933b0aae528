# SPDX-License-Identifier: Apache-2.0
"""What `search` found: candidates, the Pareto set, the best one, and what was not met."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from octavo.analysis.metrics import METRICS
from octavo.analysis.pareto import pareto_front
from octavo.analysis.trials import Score
from octavo.files import write_atomic
from octavo.quantization.recipe import Recipe

__all__ = ["Candidate", "Limits", "SearchResult", "choose"]

_FORMAT, _VERSION = "octavo-search", 1
#: Latencies closer than this are the same: what measuring can tell apart.
SAME = 0.01
#: A smaller gain is no reason to leave the start: on 64 images of SqueezeNet 0.2 dB were won, and
#: on others 0.25 dB lost (docs/search.md).
_GAIN_DB = 0.5


@dataclass(frozen=True)
class Candidate:
    """A recipe as measured: outputs, milliseconds of one inference on this CPU, and that over the
    start recipe's in the same minute; `layers` counts precisions."""

    recipe: Recipe = field(repr=False)
    score: Score
    latency_ms: float
    relative: float
    layers: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        db = self.score.sqnr_db
        return {
            "metric": self.score.metric if math.isfinite(self.score.metric) else None,
            "sqnr_db": db if math.isfinite(db) else None,
            "latency_ms": self.latency_ms,
            "relative_latency": self.relative,
            "bytes": self.score.bytes,
            "layers": self.layers,
            "recipe": self.recipe.to_dict(),
        }


@dataclass(frozen=True)
class Limits:
    """`metric` is the least that is allowed; milliseconds and bytes the most; None for no limit."""

    metric: float | None
    latency_ms: float | None
    bytes: int | None

    def missed(self, candidate: Candidate) -> dict[str, float]:
        """Limit -> by how much it is missed, as a share of the limit."""
        found = {}
        if self.metric is not None and not candidate.score.metric >= self.metric:
            lack = self.metric - candidate.score.metric
            found["metric"] = lack / max(abs(self.metric), 1e-9) if math.isfinite(lack) else 1.0
        if self.latency_ms is not None and candidate.latency_ms > self.latency_ms:
            found["latency"] = candidate.latency_ms / self.latency_ms - 1.0
        if self.bytes is not None and candidate.score.bytes > self.bytes:
            found["bytes"] = candidate.score.bytes / self.bytes - 1.0
        return found

    def explain(self, candidate: Candidate, name: str) -> tuple[str, ...]:
        """A sentence per missed limit."""
        missed = self.missed(candidate)
        texts = {
            "metric": f"{name} is {candidate.score.metric:.4g}, at least {self.metric} was asked",
            "latency": f"latency is {candidate.latency_ms:.4g} ms, at most {self.latency_ms} ms",
            "bytes": f"size is {candidate.score.bytes:,} bytes, at most {self.bytes} were asked",
        }
        return tuple(
            f"{texts[limit]} ({100 * share:.1f} % missing)" for limit, share in missed.items()
        )


@dataclass(frozen=True)
class SearchResult:
    """`pareto`: measured recipes that no other beats in metric, SQNR and latency (and bytes, where
    limited), fastest first; `start` the recipe searched from; `best` the one to take; `unmet` what
    even that one misses, and by how much: empty where all limits are met."""

    model: str
    metric: str
    limits: Limits
    float32: Candidate
    start: Candidate
    pareto: tuple[Candidate, ...]
    best: Candidate
    unmet: tuple[str, ...]
    trials: int
    measured: tuple[tuple[float, float, float], ...] = field(repr=False, default=())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "model": self.model,
            "metric": self.metric,
            "limits": {
                "least_metric": self.limits.metric,
                "max_latency_ms": self.limits.latency_ms,
                "max_bytes": self.limits.bytes,
            },
            "trials": self.trials,
            "float32": self.float32.to_dict(),
            "start": self.start.to_dict(),
            "best": self.best.to_dict(),
            "unmet": list(self.unmet),
            "pareto": [candidate.to_dict() for candidate in self.pareto],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes everything as JSON, atomically; single recipes: `.best.recipe.save(path)`."""
        write_atomic(path, (json.dumps(self.to_dict(), indent=2) + "\n").encode())

    def save_picture(self, path: str | os.PathLike[str]) -> Path:
        """Draws quality over latency as PNG, SVG or PDF, by the ending. Needs the extra
        `octavo[report]`."""
        from octavo.analysis.search_picture import draw

        return draw(self, path)


def choose(
    candidates: Sequence[Candidate], start: Candidate, limits: Limits, name: str
) -> tuple[tuple[Candidate, ...], Candidate, tuple[str, ...]]:
    """(Pareto set, best, unmet). The best is the fastest that meets the limits where the metric is
    limited; else the most accurate that meets them; without limits, the most accurate that is not
    slower than the start, if it gains 0.5 dB on it. Where none meets them, the one that misses
    least."""
    points = [
        (
            -c.score.metric,
            -c.score.sqnr_db,
            *([c.score.bytes] if limits.bytes is not None else []),
            c.latency_ms,
        )
        for c in candidates
    ]
    front = tuple(candidates[i] for i in pareto_front(points))
    meeting = [c for c in front if not limits.missed(c)]
    if not meeting:
        nearest = min(front, key=lambda c: sum(limits.missed(c).values()))
        return front, nearest, limits.explain(nearest, name)

    def quality(c: Candidate) -> tuple[float, float]:
        return (c.score.metric, c.score.sqnr_db)

    if limits.metric is not None:
        return front, min(meeting, key=lambda c: c.latency_ms), ()
    if limits.latency_ms is None and limits.bytes is None:
        meeting = [c for c in meeting if c.relative <= start.relative * (1 + SAME)] or meeting
        best = max(meeting, key=quality)
        gained = best.score.sqnr_db - start.score.sqnr_db
        return front, start if name in METRICS and gained < _GAIN_DB else best, ()
    return front, max(meeting, key=quality), ()

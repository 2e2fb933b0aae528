# SPDX-License-Identifier: Apache-2.0
"""Two reports of the same suite: what became slower, beyond what repeating would show anyway."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from octavo.benchmark.results import OCTAVO, ModelResult, Report
from octavo.errors import InvalidArgumentError
from octavo.report.table import Column, render, style

__all__ = ["Change", "compare_reports", "render_changes"]

# Two runs of the same binary differ by 2 to 3 % where code and data happen to lie.
_FLOOR = 0.03

_COLUMNS = (
    Column("model", width=26),
    Column("threads", right=True),
    Column("runtime"),
    Column("old ms", right=True),
    Column("new ms", right=True),
    Column("old / new", right=True),
    Column("noise", right=True),
    Column("peers", right=True),
    Column("verdict"),
)


@dataclass(frozen=True)
class Change:
    """One runtime on one model. `ratio` is old / new of the fastest calls: below 1, it became
    slower. `noise` is the relative change that proves nothing. `drift` is the same ratio of the
    unchanged peers (geometric mean): how the machine itself changed; None without any."""

    model: str
    threads: int
    runtime: str
    old_ms: float
    new_ms: float
    noise: float
    drift: float | None
    same_file: bool

    @property
    def ratio(self) -> float:
        """old / new: above 1, faster."""
        return self.old_ms / self.new_ms

    def _beyond(self, ratio: float) -> int:
        """1 faster, -1 slower, 0 within the noise."""
        return (ratio > 1 + self.noise) - (ratio < 1 / (1 + self.noise))

    @property
    def verdict(self) -> str:
        """Faster or slower only if it holds on the clock and against the unchanged peers."""
        raw = self._beyond(self.ratio)
        against_peers = raw if self.drift is None else self._beyond(self.ratio / self.drift)
        if raw != against_peers:
            return "unclear"
        return {1: "faster", -1: "SLOWER", 0: "same"}[raw]


def _pairs(old: Report, new: Report) -> list[tuple[ModelResult, ModelResult]]:
    before = {(m.model, m.threads): m for m in old.models}
    found = [(before.get((m.model, m.threads)), m) for m in new.models]
    return [(left, right) for left, right in found if left is not None]


def _check(old: Report, new: Report) -> None:
    for what in ("cpu", "cpus", "isa"):
        if old.machine[what] != new.machine[what]:
            raise InvalidArgumentError(
                f"the reports come from different machines ({what}: {old.machine[what]!r} and "
                f"{new.machine[what]!r}); --compare-anyway compares them all the same"
            )
    for what in ("bound", "isa", "tune"):
        if old.settings.get(what) != new.settings.get(what):
            raise InvalidArgumentError(
                f"the reports were measured with different settings ({what}: "
                f"{old.settings.get(what)!r} and {new.settings.get(what)!r}); --compare-anyway "
                "compares them all the same"
            )
    if not set(old.threads) >= set(new.threads):
        raise InvalidArgumentError(
            f"the reports have different thread counts ({old.threads} and {new.threads}); "
            "--compare-anyway compares those that both have"
        )


def compare_reports(old: Report, new: Report, *, anyway: bool = False) -> list[Change]:
    """Every (model, threads, runtime) that both timed.

    The noise of a pair is the larger spread of the two (median over rounds of a round's best,
    relative to the best of all), at least 3 %.

    Raises:
        InvalidArgumentError: other machine, settings or thread counts, unless `anyway`; or the
            reports have nothing in common.
    """
    if not anyway:
        _check(old, new)
    changes = []
    for before, after in _pairs(old, new):
        shared = [name for name in after.timings if name in before.timings]
        unchanged = [
            before.timings[name].min_ms / after.timings[name].min_ms
            for name in shared
            if name != OCTAVO and old.versions.get(name) == new.versions.get(name)
        ]
        drift = statistics.geometric_mean(unchanged) if unchanged else None
        for name in shared:
            left, right = before.timings[name], after.timings[name]
            changes.append(
                Change(
                    after.model,
                    after.threads,
                    name,
                    left.min_ms,
                    right.min_ms,
                    max(_FLOOR, left.spread, right.spread),
                    drift if name == OCTAVO else None,
                    before.sha256 == after.sha256,
                )
            )
    if not changes:
        raise InvalidArgumentError("the reports have no model, thread count and runtime in common")
    return changes


def regressions(changes: list[Change]) -> list[Change]:
    """Where Octavo became slower."""
    return [c for c in changes if c.runtime == OCTAVO and c.verdict == "SLOWER"]


def render_changes(changes: list[Change]) -> str:
    """The table, then the geometric mean of Octavo's ratios and each regression by how much."""
    rows = [
        [
            c.model,
            str(c.threads),
            c.runtime,
            f"{c.old_ms:.4f}",
            f"{c.new_ms:.4f}",
            f"{c.ratio:.3f}",
            f"±{100 * c.noise:.0f} %",
            "" if c.drift is None else f"{c.drift:.3f}",
            c.verdict + ("" if c.same_file else " (other file)"),
        ]
        for c in changes
    ]
    lines = [render(_COLUMNS, rows)]
    own = [c.ratio for c in changes if c.runtime == OCTAVO]
    if own:
        lines.append(f"octavo, old / new: geometric mean {statistics.geometric_mean(own):.3f}")
    for change in regressions(changes):
        percent = 100 * (1 / change.ratio - 1)
        lines.append(
            style("SLOWER", "red") + f" {change.model}, {change.threads} thread(s): "
            f"+{percent:.1f} % ({change.old_ms:.4f} to {change.new_ms:.4f} ms)"
        )
    return "\n".join(lines)

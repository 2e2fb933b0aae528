# SPDX-License-Identifier: Apache-2.0
"""What a benchmark finds out, as plain data; `Report.document()` is the JSON (docs/bench.md)."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from octavo.benchmark.agreement import Agreement
from octavo.benchmark.load import Load
from octavo.benchmark.runtimes import OctavoRuntime
from octavo.benchmark.timing import Timing
from octavo.errors import FormatError, InvalidArgumentError
from octavo.files import write_atomic

__all__ = ["ModelResult", "Report", "RuntimeResult", "merge", "read_report"]

SCHEMA = "octavo-bench"
VERSION = 1
OCTAVO = OctavoRuntime.name


@dataclass
class RuntimeResult:
    """One runtime on one model; `failure` says why it could not run. A witness has no timing.
    `note` qualifies the comparison, e.g. that other weights were used; `unread`: the runtime does
    not read files of this format, as `note` says."""

    timing: Timing | None = None
    gmacs_per_s: float | None = None
    peak_share: float | None = None
    precision: dict[str, int] = field(default_factory=dict)
    agreement: Agreement | None = None
    note: str | None = None
    unread: bool = False
    failure: str | None = None


@dataclass
class ModelResult:
    """One model with one thread count on every runtime. Ratios are best peer / octavo: above 1,
    octavo is faster. `loads` maps a runtime (and "octavo .octavo") to its load figures, `layers`
    holds a row per step of octavo, `bytes` its memory."""

    model: str
    threads: int
    macs: int | None = None
    sha256: str | None = None
    peak_gmacs_per_s: float | None = None
    best_peer: str | None = None
    ratio_min: float | None = None
    ratio_median: float | None = None
    runtimes: dict[str, RuntimeResult] = field(default_factory=dict)
    loads: dict[str, Load] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None

    @property
    def timings(self) -> dict[str, Timing]:
        """The runtimes that were timed, octavo first."""
        return {name: r.timing for name, r in self.runtimes.items() if r.timing is not None}

    def derive(self) -> None:
        """Fill in rates (from the fastest call), the best peer and the ratios. A peak is one of
        int8 arithmetic, so that only runtimes that computed in int8 have a share of it."""
        for name, timing in self.timings.items():
            entry = self.runtimes[name]
            if self.macs:
                entry.gmacs_per_s = self.macs / timing.min_ms / 1e6
            if entry.gmacs_per_s and self.peak_gmacs_per_s and set(entry.precision) == {"int8"}:
                entry.peak_share = entry.gmacs_per_s / (self.peak_gmacs_per_s * self.threads)
        peers = self.timings
        own = peers.pop(OCTAVO, None)
        if own is None or not peers:
            return
        self.best_peer = min(peers, key=lambda name: peers[name].min_ms)
        self.ratio_min = peers[self.best_peer].min_ms / own.min_ms
        self.ratio_median = min(t.median_ms for t in peers.values()) / own.median_ms


@dataclass
class Report:
    """A whole run. `limits`: GB/s of one core that the roofline draws."""

    command: list[str]
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    runtime_settings: dict[str, str]
    not_run: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    models: list[ModelResult] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Some model or runtime that was asked for and is installed gave no figures."""
        return any(m.failure or any(r.failure for r in m.runtimes.values()) for m in self.models)

    @property
    def threads(self) -> list[int]:
        """Thread counts that were measured, ascending."""
        return sorted({model.threads for model in self.models})

    def geomean(self, threads: int, ratio: str = "ratio_min") -> float | None:
        """Geometric mean of the models' ratios with that many threads; None without any."""
        found = [getattr(m, ratio) for m in self.models if m.threads == threads]
        ratios = [value for value in found if value is not None]
        return statistics.geometric_mean(ratios) if ratios else None

    def document(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return {"schema": SCHEMA, "version": VERSION, **asdict(self)}

    def write(self, path: Path) -> None:
        """Write the JSON, atomically. Raises InvalidArgumentError unless the name ends in .json:
        a model's name in that place would be overwritten."""
        if path.suffix != ".json":
            raise InvalidArgumentError(f"report '{path}': the name must end in .json")
        write_atomic(path, (json.dumps(self.document(), indent=1) + "\n").encode())


def read_report(path: Path) -> Report:
    """A report as `Report.write` left it.

    Raises:
        InvalidArgumentError: there is no such file.
        FormatError: it is not a report of this schema and version.
    """
    if not path.is_file():
        raise InvalidArgumentError(f"no such file: '{path}'")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, version = found.pop("schema"), found.pop("version")
        if (name, version) != (SCHEMA, VERSION):
            raise FormatError(f"'{path}': schema {name} {version}; known: {SCHEMA} {VERSION}")
        models = [_model(entry) for entry in found.pop("models")]
        return Report(models=models, **found)
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"'{path}' is not a report of octavo bench: {error}") from error


def _model(entry: dict[str, Any]) -> ModelResult:
    runtimes = {name: _runtime(r) for name, r in entry.pop("runtimes").items()}
    loads = {name: Load(**figures) for name, figures in entry.pop("loads").items()}
    return ModelResult(runtimes=runtimes, loads=loads, **entry)


def _runtime(entry: dict[str, Any]) -> RuntimeResult:
    timing, found = entry.pop("timing"), entry.pop("agreement")
    if timing is not None:
        timing["rounds_ms"] = [(low, mid) for low, mid in timing["rounds_ms"]]
    return RuntimeResult(
        timing=Timing(**timing) if timing else None,
        agreement=Agreement(**found) if found else None,
        **entry,
    )


def merge(reports: list[Report]) -> Report:
    """Reports of pieces of one suite as one; of a (model, threads) measured twice the last counts.

    Raises:
        InvalidArgumentError: they come from different machines or versions.
    """
    first = reports[0]
    models: dict[tuple[str, int], ModelResult] = {}
    for report in reports:
        for what in ("cpu", "cpus", "isa"):
            if report.machine[what] != first.machine[what]:
                raise InvalidArgumentError(
                    f"reports of different machines: {what} {first.machine[what]!r} and "
                    f"{report.machine[what]!r}"
                )
        for name in first.versions.keys() & report.versions.keys():
            if report.versions[name] != first.versions[name]:
                raise InvalidArgumentError(
                    f"reports of different versions: {name} {first.versions[name]} and "
                    f"{report.versions[name]}"
                )
        models.update({(m.model, m.threads): m for m in report.models})
    return Report(
        command=first.command,
        settings=first.settings,
        machine=first.machine,
        versions={k: v for r in reports for k, v in r.versions.items()},
        runtime_settings={k: v for r in reports for k, v in r.runtime_settings.items()},
        not_run={k: v for r in reports for k, v in r.not_run.items()},
        limits={k: max(r.limits.get(k, 0.0) for r in reports) for k in first.limits},
        models=list(models.values()),
    )

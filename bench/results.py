# SPDX-License-Identifier: Apache-2.0
"""What a run of `bench.models` finds out, as plain data; `dataclasses.asdict` of it is the JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench.runtimes import OctavoRuntime, Outputs
from bench.timing import Timing


@dataclass(frozen=True)
class Agreement:
    """Outputs of two runtimes on the same inputs.

    `equal` is the share of values on the same quantization level (bit-equal where an output does
    not come from 8 bits); `max_steps` the largest difference in levels. A maximum is None where
    there is no step, or a value is not finite.
    """

    equal: float
    max_steps: float | None
    max_abs: float | None


def agreement(
    expected: list[Outputs], actual: list[Outputs], steps: Mapping[str, float | None]
) -> Agreement:
    """Compare the outputs of two runtimes, one dict per input.

    Raises:
        ValueError: a shape differs, or there is nothing to compare.
    """
    equal = total = 0
    differences: list[float] = []
    levels: list[float] = []
    for left, right in zip(expected, actual, strict=True):
        for name, a in left.items():
            b = right[name]
            if a.shape != b.shape:
                raise ValueError(f"output {name!r}: shapes {a.shape} and {b.shape} differ")
            difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
            step = steps[name]
            # Runtimes dequantize with different roundings of the same level: compare levels.
            same = a == b if step is None else np.rint(difference / step) == 0
            equal += int(np.count_nonzero(same))
            total += a.size
            differences.append(float(difference.max(initial=0.0)))
            if step is not None:
                levels.append(float(np.rint(difference / step).max(initial=0.0)))
    if total == 0:
        raise ValueError("there are no output values to compare")
    return Agreement(equal / total, _finite_max(levels), _finite_max(differences))


def _finite_max(values: list[float]) -> float | None:
    return max(values) if values and np.isfinite(values).all() else None


@dataclass
class RuntimeResult:
    """One runtime on one model; `failure` says why it could not run. A witness has no timing."""

    timing: Timing | None = None
    gmacs_per_s: float | None = None
    peak_share: float | None = None
    agreement: Agreement | None = None
    failure: str | None = None


@dataclass
class ModelResult:
    """One model on every runtime. Ratios are best peer / octavo: above 1, octavo is faster."""

    model: str
    macs: int | None = None
    sha256: str | None = None
    peak_gmacs_per_s: float | None = None
    best_peer: str | None = None
    ratio_median: float | None = None
    ratio_min: float | None = None
    reference: str | None = None
    runtimes: dict[str, RuntimeResult] = field(default_factory=dict)
    failure: str | None = None

    def derive(self, threads: int) -> None:
        """Fill in rates, the best peer (by median) and the ratios from the timings."""
        ran = {name: r.timing for name, r in self.runtimes.items() if r.timing is not None}
        for name, timing in ran.items():
            entry = self.runtimes[name]
            if self.macs is not None:
                entry.gmacs_per_s = self.macs / timing.median_ms / 1e6
            if entry.gmacs_per_s is not None and self.peak_gmacs_per_s is not None:
                entry.peak_share = entry.gmacs_per_s / (self.peak_gmacs_per_s * threads)
        own = ran.pop(OctavoRuntime.name, None)
        if own is None or not ran:
            return
        self.best_peer = min(ran, key=lambda name: ran[name].median_ms)
        self.ratio_median = ran[self.best_peer].median_ms / own.median_ms
        self.ratio_min = min(t.min_ms for t in ran.values()) / own.min_ms


@dataclass
class Report:
    """A whole run."""

    command: list[str]
    settings: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    not_run: dict[str, str]
    models: list[ModelResult] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Some model or runtime that was asked for and is installed gave no figures."""
        return any(m.failure or any(r.failure for r in m.runtimes.values()) for m in self.models)


def machine_info(cpu_info: Mapping[str, Any] | None) -> dict[str, Any]:
    """CPU, cores, system and load; `cpu_info` is octavo's own view, if it is installed."""
    brand = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        brand = next((x.split(":", 1)[1].strip() for x in lines if x[:10] == "model name"), brand)
    return {
        "cpu": brand,
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "octavo_cpu_info": dict(cpu_info) if cpu_info is not None else None,
    }


def package_versions(runtimes: Mapping[str, str]) -> dict[str, str]:
    """Versions of the runtimes and of the packages that prepare their input."""
    return {**runtimes, **{name: metadata.version(name) for name in ("numpy", "onnx")}}

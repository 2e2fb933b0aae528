# SPDX-License-Identifier: Apache-2.0
"""Load time and memory, each measured in fresh processes: one that has done nothing else gives an
honest resident size, and the first load pays what users pay."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import octavo
from octavo.benchmark.runtimes import Feed, Runtime

__all__ = ["Load", "measure_load"]

_TIMEOUT = 300


@dataclass(frozen=True)
class Load:
    """Of some fresh processes with the file in the page cache: `import_ms` of the package (NumPy
    there already) and `load_ms` from the file's name to the first outputs, both the fastest;
    resident bytes that loading and the first run added (median), at the end and at most. None where
    the system does not tell."""

    import_ms: float
    load_ms: float
    resident_bytes: int | None
    peak_bytes: int | None
    repeats: int


def measure_load(
    runtime: Runtime, path: Path, feed: Feed, *, threads: int, isa: str | None, repeats: int
) -> Load:
    """Start `repeats` processes that load `path` and run `feed` once.

    Raises:
        RuntimeError: the process failed (the message is the last line it wrote) or took too long.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        arrays: dict[str, Any] = {f"array{i}": array for i, array in enumerate(feed.values())}
        np.savez(inputs, **arrays)
        request = {
            "runtime": runtime.name,
            "package": runtime.package,
            "path": str(path),
            "inputs": str(inputs),
            "names": list(feed),
            "threads": threads,
            "isa": isa,
        }
        found = [_in_a_process(request) for _ in range(repeats)]

    def median(key: str) -> int | None:
        values = [one[key] for one in found]
        return None if None in values else int(statistics.median(values))

    return Load(
        import_ms=min(one["import_ms"] for one in found),
        load_ms=min(one["load_ms"] for one in found),
        resident_bytes=median("resident_bytes"),
        peak_bytes=median("peak_bytes"),
        repeats=repeats,
    )


def _in_a_process(request: Mapping[str, Any]) -> dict[str, Any]:
    package = str(Path(octavo.__file__).parents[1])
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([package, inherited] if inherited else [package])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "octavo.benchmark.probe", json.dumps(request)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            env={**os.environ, "PYTHONPATH": path},
        )
    except subprocess.TimeoutExpired as error:
        name = request["runtime"]
        raise RuntimeError(f"{name} in a fresh process: no result in {_TIMEOUT} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{request['runtime']} in a fresh process: {lines[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer

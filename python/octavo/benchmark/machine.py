# SPDX-License-Identifier: Apache-2.0
"""The machine of a measurement: what it is, and how fast it moves bytes."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from octavo.session import cpu_info

__all__ = ["Bandwidth", "machine_info", "measure_bandwidth", "resident_bytes"]

_REPEATS = 5
_SECONDS = 0.02


@dataclass(frozen=True)
class Bandwidth:
    """Bytes read and written per ns (GB/s) by one core, working sets in L2 and in memory."""

    l2: float
    memory: float


def machine_info() -> dict[str, Any]:
    """CPU, how many there are and this process may use, system and load."""
    info = cpu_info()
    return {
        "cpu": info["brand"],
        "cpus": os.cpu_count(),
        "usable_cpus": info["cpus"],
        "isa": info["best_isa"],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def measure_bandwidth() -> Bandwidth:
    """What NumPy's vectorized float32 addition (two reads, one write) and int32 maximum (one read)
    reach, the better of both: a lower bound of what the machine can do."""
    info = cpu_info()
    l2, l3 = int(info["l2"]) or 1 << 19, int(info["l3"]) or 1 << 25
    # Three quarters of L2, so that nothing is evicted; four times L3, so that nothing stays.
    return Bandwidth(_rate(3 * l2 // 4), _rate(min(4 * l3, 1 << 27)))


def _rate(total_bytes: int) -> float:
    count = total_bytes // 12
    a, b, out = (np.ones(count, np.float32) for _ in range(3))
    ints = np.ones(3 * count, np.int32)
    adding = 12 * count / _fastest(lambda: np.add(a, b, out=out))
    return max(adding, ints.nbytes / _fastest(ints.max))


def _fastest(call: Callable[[], object]) -> float:
    """ns of the fastest call; as many as fit in a few hundredths of a second, at least five."""
    best = float("inf")
    end = time.perf_counter() + _SECONDS
    done = 0
    while done < _REPEATS or time.perf_counter() < end:
        start = time.perf_counter_ns()
        call()
        best = min(best, time.perf_counter_ns() - start)
        done += 1
    return best


def resident_bytes() -> tuple[int, int] | None:
    """(resident now, resident at most so far) of this process; None where /proc does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            lines = dict(line.split(":", 1) for line in status if ":" in line)
        return tuple(1024 * int(lines[key].split()[0]) for key in ("VmRSS", "VmHWM"))  # type: ignore[return-value]
    except (OSError, KeyError, ValueError):
        return None

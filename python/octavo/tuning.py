# SPDX-License-Identifier: Apache-2.0
"""Choice of kernels by measurement, for `Model.compile(tune=...)`.

Every kernel that can run a step gives the same bits (docs/numerics.md), so a choice can be wrong
about time only.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from octavo import __version__, _core
from octavo.errors import FormatError, InvalidArgumentError
from octavo.files import write_atomic

__all__ = ["choose_kernels", "tuner_for"]

_BUDGET_NS = 3_000_000  # per step and all its kernels
_FORMAT = "octavo-tuning-1"

# isa/threads/signature -> kernel -> fastest microseconds, measured in this process or read from a
# file of this CPU and version.
_Times = dict[str, dict[str, float]]
_measured: _Times = {}
_lock = threading.Lock()


def choose_kernels(
    plan: Any, isa: str | None, threads: int, file: str | os.PathLike[str] | None = None
) -> list[str]:
    """The fastest kernel of each step, "" where there is no choice.

    Steps that were measured before in this process, or whose times are in `file`, are not measured
    again; `file` is then written with what was added. A file of another CPU or octavo version is
    measured anew and replaced. Raises FormatError for a file that is not of this kind,
    InvalidArgumentError when it cannot be written.
    """
    path = None if file is None else Path(file)
    known: _Times = {} if path is None else _read(path)
    with _lock:
        known = {**_measured, **known}
    choices = [""] * len(plan.steps)
    used: _Times = {}
    for step, signature, kernels in _core.tunable_steps(plan, isa, threads):
        key = f"{isa or _core.cpu_info()['best_isa']}/{threads}/{signature}"
        times = known.get(key, {})
        if times.keys() != set(kernels):
            timed = _core.time_kernels(plan, step, isa, threads, _BUDGET_NS)
            times = {name: ns / 1000 for name, ns in timed}
        used[key] = known[key] = times
        choices[step] = min(times, key=lambda name: times[name])
    with _lock:
        _measured.update(used)
    if path is not None:
        _write(path, {**_read(path), **used})
    return choices


def tuner_for(tune: object) -> Callable[[Any, str | None, int], list[str]]:
    """What `Model.compile(tune=...)` asks for. Raises InvalidArgumentError."""
    if tune is True:
        return choose_kernels
    if not isinstance(tune, (str, os.PathLike)):
        raise InvalidArgumentError(f"tune={tune!r}: pass True, False or the path of a JSON file")
    return partial(choose_kernels, file=tune)


def _read(path: Path) -> _Times:
    """Times of this CPU and version; {} when there are none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError(f"'{path}' is not a tuning file: {error}; delete it") from error
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise FormatError(f"'{path}' is not a tuning file ('format' is not {_FORMAT!r}); delete it")
    if (document.get("cpu"), document.get("octavo")) != (_core.cpu_info()["brand"], __version__):
        return {}
    try:
        return {
            str(key): {str(name): float(us) for name, us in times.items()}
            for key, times in document["us"].items()
        }
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise FormatError(f"'{path}' is a damaged tuning file; delete it") from error


def _write(path: Path, times: _Times) -> None:
    document = {
        "format": _FORMAT,
        "octavo": __version__,
        "cpu": _core.cpu_info()["brand"],
        "us": {key: times[key] for key in sorted(times)},
    }
    write_atomic(path, (json.dumps(document, indent=1) + "\n").encode())

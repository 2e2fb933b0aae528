# SPDX-License-Identifier: Apache-2.0
"""What the benchmark asks of a runtime, and Octavo's own adapter. Peers: `peers.py`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import octavo
from octavo.model import Source
from octavo.session import cpu_info, measure_peak

__all__ = ["Feed", "LoadedModel", "OctavoRuntime", "Outputs", "Runtime", "describe_precision"]

Feed = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run.

    `call` takes the inputs and makes the outputs; `bind` returns a call on arrays fixed beforehand
    (None where the runtime has no such thing); one of the two is what gets timed. `named` makes
    name -> array of what either returns. `precision` counts the operations with
    multiply-accumulates by number format, as the runtime itself reports them; `bytes_of` holds
    memory figures that only the runtime knows.
    """

    call: Callable[[Feed], Any]
    named: Callable[[Any], Outputs]
    bind: Callable[[Feed], Callable[[], Any]] | None = None
    precision: Callable[[], Mapping[str, int]] = dict
    bytes_of: Mapping[str, int] = field(default_factory=dict)
    session: Any = None

    def outputs(self, feed: Feed) -> Outputs:
        """Run once; arrays are copies, which a later call does not overwrite."""
        return {name: np.array(value) for name, value in self.named(self.call(feed)).items()}

    def contender(self, feed: Feed, *, bound: bool) -> Callable[[], Any]:
        """What gets timed."""
        if bound and self.bind is not None:
            return self.bind(feed)
        call = self.call
        return lambda: call(feed)


class Runtime(Protocol):
    """An importable runtime. Constructing one imports its package (ImportError without it)."""

    name: str
    package: str  # the module whose import is timed
    version: str
    timed: bool
    formats: tuple[str, ...]
    settings: str

    def load(self, path: Path, threads: int) -> LoadedModel:
        """Load a file with static shapes for `threads` threads."""


def describe_precision(counts: Mapping[str, int]) -> str:
    """{"int8": 52} -> int8; {"int8": 50, "float32": 2} -> int8 50, float32 2; {} -> unknown."""
    if len(counts) == 1:
        return next(iter(counts))
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ordered) or "unknown"


class OctavoRuntime:
    """This library. `isa` restricts the instruction sets, as OCTAVO_ISA does; `tune` as in
    `Model.compile`."""

    name = "octavo"
    package = "octavo.model"
    timed = True
    formats: tuple[str, ...] = (".onnx", ".tflite", ".octavo")
    settings = "Model.compile(threads, tune as asked for), Session.run"

    def __init__(self, isa: str | None = None, tune: bool | Source = False) -> None:
        self.version = octavo.__version__
        self._isa, self._tune = isa, tune
        self.isa = str(isa or os.environ.get("OCTAVO_ISA") or cpu_info()["best_isa"])

    def load(self, path: Path, threads: int) -> LoadedModel:
        """Load a .onnx, .tflite or .octavo file."""
        return self.adapt(octavo.load(str(path)), threads)

    def adapt(
        self,
        model: octavo.Model,
        threads: int,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> LoadedModel:
        """A model that is in memory already; `shapes` sets symbolic dimensions."""
        session = model.compile(threads=threads, isa=self._isa, tune=self._tune, shapes=shapes)
        return LoadedModel(
            call=session.run,
            named=dict,
            bind=session.bind,
            precision=lambda: _precision(session),
            bytes_of={
                "arena": session.arena_bytes,
                "scratch": session.scratch_bytes,
                "packed": session.packed_bytes,
            },
            session=session,
        )

    def peak(self) -> float:
        """int8 peak of one core for the ISA in use, GMAC/s, measured now."""
        return measure_peak.__wrapped__(self.isa)


def _precision(session: octavo.Session) -> Mapping[str, int]:
    kernels = session.kernels()
    return Counter(k.precision for k in kernels if k.macs) or Counter(k.precision for k in kernels)

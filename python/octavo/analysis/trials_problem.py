# SPDX-License-Identifier: Apache-2.0
"""What trials are about: a float network, data, and a metric; in memory or in a file."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.metrics import Metric, metric_named
from octavo.errors import InvalidArgumentError
from octavo.files import write_atomic
from octavo.ir import Graph
from octavo.model import Model, load
from octavo.plan.encode import ConstantPool
from octavo.plan.graph_json import graph_json
from octavo.quantization.data import Data, named, open_data
from octavo.quantization.preprocessing import Preprocessing

__all__ = ["Preprocess", "Problem", "Spooled", "problem_of"]

Array = NDArray[Any]
Arrays = dict[str, Array]
Preprocess = Preprocessing | Mapping[str, Any] | str | os.PathLike[str] | None


@dataclass(frozen=True, eq=False)
class Problem:
    """A float network, data to calibrate on, and data to measure on. Picklable if the metric is."""

    graph: Graph
    calibration: Sequence[Arrays]
    evaluation: Sequence[Arrays]
    labels: Array | None
    metric: str | Metric

    @cached_property
    def digest(self) -> str:
        """Identifies network, data and metric (hexadecimal)."""
        pool = ConstantPool()
        found = hashlib.blake2b(graph_json(self.graph.with_(notes={}), pool), digest_size=16)
        found.update(pool.payload())
        for batches in (self.calibration, self.evaluation):
            for batch in batches:
                for name, array in batch.items():
                    found.update(f"{name}\0{array.dtype}{array.shape}".encode())
                    found.update(np.ascontiguousarray(array).tobytes())
        if self.labels is not None:
            found.update(self.labels.tobytes())
        name = self.metric if isinstance(self.metric, str) else _function_name(self.metric)
        found.update(name.encode())
        return found.hexdigest()

    def open(self) -> Problem:
        """Itself."""
        return self

    def spool(self, folder: str | os.PathLike[str]) -> Spooled:
        """Writes the problem into a folder that the workers see, so that trials need not carry
        it."""
        path = Path(folder) / f"octavo-{self.digest}.pickle"
        if not path.is_file():
            write_atomic(path, pickle.dumps(self, pickle.HIGHEST_PROTOCOL))
        return Spooled(str(path), self.digest)


@dataclass(frozen=True)
class Spooled:
    """A problem in a file."""

    path: str
    digest: str

    def open(self) -> Problem:
        """Reads it. Only from files that `Problem.spool` wrote: a pickle can run code."""
        try:
            content = Path(self.path).read_bytes()
        except OSError as error:
            raise InvalidArgumentError(
                f"a worker cannot read '{self.path}' ({error.strerror}): give spool= a folder that "
                "all workers see, or leave it out, so that trials carry the data"
            ) from error
        found = pickle.loads(content)
        assert isinstance(found, Problem)
        return found


def _function_name(function: Metric) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', function)}"


def _read(graph: Graph, data: Data, preprocess: Preprocess, what: str) -> list[Arrays]:
    batches = open_data(graph, data, preprocess=preprocess)
    found = [named(graph, batch, f"{what}: {title}") for title, batch in batches]
    if not found:
        raise InvalidArgumentError(f"{what} has no batch")
    return found


def problem_of(
    model: str | os.PathLike[str] | Model,
    data: Data,
    evaluation: Data | None,
    labels: Sequence[int] | Array | None,
    metric: str | Metric,
    preprocess: Preprocess = None,
) -> Problem:
    """The problem that the arguments of `sensitivity` and `search` describe."""
    metric_named(metric)
    floating = model if isinstance(model, Model) else load(model)
    graph = floating.source
    calibration = _read(graph, data, preprocess, "data")
    measured = (
        calibration if evaluation is None else _read(graph, evaluation, preprocess, "evaluation")
    )
    known = None if labels is None else np.asarray(labels, np.int64).reshape(-1)
    count = sum(len(next(iter(batch.values()))) for batch in measured)
    if known is not None and len(known) != count:
        raise InvalidArgumentError(f"{len(known)} labels for {count} samples to measure on")
    if metric == "accuracy" and known is None:
        raise InvalidArgumentError("metric='accuracy' needs labels=, one per sample")
    return Problem(graph, calibration, measured, known, metric)

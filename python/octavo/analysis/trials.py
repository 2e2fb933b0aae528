# SPDX-License-Identifier: Apache-2.0
"""Trials: one recipe, quantized from statistics that were collected once, and measured on data.

`evaluate` is a pure function of picklable arguments, so that any executor with the interface of
`concurrent.futures` can run it, in this process or on another machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.metrics import metric_named, sqnr_db
from octavo.analysis.trials_journal import Journal
from octavo.analysis.trials_problem import Problem, Spooled
from octavo.comparison.data import batches_of
from octavo.ir import Graph, Node
from octavo.model import Model
from octavo.passes import run_model_pipeline
from octavo.quantization import Calibration, Recipe, calibrate_model, quantize
from octavo.quantization.rules import quantized_nodes

__all__ = [
    "Bench",
    "Progress",
    "Score",
    "bench_for",
    "evaluate",
    "layers_of",
    "run_trials",
    "spool_for",
    "trial_key",
]

Array = NDArray[Any]
Arrays = dict[str, Array]
#: Called with (stage, done, total) after each trial.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """What one recipe reaches: the metric (more is better), the SQNR of the worst output in dB, and
    the bytes of the .octavo file."""

    metric: float
    sqnr_db: float
    bytes: int


class Bench:
    """Quantizes and measures for one problem. Thread-safe."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.floating = Model(problem.graph)
        self._lock = threading.Lock()
        self._calibrations: dict[tuple[int, int], Calibration] = {}
        self._last: tuple[str, Model] | None = None

    @cached_property
    def reference(self) -> Arrays:
        """The float network's outputs."""
        return self.outputs(self.floating)

    def quantize(self, recipe: Recipe) -> Model:
        """The network by a recipe. Statistics are collected once for all recipes that keep the
        same samples."""
        title = trial_key(recipe)
        last = self._last  # read once: another thread may replace it
        if last is not None and last[0] == title:
            return last[1]  # what was just scored is timed next
        key = (recipe.optimization_samples, recipe.seed)
        with self._lock:
            if key not in self._calibrations:
                data = self.problem.calibration
                self._calibrations[key] = calibrate_model(self.floating, data, recipe=recipe)
        model = quantize(self.floating, self._calibrations[key], recipe=recipe)
        self._last = (title, model)
        return model

    def outputs(self, model: Model) -> Arrays:
        """A model's outputs over the evaluation data."""
        batches = batches_of(model, self.problem.evaluation)
        first = next(batches)
        session = model.compile(shapes={name: array.shape for name, array in first.items()})
        parts = [
            session.run({name: np.ascontiguousarray(array) for name, array in batch.items()})
            for batch in itertools.chain((first,), batches)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def score(self, model: Model) -> Score:
        """What a model reaches."""
        with self._lock:
            reference = self.reference
        outputs = self.outputs(model)
        metric = metric_named(self.problem.metric)
        return Score(
            float(metric(outputs, reference, self.problem.labels)),
            sqnr_db(outputs, reference),
            len(model.plan_bytes().data),
        )


@dataclass
class _Benches:
    """The last problems of this process."""

    found: dict[str, Bench] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, handle: Problem | Spooled) -> Bench:
        with self.lock:
            if handle.digest not in self.found:
                while len(self.found) >= 2:
                    self.found.pop(next(iter(self.found)))
                self.found[handle.digest] = Bench(handle.open())
            return self.found[handle.digest]


_BENCHES = _Benches()


def bench_for(handle: Problem | Spooled) -> Bench:
    """This process's bench for a problem."""
    return _BENCHES.get(handle)


def evaluate(handle: Problem | Spooled, recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    """One trial: the `Score` of a recipe (plain data as in its file; None is the float network) as
    plain data. Whoever runs it keeps what trials of the same problem share."""
    bench = bench_for(handle)
    if recipe is None:
        return asdict(bench.score(bench.floating))
    return asdict(bench.score(bench.quantize(Recipe.from_dict(recipe))))


def trial_key(recipe: Recipe | None) -> str:
    """Identifies a recipe (hexadecimal); "float" for None."""
    if recipe is None:
        return "float"
    text = json.dumps(recipe.to_dict(), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


@contextmanager
def spool_for(
    problem: Problem, executor: Executor | None, folder: str | os.PathLike[str] | None
) -> Iterator[Problem | Spooled]:
    """How trials get at the problem: through a file in `folder`, or in a temporary one for a pool
    of processes; else they carry it."""
    if folder is not None:
        yield problem.spool(folder)
    elif isinstance(executor, ProcessPoolExecutor):
        with tempfile.TemporaryDirectory(prefix="octavo-") as temporary:
            yield problem.spool(temporary)
    else:
        yield problem


def run_trials(
    handle: Problem | Spooled,
    recipes: Iterable[Recipe | None],
    journal: Journal,
    executor: Executor | None = None,
    on_done: Callable[[], None] | None = None,
    *,
    label: str = "score",
) -> list[Score]:
    """Scores in the order of `recipes`; what the journal has under `label` is not measured again.
    An interrupt cancels what has not begun; what is done is in the journal."""
    wanted = list(recipes)
    todo = {trial_key(r): r for r in wanted if f"{label}:{trial_key(r)}" not in journal}
    done = on_done or (lambda: None)

    def note(key: str, value: dict[str, Any]) -> None:
        journal.record(f"{label}:{key}", value)
        done()

    for _ in range(len(wanted) - len(todo)):
        done()
    plain = {key: None if recipe is None else recipe.to_dict() for key, recipe in todo.items()}
    if executor is None:
        for key, recipe in plain.items():
            note(key, evaluate(handle, recipe))
    else:
        pending: dict[Future[dict[str, Any]], str] = {
            executor.submit(evaluate, handle, recipe): key for key, recipe in plain.items()
        }
        try:
            for future in as_completed(pending):
                note(pending[future], future.result())
        except BaseException:
            for future in pending:
                future.cancel()
            raise
    return [Score(**journal[f"{label}:{trial_key(recipe)}"]) for recipe in wanted]


def layers_of(model: Graph) -> tuple[Graph, list[Node]]:
    """(the graph that recipes speak of, its nodes that compute in 8 bits by choice): what only
    moves bytes follows its neighbours, so a node counts if it is quantized without any."""
    graph = run_model_pipeline(model)
    names = {node.name for node in graph.nodes}
    candidates = quantized_nodes(graph, ())
    return graph, [node for node in candidates if quantized_nodes(graph, names - {node.name})]

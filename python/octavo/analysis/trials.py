# SPDX-License-Identifier: Apache-2.0
"""Trials: one recipe, quantized from statistics that were collected once, and measured on data.

`evaluate` is a pure function of picklable arguments, so that any executor with the interface of
`concurrent.futures` can run it, in this process or on another machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.metrics import Metric, metric_named, sqnr_db
from octavo.analysis.trials_journal import Journal
from octavo.comparison.data import batches_of
from octavo.errors import InvalidArgumentError
from octavo.files import write_atomic
from octavo.ir import Graph, Node
from octavo.model import Model, load
from octavo.passes import run_model_pipeline
from octavo.plan.encode import ConstantPool
from octavo.plan.graph_json import encode_graph
from octavo.quantization import Calibration, Recipe, calibrate_model, quantize
from octavo.quantization.rules import quantized_nodes

__all__ = [
    "Bench",
    "Problem",
    "Progress",
    "Score",
    "Spooled",
    "bench_for",
    "evaluate",
    "layers_of",
    "problem_of",
    "run_trials",
    "spool_for",
    "trial_key",
]

Array = NDArray[Any]
Arrays = dict[str, Array]
Batch = Mapping[str, Array] | Array
#: Called with (stage, done, total) after each trial.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """What one recipe reaches: the metric (more is better), the SQNR of the worst output in dB, and
    the bytes of the .octavo file."""

    metric: float
    sqnr_db: float
    bytes: int


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
        found = hashlib.blake2b(encode_graph(self.graph.with_(notes={}), pool), digest_size=16)
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


def _named(graph: Graph, batches: Iterable[Batch], what: str) -> list[Arrays]:
    if isinstance(batches, (Mapping, str, bytes)) or not isinstance(batches, Iterable):
        raise InvalidArgumentError(f"{what} is a {type(batches).__name__}; pass a list of batches")
    found: list[Arrays] = []
    for batch in batches:
        if isinstance(batch, Mapping):
            found.append({name: np.asarray(array) for name, array in batch.items()})
        elif len(graph.inputs) == 1:
            found.append({graph.inputs[0]: np.asarray(batch)})
        else:
            raise InvalidArgumentError(
                f"{what} has bare arrays, but the model has inputs {list(graph.inputs)}: "
                "pass dicts of name -> array"
            )
    if not found:
        raise InvalidArgumentError(f"{what} has no batch")
    return found


def problem_of(
    model: str | os.PathLike[str] | Model,
    data: Iterable[Batch],
    evaluation: Iterable[Batch] | None,
    labels: Sequence[int] | Array | None,
    metric: str | Metric,
) -> Problem:
    """The problem that the arguments of `sensitivity` and `search` describe."""
    metric_named(metric)
    floating = model if isinstance(model, Model) else load(model)
    graph = floating.source
    calibration = _named(graph, data, "data")
    measured = calibration if evaluation is None else _named(graph, evaluation, "evaluation")
    known = None if labels is None else np.asarray(labels, np.int64).reshape(-1)
    count = sum(len(next(iter(batch.values()))) for batch in measured)
    if known is not None and len(known) != count:
        raise InvalidArgumentError(f"{len(known)} labels for {count} samples to measure on")
    if metric == "accuracy" and known is None:
        raise InvalidArgumentError("metric='accuracy' needs labels=, one per sample")
    return Problem(graph, calibration, measured, known, metric)


class Bench:
    """Quantizes and measures for one problem. Thread-safe."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.floating = Model(problem.graph)
        self._lock = threading.Lock()
        self._calibrations: dict[tuple[Any, ...], Calibration] = {}

    @cached_property
    def reference(self) -> Arrays:
        """The float network's outputs."""
        return self.outputs(self.floating)

    def quantize(self, recipe: Recipe) -> Model:
        """The network by a recipe. Statistics are collected once for all recipes that prepare the
        float network alike and keep the same samples."""
        key = (recipe.equalize, recipe.smooth, recipe.optimization_samples, recipe.seed)
        with self._lock:
            if key not in self._calibrations:
                data = self.problem.calibration
                self._calibrations[key] = calibrate_model(self.floating, data, recipe=recipe)
        return quantize(self.floating, self._calibrations[key], recipe=recipe)

    def outputs(self, model: Model) -> Arrays:
        """A model's outputs over the evaluation data."""
        session = model.compile()
        parts = [
            session.run({name: np.ascontiguousarray(array) for name, array in batch.items()})
            for batch in batches_of(model, self.problem.evaluation)
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
) -> list[Score]:
    """Scores in the order of `recipes`; what the journal has is not measured again. An interrupt
    cancels what has not begun; what is done is in the journal."""
    wanted = list(recipes)
    todo = {trial_key(r): r for r in wanted if f"score:{trial_key(r)}" not in journal}
    done = on_done or (lambda: None)

    def note(key: str, value: dict[str, Any]) -> None:
        journal.record(f"score:{key}", value)
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
    return [Score(**journal[f"score:{trial_key(recipe)}"]) for recipe in wanted]


def layers_of(model: Graph) -> tuple[Graph, list[Node]]:
    """(the graph that recipes speak of, its nodes that compute in 8 bits by choice): what only
    moves bytes follows its neighbours, so a node counts if it is quantized without any."""
    graph = run_model_pipeline(model)
    names = {node.name for node in graph.nodes}
    candidates = quantized_nodes(graph, ())
    return graph, [node for node in candidates if quantized_nodes(graph, names - {node.name})]

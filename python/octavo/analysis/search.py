# SPDX-License-Identifier: Apache-2.0
"""`search`: recipes that trade accuracy for latency and size, measured on this CPU.

1. Noise of each layer alone and time of each layer in each precision, both measured.
2. The frontier of a model in which these add up (`search_frontier`).
3. Settings of the whole recipe, one by one.
4. Evolution of what came out, with true evaluations.
5. The survivors once more, with the optimizations of weights that trials leave out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.metrics import Metric
from octavo.analysis.pareto import survivors
from octavo.analysis.search_evolution import children
from octavo.analysis.search_model import proxy_problem
from octavo.analysis.search_result import Candidate, Limits, SearchResult, choose
from octavo.analysis.search_space import Genome, Space
from octavo.analysis.search_state import Budget, State, Trial
from octavo.analysis.sensitivity import QUICK
from octavo.analysis.trials import Progress, Score, run_trials, spool_for, trial_key
from octavo.analysis.trials_journal import Journal
from octavo.analysis.trials_problem import Preprocess, problem_of
from octavo.errors import InvalidArgumentError
from octavo.model import Model
from octavo.quantization.data import Data
from octavo.quantization.recipe import PRECISIONS, Recipe
from octavo.session import cpu_info

__all__ = ["search"]

Array = NDArray[Any]
_POPULATION, _BROOD = 24, 8
#: Multiples of the start's latency within each of which the best trial is measured once more, and
#: how many of the fastest that meet the limits are, too.
_STEPS, _FASTEST = (1.01, 1.03, 1.06, 1.12, 1.25, 1.5, 2.0, math.inf), 3


def _quality(score: Score, metric: str | Metric) -> float:
    """What evolution climbs: the SQNR, which a few samples measure well; with a metric of the
    caller's own, that."""
    return score.metric if callable(metric) else score.sqnr_db


def _best_settings(space: Space, trials: Sequence[Trial], metric: str | Metric) -> Genome:
    """The start with every setting that helped by itself."""
    origin, *others = trials
    found = origin.genome
    reached: dict[str, float] = {}
    for trial in others:
        for name in ("ranges", "weight_ranges", "equalize", "smooth"):
            if getattr(trial.genome, name) == getattr(origin.genome, name):
                continue
            quality = _quality(trial.score, metric)
            if quality > max(_quality(origin.score, metric), reached.get(name, -math.inf)):
                reached[name] = quality
                changes: dict[str, Any] = {name: getattr(trial.genome, name)}
                found = replace(found, **changes)
    return found


def _points(trials: Sequence[Trial], limits: Limits, search: State, metric: str | Metric) -> Any:
    """Objectives, less is better; what misses a limit is worse by how much it misses it."""
    found = []
    for trial in trials:
        candidate = Candidate(
            search.space.start, trial.score, trial.relative * search.yardstick_ms, 1.0, {}
        )
        missed = sum(limits.missed(candidate).values())
        quality = _quality(trial.score, metric)
        quality = max(min(quality, 1e6), -1e6) - 1e3 * missed
        size = (trial.score.bytes * (1 + missed),) if limits.bytes is not None else ()
        found.append((-quality, *size, trial.relative * (1 + missed)))
    return found


def _evolve(
    search: State, limits: Limits, metric: str | Metric, budget: Budget, seed: int
) -> list[Trial]:
    """Everything measured, after the budget is spent."""
    rng = np.random.default_rng(seed)
    first = search.measure(
        [search.space.origin, *search.space.settings()][: budget.left(len(search.trials))]
    )
    settings = _best_settings(search.space, first, metric)
    start: list[Genome] = [settings]
    start += [replace(settings, layers=layers) for layers in search.frontier(budget)]
    search.measure(start[: budget.left(len(search.trials))])
    while room := budget.left(len(search.trials)):
        everything = list(search.trials.values())
        points = _points(everything, limits, search, metric)
        alive = survivors(points, _POPULATION)
        brood = children(
            search.space,
            [everything[i].genome for i in alive],
            [points[i] for i in alive],
            min(room, _BROOD),
            rng,
            search.trials.__contains__,
        )
        if not brood:
            break
        search.measure(brood)
    return list(search.trials.values())


def search(
    model: str | os.PathLike[str] | Model,
    data: Data,
    *,
    max_drop: float | None = None,
    max_latency: float | None = None,
    max_bytes: int | None = None,
    metric: str | Metric = "agreement",
    evaluation: Data | None = None,
    labels: Sequence[int] | Array | None = None,
    preprocess: Preprocess = None,
    recipe: Recipe | None = None,
    precisions: Sequence[str] | None = None,
    trials: int = 100,
    seconds: float | None = None,
    seed: int = 0,
    threads: int = 1,
    journal: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    spool: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Recipes for a float model between accuracy, latency and size.

    Limits: `max_drop` of the metric below float32 (0.005: half a percent of top-1 agreement or
    accuracy), `max_latency` in milliseconds of one inference on this CPU with `threads`,
    `max_bytes` of the .octavo file. Without any, the most accurate recipe that is not slower than
    `recipe` (the default one) is the best, if it gains 0.5 dB of SQNR.

    `data`, `evaluation`, `labels`, `preprocess`, `metric`, `journal`, `executor`, `spool` and
    `progress` as for `sensitivity`; trials run on the executor, latencies are measured here.
    `precisions` limits what layers may be; the budget is `trials` evaluations or `seconds`,
    whichever ends first; everything random follows from `seed`.

    Raises InvalidArgumentError and what `quantize` and `Session.run` raise.
    """
    problem = problem_of(model, data, evaluation, labels, metric, preprocess)
    _check(max_drop, max_latency, max_bytes, metric, precisions, trials)
    start = recipe or Recipe()
    quick = start.with_defaults(**QUICK)
    told = [
        *("search", problem.digest, trial_key(start), seed, threads, str(precisions)),
        *(cpu_info().get("brand"), max_drop, max_latency, max_bytes),
    ]
    with (
        Journal(journal, " ".join(map(str, told))) as book,
        spool_for(problem, executor, spool) as handle,
        spool_for(proxy_problem(problem), executor, spool) as proxy,
    ):
        wanted = None if precisions is None else list(precisions)
        if wanted is None and max_bytes is None:  # float32 is as fast, and has less noise
            wanted = [name for name in PRECISIONS if name != "weights"]
        state = State(handle, proxy, book, quick, wanted, threads, executor)
        (float_score,) = run_trials(handle, [None], book)
        least = None if max_drop is None else float_score.metric - max_drop
        limits = Limits(least, max_latency, max_bytes)
        found = _evolve(state, limits, metric, Budget(trials, seconds, progress), seed)
        return _result(state, start, found, float_score, limits, metric)


def _check(
    max_drop: float | None,
    max_latency: float | None,
    max_bytes: int | None,
    metric: str | Metric,
    precisions: Sequence[str] | None,
    trials: int,
) -> None:
    limits = {"max_drop": max_drop, "max_latency": max_latency, "max_bytes": max_bytes}
    for name, limit in limits.items():
        if limit is not None and not (math.isfinite(limit) and limit >= 0):
            raise InvalidArgumentError(f"{name}={limit!r}: a number from 0")
    if max_drop is not None and metric == "sqnr":
        raise InvalidArgumentError(
            "max_drop with metric='sqnr': float32 has no noise to drop from; take 'agreement', "
            "'cosine' or 'accuracy'"
        )
    unknown = [name for name in precisions or () if name not in PRECISIONS]
    if unknown or isinstance(precisions, str):
        raise InvalidArgumentError(f"precisions={precisions!r}: a list of {', '.join(PRECISIONS)}")
    if trials < 1:
        raise InvalidArgumentError(f"trials={trials}: at least 1")


def _finalists(
    found: Sequence[Trial], limits: Limits, state: State, metric: str | Metric
) -> list[Trial]:
    """The best with the start's precisions, and so its latency; the best within each of some
    multiples of that; the fastest few that meet the limits."""
    points = _points(found, limits, state, metric)
    kept: dict[int, None] = {}
    alike = [i for i, trial in enumerate(found) if trial.relative == 1.0]
    within = [[i for i, trial in enumerate(found) if trial.relative <= step] for step in _STEPS]
    for near in (alike, *within):
        if near:
            kept[min(near, key=lambda i: points[i][0])] = None
    meeting = [
        i
        for i, trial in enumerate(found)
        if limits != Limits(None, None, None)
        and not limits.missed(state.candidate(Recipe(), trial.score, trial.relative))
    ]
    kept.update(dict.fromkeys(sorted(meeting, key=lambda i: found[i].relative)[:_FASTEST]))
    return [found[i] for i in kept]


def _result(
    state: State,
    start: Recipe,
    found: Sequence[Trial],
    float_score: Score,
    limits: Limits,
    metric: str | Metric,
) -> SearchResult:
    """The survivors measured once more as they will be used."""
    own = {name: getattr(start.defaults, name) for name in QUICK}
    finals = [start]
    for trial in _finalists(found, limits, state, metric):
        finals.append(state.space.recipe(trial.genome).with_defaults(**own))
    finals = [recipe for i, recipe in enumerate(finals) if recipe not in finals[:i]]
    scores = run_trials(state.handle, finals, state.journal, state.executor)
    candidates = [
        state.candidate(recipe, score, state.relative(recipe, "final"))
        for recipe, score in zip(finals, scores, strict=True)
    ]
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", "metric")
    pareto, best, unmet = choose(candidates, candidates[0], limits, name)
    relative = state.relative(None)
    everything = Recipe().with_defaults(precision="float32")
    return SearchResult(
        state.bench.problem.graph.name,
        name,
        limits,
        Candidate(everything, float_score, relative * state.yardstick_ms, relative, {}),
        candidates[0],
        pareto,
        best,
        unmet,
        len(found),
        tuple((t.score.metric, t.score.sqnr_db, t.relative * state.yardstick_ms) for t in found),
    )

# SPDX-License-Identifier: Apache-2.0
"""What a running search measures, and how much of its budget is left."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from octavo.analysis.search_latency import Stopwatch, first_sample
from octavo.analysis.search_model import modelled
from octavo.analysis.search_result import Candidate
from octavo.analysis.search_space import Genome, space_of
from octavo.analysis.trials import Progress, Score, bench_for, run_trials
from octavo.analysis.trials_journal import Journal
from octavo.analysis.trials_problem import Problem, Spooled
from octavo.quantization.recipe import Recipe

__all__ = ["Budget", "State", "Trial"]

#: How long one latency is measured, by stage.
_SECONDS = {"latency": 0.5, "final": 3.0}


@dataclass(frozen=True)
class Trial:
    """A genome as measured; `relative` is its latency over the start's."""

    genome: Genome
    score: Score
    relative: float


class Budget:
    """`trials` evaluations and `seconds`; either may be unlimited, and what a journal already holds
    takes no time."""

    def __init__(self, trials: int, seconds: float | None, progress: Progress | None) -> None:
        self.trials = trials
        self._end = None if seconds is None else time.monotonic() + seconds
        self._progress = progress

    def show(self, stage: str, done: int, total: int) -> None:
        """Tells the caller."""
        if self._progress is not None:
            self._progress(stage, done, total)

    def left(self, done: int) -> int:
        """Trials that may still be made."""
        self.show("search", min(done, self.trials), self.trials)
        if self._end is not None and time.monotonic() > self._end:
            return 0
        return max(0, self.trials - done)


class State:
    """One search: what is measured, and how much of the budget is left."""

    def __init__(
        self,
        handle: Problem | Spooled,
        proxy: Problem | Spooled,
        journal: Journal,
        start: Recipe,
        precisions: Sequence[str] | None,
        threads: int,
        executor: Executor | None,
    ) -> None:
        self.handle = handle
        self.proxy = proxy
        self.journal = journal
        self.executor = executor
        self.bench = bench_for(handle)
        self.space, self.graph, self.uniform = space_of(self.bench, start, precisions)
        self.sample = first_sample(self.bench.problem.evaluation, self.bench.floating)
        self.threads = threads
        yardstick = self.bench.quantize(start)
        self.stopwatch = Stopwatch(yardstick, self.sample, threads)
        if "yardstick" not in journal:
            journal.record("yardstick", self.stopwatch.times(yardstick)[1])
        self.yardstick_ms = float(journal["yardstick"])
        self.trials: dict[Genome, Trial] = {}

    def _structure(self, recipe: Recipe | None) -> str:
        """Identifies what latency depends on: precisions, not the values of scales."""
        if recipe is None:
            return "float"
        settings = recipe.resolve(self.graph).items()
        told = [
            (n, s.precision, s.activation_type, s.symmetric, s.per_channel) for n, s in settings
        ]
        return hashlib.blake2b(repr(told).encode(), digest_size=12).hexdigest()

    def relative(self, recipe: Recipe | None, stage: str = "latency") -> float:
        """Latency of a recipe over the start's, measured in turns with it; None is float32. Recipes
        that differ in nothing but scales share one measurement. The stage "final" takes longer."""
        structure = self._structure(recipe)
        if structure == self._structure(self.space.start):
            return 1.0
        key = f"{stage}:{structure}"
        if key not in self.journal:
            model = self.bench.floating if recipe is None else self.bench.quantize(recipe)
            own, other = self.stopwatch.times(model, _SECONDS[stage])
            self.journal.record(key, own / other)
        return float(self.journal[key])

    def measure(self, genomes: Iterable[Genome]) -> list[Trial]:
        """Trials of genomes; each is measured once."""
        wanted = list(dict.fromkeys(genomes))
        new = [genome for genome in wanted if genome not in self.trials]
        recipes = [self.space.recipe(genome) for genome in new]
        if self.executor is not None:
            run_trials(self.handle, recipes, self.journal, self.executor)
        for genome, recipe in zip(new, recipes, strict=True):
            (score,) = run_trials(self.handle, [recipe], self.journal)
            self.trials[genome] = Trial(genome, score, self.relative(recipe))
        return [self.trials[genome] for genome in wanted]

    def frontier(self, budget: Budget) -> Sequence[tuple[int, ...]]:
        """Choices per layer by the additive model."""

        def scores(recipes: list[Recipe]) -> list[Score]:
            done = itertools.count()
            return run_trials(
                self.proxy,
                recipes,
                self.journal,
                self.executor,
                lambda: budget.show("layers", next(done), len(recipes)),
                label="proxy",
            )

        return modelled(
            *(self.space, self.graph, self.uniform, self.sample, self.threads, self.journal),
            scores,
        )

    def candidate(self, recipe: Recipe, score: Score, relative: float) -> Candidate:
        """A measured recipe as callers see it."""
        layers: dict[str, int] = {}
        settings = recipe.resolve(self.graph)
        for node in self.space.nodes:
            precision = settings[node].precision
            layers[precision] = layers.get(precision, 0) + 1
        return Candidate(recipe, score, relative * self.yardstick_ms, relative, layers)

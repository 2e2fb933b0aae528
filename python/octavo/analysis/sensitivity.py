# SPDX-License-Identifier: Apache-2.0
"""`sensitivity`: which layers hurt in 8 bits, each alone and each left out."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo import ops
from octavo.analysis.metrics import Metric
from octavo.analysis.trials import (
    Progress,
    Score,
    bench_for,
    layers_of,
    run_trials,
    spool_for,
    trial_key,
)
from octavo.analysis.trials_journal import Journal
from octavo.analysis.trials_problem import Preprocess, Problem, Spooled, problem_of
from octavo.comparison import compare
from octavo.errors import InvalidArgumentError
from octavo.ir import Graph, Node
from octavo.model import Model
from octavo.quantization.data import Data
from octavo.quantization.recipe import Recipe, Rule

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SWEEPS", "LayerSensitivity", "Sensitivity", "only_recipe", "sensitivity"]

Array = NDArray[Any]
#: own: error of each layer from one pass; only: everything float but this; without: everything
#: 8-bit but this.
SWEEPS = ("own", "only", "without")
#: How trials quantize: what optimizes weights on data is left out, since it costs many times more
#: than the trial and hardly changes which layers hurt.
QUICK = {"rounding": "nearest", "bias_correction": "none"}


@dataclass(frozen=True)
class LayerSensitivity:
    """One layer. `own_db`: SQNR in dB of its output against its float function on the same inputs;
    `only` and `without`: the network with nothing but this layer, or everything but this layer, in
    8 bits; None where that sweep was not asked for. `macs` of one inference; `bytes` of its
    constants in float32."""

    rank: int
    node: str
    op: str
    macs: int
    bytes: int
    own_db: float | None
    only: Score | None
    without: Score | None


@dataclass(frozen=True)
class Sensitivity:
    """Layers, worst first; and the network with none (`float32`) and all (`int8`) of them in 8
    bits. `metric` says what `Score.metric` is."""

    model: str
    metric: str
    layers: tuple[LayerSensitivity, ...]
    float32: Score
    int8: Score
    recipe: Recipe = field(repr=False)

    def suggest(
        self, count: int | None = None, *, share: float = 0.5, precision: str = "float32"
    ) -> Recipe:
        """The recipe with the worst layers in another precision: `count` of them, or as many as
        make `share` of the noise that all make alone (0.5: for 3 dB)."""
        if count is None:
            noise = [_noise(layer) for layer in self.layers]
            reached = np.cumsum(noise) >= share * sum(noise)
            count = int(np.argmax(reached)) + 1 if reached.any() else 0
        names = [layer.node for layer in self.layers[: max(0, count)]]
        if not names:
            return self.recipe
        return self.recipe.with_rules(Rule.for_nodes(names, precision=precision))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; infinite figures are None."""
        return {
            "model": self.model,
            "metric": self.metric,
            "float32": _plain(asdict(self.float32)),
            "int8": _plain(asdict(self.int8)),
            "layers": [_plain(asdict(layer)) for layer in self.layers],
            "suggestion": self.suggest().to_dict(),
        }

    def save_picture(self, path: str | os.PathLike[str]) -> Path:
        """Draws the layers as PNG, SVG or PDF, by the ending. Needs the extra `octavo[report]`."""
        from octavo.analysis.sensitivity_picture import draw

        return draw(self, path)


def _plain(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _noise(layer: LayerSensitivity) -> float:
    """Noise over signal that a layer brings: at the outputs, else at its own."""
    db = layer.only.sqnr_db if layer.only is not None else layer.own_db
    return 0.0 if db is None else float(10.0 ** (-max(db, -100.0) / 10.0))


def only_recipe(recipe: Recipe, node: str, precision: str = "int8") -> Recipe:
    """The recipe with everything in float32 but one node."""
    floating = recipe.with_defaults(precision="float32")
    kept = tuple(_without_precision(rule) for rule in recipe.rules)
    return replace(floating, rules=kept).with_rules(Rule.for_nodes([node], precision=precision))


def _without(recipe: Recipe, node: str) -> Recipe:
    return recipe.with_rules(Rule.for_nodes([node], precision="float32"))


def _without_precision(rule: Rule) -> Rule:
    settings = {name: value for name, value in rule.settings.items() if name != "precision"}
    return replace(rule, settings=settings)


def _chosen(nodes: Sequence[Node], wanted: Iterable[str] | None) -> list[Node]:
    if wanted is None:
        return list(nodes)
    names = set(wanted)
    unknown = sorted(names - {node.name for node in nodes})
    if unknown:
        raise InvalidArgumentError(
            f"layers names {unknown}, which are no layers that can be quantized; "
            "`octavo inspect` lists the model's nodes"
        )
    return [node for node in nodes if node.name in names]


def _own_errors(handle: Problem | Spooled, recipe: Recipe, journal: Journal) -> Mapping[str, float]:
    """Node name -> own SQNR in dB, over the evaluation data."""
    key = f"own:{trial_key(recipe)}"
    if key not in journal:
        bench = bench_for(handle)
        layers = compare(bench.quantize(recipe), list(bench.problem.evaluation)).layers
        journal.record(key, {row.node: row.own_db for row in layers if row.own_db is not None})
    found: Mapping[str, float] = journal[key]
    return found


def sensitivity(
    model: str | os.PathLike[str] | Model,
    data: Data,
    *,
    metric: str | Metric = "sqnr",
    evaluation: Data | None = None,
    labels: Sequence[int] | Array | None = None,
    preprocess: Preprocess = None,
    recipe: Recipe | None = None,
    layers: Iterable[str] | None = None,
    sweeps: Sequence[str] = SWEEPS,
    quick: bool = True,
    journal: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    spool: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Sensitivity:
    """Which layers of a float model hurt when they are quantized.

    `data` (as for `quantize`, `preprocess` for images; held in memory) calibrates; outputs are
    measured on `evaluation`, or on `data` again. `metric`: "sqnr" (of the outputs, dB), "agreement"
    (top-1 with float), "cosine", "accuracy" (with `labels`), or a function (outputs, reference
    outputs, labels) -> float, more being better. `recipe` is what the sweeps start from; `quick`
    leaves adaptive rounding and bias correction out of them. `layers` names the nodes to look at,
    `sweeps` what to do with them.

    `journal` is a file of finished trials, from which a later call with the same arguments goes on.
    `executor`: anything like `concurrent.futures.Executor`; `spool` a folder that its workers see,
    so that trials need not carry the data. `progress(stage, done, total)` is called per trial.

    Raises InvalidArgumentError and what `quantize` and `Session.run` raise.
    """
    unknown = [name for name in sweeps if name not in SWEEPS]
    if unknown or isinstance(sweeps, str):
        raise InvalidArgumentError(f"sweeps={sweeps!r}: a list of {', '.join(SWEEPS)}")
    problem = problem_of(model, data, evaluation, labels, metric, preprocess)
    start = recipe or Recipe()
    start = start.with_defaults(**QUICK) if quick else start
    graph, known = layers_of(problem.graph)
    nodes = _chosen(known, layers)
    trials: list[Recipe | None] = [None, start]
    trials += [only_recipe(start, node.name) for node in nodes if "only" in sweeps]
    trials += [_without(start, node.name) for node in nodes if "without" in sweeps]
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("sensitivity", done, len(trials))

    with (
        Journal(journal, f"sensitivity {problem.digest} {trial_key(start)}") as book,
        spool_for(problem, executor, spool) as handle,
    ):
        float32, int8, *scores = run_trials(handle, trials, book, executor, advance)
        own = _own_errors(handle, start, book) if "own" in sweeps else {}
    only = dict(zip(nodes, scores, strict=False)) if "only" in sweeps else {}
    rest = scores[len(only) :]
    without = dict(zip(nodes, rest, strict=False)) if "without" in sweeps else {}
    rows = [
        LayerSensitivity(
            0,
            node.name,
            node.op,
            ops.get(node).macs(node, graph.inputs_of(node), graph.outputs_of(node)),
            _constant_bytes(graph, node),
            own.get(node.name),
            only.get(node),
            without.get(node),
        )
        for node in nodes
    ]
    ranked = sorted(rows, key=lambda row: _harm(row, callable(metric)))
    return Sensitivity(
        problem.graph.name,
        metric if isinstance(metric, str) else getattr(metric, "__name__", "custom"),
        tuple(replace(row, rank=rank) for rank, row in enumerate(ranked, 1)),
        float32,
        int8,
        recipe or Recipe(),
    )


def _harm(row: LayerSensitivity, by_metric: bool) -> tuple[float, ...]:
    """Sorts the worst first: by what it does alone, by what leaving it out gains, by its own error.
    SQNR measures that better than shares of a few hundred samples, which are mostly luck; only a
    metric of the caller's own goes first."""
    key: list[float] = []
    if row.only is not None:
        key += [row.only.metric] if by_metric else []
        key.append(row.only.sqnr_db)
    if row.without is not None:
        key += [-row.without.metric] if by_metric else []
        key.append(-row.without.sqnr_db)
    key.append(math.inf if row.own_db is None else row.own_db)
    return tuple(key)


def _constant_bytes(graph: Graph, node: Node) -> int:
    constants = (graph.values[name].data for name in node.inputs if name)
    return sum(data.nbytes for data in constants if data is not None)

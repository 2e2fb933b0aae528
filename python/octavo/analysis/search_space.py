# SPDX-License-Identifier: Apache-2.0
"""What `search` may choose: a precision per layer, and settings of the whole recipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from octavo.analysis.trials import Bench, layers_of
from octavo.errors import OctavoError
from octavo.ir import Graph
from octavo.model import Model
from octavo.ops.precision import executed
from octavo.quantization.recipe import PRECISIONS, Recipe, Rule, Settings

__all__ = ["Choice", "Genome", "Space", "space_of"]

#: Ways to choose ranges and to prepare the network, tried one by one on the start and combined
#: afterwards: setting -> values; a tuple changes several at once.
_DEFAULTS: tuple[Mapping[str, Any], ...] = (
    {"activation_ranges": "mse"},
    {"activation_ranges": "minmax"},
    {"activation_ranges": "entropy"},
    {"activation_ranges": "moving_average"},
    {"activation_ranges": "percentile", "percentile": 99.999},
    {"activation_ranges": "percentile", "percentile": 99.99},
)
_WHOLE: Mapping[str, tuple[Any, ...]] = {"equalize": (True, False), "smooth": (None, 0.5, 0.75)}
#: Other ways to choose the range of an int8 layer's output, which cost no time.
_LAYER_RANGES: tuple[Mapping[str, Any], ...] = (
    {"activation_ranges": "mse"},
    {"activation_ranges": "minmax"},
    {"activation_ranges": "percentile", "percentile": 99.99},
)
#: What reports call the precisions that they do not call by their own names.
_EXECUTED = {"weights": "weights int8"}


@dataclass(frozen=True)
class Genome:
    """One choice: `ranges` and `weight_ranges` index settings of all layers, `equalize` and
    `smooth` are the recipe's, `layers` are indices into the layers' own choices."""

    ranges: int
    weight_ranges: str
    equalize: bool
    smooth: float | None
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """What one layer may be: a precision, and settings that differ from the start's."""

    precision: str
    settings: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Space:
    """All choices: `nodes` with what each can be, the start's own first."""

    start: Recipe
    nodes: tuple[str, ...]
    choices: tuple[tuple[Choice, ...], ...]
    ranges: tuple[Mapping[str, Any], ...]
    equalize: tuple[bool, ...]
    smooth: tuple[float | None, ...]

    @property
    def origin(self) -> Genome:
        """The start itself."""
        recipe = self.start
        none = (0,) * len(self.nodes)
        return Genome(0, recipe.defaults.weight_ranges, recipe.equalize, recipe.smooth, none)

    def recipe(self, genome: Genome) -> Recipe:
        """The recipe of a choice: rules only where a layer leaves the start."""
        found = self.start.with_defaults(
            **self.ranges[genome.ranges], weight_ranges=genome.weight_ranges
        )
        found = replace(found, equalize=genome.equalize, smooth=genome.smooth)
        alike: dict[Choice, list[str]] = {}
        for node, choices, index in zip(self.nodes, self.choices, genome.layers, strict=True):
            if index:
                alike.setdefault(choices[index], []).append(node)
        rules = (
            Rule.for_nodes(names, precision=choice.precision, **dict(choice.settings))
            for choice, names in alike.items()
        )
        return found.with_rules(*rules)

    def settings(self) -> Iterator[Genome]:
        """The start with one setting of the whole recipe changed."""
        origin = self.origin
        for index in range(1, len(self.ranges)):
            yield replace(origin, ranges=index)
        for method in ("mse", "minmax"):
            if method != origin.weight_ranges:
                yield replace(origin, weight_ranges=method)
        for equalize in self.equalize:
            if equalize != origin.equalize:
                yield replace(origin, equalize=equalize)
        for smooth in self.smooth:
            if smooth != origin.smooth:
                yield replace(origin, smooth=smooth)


def possible(bench: Bench, start: Recipe, wanted: Sequence[str] | None) -> dict[str, Model]:
    """Precision -> the network with every layer in it, for the precisions that the quantizer takes
    and the runtime executes. float32 is the network itself."""
    found = {"float32": bench.floating}
    for precision in PRECISIONS if wanted is None else wanted:
        if precision == "float32":
            continue
        rules = tuple(
            replace(rule, settings={k: v for k, v in rule.settings.items() if k != "precision"})
            for rule in start.rules
        )
        recipe = replace(start.with_defaults(precision=precision), rules=rules)
        try:
            model = bench.quantize(recipe)
            label = _EXECUTED.get(precision, precision.partition("_")[0])
            if any(executed(model.graph, n).startswith(label) for n in model.graph.nodes):
                found[precision] = model
        except OctavoError:
            continue
    return found


def _runs(model: Model, precision: str) -> set[str]:
    """The nodes that a uniform model really executes in its precision."""
    label = _EXECUTED.get(precision, precision.partition("_")[0])
    return {n.name for n in model.graph.nodes if executed(model.graph, n).startswith(label)}


def _other_ranges(own: Settings) -> list[tuple[tuple[str, Any], ...]]:
    return [
        tuple(entry.items())
        for entry in _LAYER_RANGES
        if any(getattr(own, name) != value for name, value in entry.items())
    ]


def space_of(
    bench: Bench, start: Recipe, wanted: Sequence[str] | None
) -> tuple[Space, Graph, dict[str, Model]]:
    """(space, the graph that recipes speak of, the uniform models by precision)."""
    graph, nodes = layers_of(bench.problem.graph)
    uniform = possible(bench, start, wanted)
    settings = start.resolve(graph)
    running = {precision: _runs(model, precision) for precision, model in uniform.items()}
    own = start.defaults
    first = {"activation_ranges": own.activation_ranges, "percentile": own.percentile}
    others = [
        entry for entry in _DEFAULTS if any(first.get(key) != value for key, value in entry.items())
    ]
    choices = []
    for node in nodes:
        mine = settings[node.name]
        found = [Choice(mine.precision)]
        for precision in uniform:
            if precision == mine.precision:
                if precision == "int8":
                    found += [Choice(precision, e) for e in _other_ranges(mine)]
                    if node.op == "Linear" and node.outputs[0] in graph.outputs:
                        found.append(Choice(precision, (("real_outputs", not mine.real_outputs),)))
            elif precision == "float32" or node.name in running[precision]:
                found.append(Choice(precision))
        choices.append(tuple(found))
    norms = any(node.op == "LayerNorm" for node in graph.nodes)
    space = Space(
        start,
        tuple(node.name for node in nodes),
        tuple(choices),
        (first, *others),
        _WHOLE["equalize"] if any(node.op == "Conv" for node in graph.nodes) else (start.equalize,),
        _WHOLE["smooth"] if norms else (start.smooth,),
    )
    return space, graph, uniform

# SPDX-License-Identifier: Apache-2.0
"""What to quantize how: a readable, editable recipe, the same file for the CLI and Python.

A recipe is a list of rules (regular expression over node names, operator, settings) on top of
defaults. Later rules win, setting by setting; a rule that matches no node is an error, since it is
nearly always a misspelt name.

    {"format": "octavo-recipe", "version": 1,
     "defaults": {"activation_ranges": "mse"},
     "equalize": true, "smooth": 0.5, "optimization_samples": 128, "seed": 0,
     "rules": [{"nodes": "features\\\\.0/.*", "op": "Conv", "precision": "int16"},
               {"nodes": "classifier", "precision": "float32"}]}
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from octavo.errors import FormatError, InvalidArgumentError
from octavo.files import write_atomic
from octavo.ir import Graph, Node

__all__ = ["CHOICES", "PRECISIONS", "Recipe", "Rule", "Settings"]

#: int8: 8-bit activations and weights; int16: s16 activations, s8 weights; weights: s8 weights
#: only, float32 arithmetic; dynamic, dynamic_row: activations quantized on the fly, per tensor or
#: per row; float32: left alone.
PRECISIONS = ("int8", "int16", "weights", "dynamic", "dynamic_row", "float32")
#: What each setting may be, for the settings that are words.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "precision": PRECISIONS,
    "activation_type": ("u8", "s8"),
    "activation_ranges": ("minmax", "moving_average", "percentile", "entropy", "mse"),
    "weight_ranges": ("minmax", "mse"),
    "rounding": ("nearest", "adaptive"),
    "bias_correction": ("none", "analytic", "sequential"),
}
_FORMAT, _VERSION = "octavo-recipe", 1


@dataclass(frozen=True)
class Settings:
    """How one node is quantized.

    `activation_*` concern the node's output (and model inputs it reads); `percentile` is the share
    in percent of values kept inside by the percentile method, `momentum` the weight of the past in
    the moving average. `symmetric` fixes the zero point in the middle of the type's range. Weights
    are s8, symmetric, `per_channel` or per tensor. `rounding` adaptive chooses each weight's
    neighbour on the grid for the least error of the layer's output; `bias_correction` sequential
    measures the remaining mean error with all earlier layers quantized, analytic without.
    `real_outputs`: an 8-bit Linear layer that writes a model output scales its sums to float32
    instead of rounding them to 8 bits first, so that logits do not tie.
    """

    precision: str = "int8"
    activation_type: str = "u8"
    activation_ranges: str = "mse"
    percentile: float = 99.999
    momentum: float = 0.9
    symmetric: bool = False
    weight_ranges: str = "minmax"
    per_channel: bool = True
    rounding: str = "adaptive"
    bias_correction: str = "sequential"
    real_outputs: bool = False

    def __post_init__(self) -> None:
        _check_settings(asdict(self))


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Raises InvalidArgumentError for an unknown setting or a value it cannot have."""
    known = {item.name: item.type for item in fields(Settings)}
    for name, value in settings.items():
        if name not in known:
            raise InvalidArgumentError(
                f"recipe setting '{name}' is unknown; there are {', '.join(known)}"
            )
        if name in CHOICES:
            if value not in CHOICES[name]:
                raise InvalidArgumentError(
                    f"recipe setting {name}={value!r}: choose one of {', '.join(CHOICES[name])}"
                )
        elif known[name] == "bool":
            if not isinstance(value, bool):
                raise InvalidArgumentError(f"recipe setting {name}={value!r}: true or false")
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidArgumentError(f"recipe setting {name}={value!r}: a number")
    percentile = settings.get("percentile", 99.0)
    if not 50.0 < percentile <= 100.0:
        raise InvalidArgumentError(f"recipe setting percentile={percentile}: above 50, up to 100")
    if not 0.0 <= settings.get("momentum", 0.9) < 1.0:
        raise InvalidArgumentError(f"recipe setting momentum={settings['momentum']}: 0 up to 1")


@dataclass(frozen=True)
class Rule:
    """Settings for the nodes whose whole name matches `nodes` (a regular expression) and whose
    operator is `op` (any if None)."""

    nodes: str = ".*"
    op: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            re.compile(self.nodes)
        except (re.error, TypeError) as error:
            raise InvalidArgumentError(
                f"recipe rule: '{self.nodes}' is not a regular expression: {error}"
            ) from error
        _check_settings(self.settings)

    @staticmethod
    def for_nodes(names: Iterable[str], **settings: Any) -> Rule:
        """A rule for exactly these nodes."""
        return Rule("|".join(re.escape(name) for name in names), None, settings)

    def matches(self, node: Node) -> bool:
        """Does the rule apply to this node?"""
        return (self.op is None or self.op == node.op) and bool(re.fullmatch(self.nodes, node.name))


@dataclass(frozen=True)
class Recipe:
    """Everything the quantizer is told, but for the data.

    `equalize`: cross-layer equalization before calibration; `smooth`: SmoothQuant's migration
    strength alpha for the layers behind a LayerNorm, None to leave them; `optimization_samples`:
    how many calibration samples adaptive rounding and sequential bias correction look at.
    """

    defaults: Settings = field(default_factory=Settings)
    rules: tuple[Rule, ...] = ()
    equalize: bool = True
    smooth: float | None = 0.5
    optimization_samples: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.smooth is not None and not 0.0 <= self.smooth <= 1.0:
            raise InvalidArgumentError(f"recipe: smooth={self.smooth!r}: from 0 to 1, or null")
        for name in ("optimization_samples", "seed"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise InvalidArgumentError(f"recipe: {name}={value!r}: a whole number from 0")

    def resolve(self, graph: Graph) -> dict[str, Settings]:
        """Node name -> its settings. Raises InvalidArgumentError for a rule without a node."""
        found = dict.fromkeys((node.name for node in graph.nodes), self.defaults)
        for rule in self.rules:
            matched = [node.name for node in graph.nodes if rule.matches(node)]
            if not matched:
                where = "" if rule.op is None else f" and op '{rule.op}'"
                raise InvalidArgumentError(
                    f"recipe: no node matches the rule for '{rule.nodes}'{where}; "
                    "`octavo inspect` lists the model's nodes"
                )
            for name in matched:
                found[name] = replace(found[name], **rule.settings)
        return found

    def with_rules(self, *rules: Rule) -> Recipe:
        """A copy with further rules behind the others."""
        return replace(self, rules=(*self.rules, *rules))

    def with_defaults(self, **settings: Any) -> Recipe:
        """A copy with other default settings."""
        _check_settings(settings)
        return replace(self, defaults=replace(self.defaults, **settings))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in the JSON file."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "defaults": asdict(self.defaults),
            "equalize": self.equalize,
            "smooth": self.smooth,
            "optimization_samples": self.optimization_samples,
            "seed": self.seed,
            "rules": [
                {"nodes": rule.nodes, **({"op": rule.op} if rule.op else {}), **rule.settings}
                for rule in self.rules
            ],
        }

    @staticmethod
    def encoder() -> Recipe:
        """For BERT-like encoders: products in 8 bits with static ranges, norms, sums, softmax and
        Gelu in float32. What enters a layer is scaled channel by channel; its sums are not rounded.
        """
        settings = Settings(precision="float32", activation_ranges="minmax", real_outputs=True)
        return Recipe(settings, (Rule(op="Linear", settings={"precision": "int8"}),))

    @staticmethod
    def from_dict(document: Any) -> Recipe:
        """The recipe of plain data; what is not given has its default. Raises FormatError (not a
        recipe), InvalidArgumentError (unknown names or values)."""
        if not isinstance(document, Mapping) or document.get("format") != _FORMAT:
            raise FormatError(f'a recipe is a JSON object with "format": "{_FORMAT}"')
        if document.get("version") != _VERSION:
            raise FormatError(f"recipe version {document.get('version')!r}; this reads {_VERSION}")
        known = {"equalize", "smooth", "optimization_samples", "seed"}
        unknown = sorted(set(document) - known - {"format", "version", "defaults", "rules"})
        if unknown:
            raise InvalidArgumentError(f"recipe: unknown entries {unknown}")
        defaults, rules = document.get("defaults", {}), document.get("rules", [])
        if not isinstance(defaults, Mapping) or not isinstance(rules, list):
            raise FormatError('recipe: "defaults" is an object, "rules" a list')
        _check_settings(defaults)
        return Recipe(
            Settings(**defaults),
            tuple(_rule(entry) for entry in rules),
            **{name: document[name] for name in known if name in document},
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the recipe as JSON, atomically."""
        write_atomic(path, (json.dumps(self.to_dict(), indent=2) + "\n").encode())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Recipe:
        """Reads a recipe file, or gives the one of a name: "encoder" (unless there is such a file).
        Raises what `from_dict` raises, naming the file."""
        file = Path(path)
        if str(path) == "encoder" and not file.exists():
            return Recipe.encoder()
        if not file.is_file():
            raise InvalidArgumentError(f"no such recipe: '{file}' (a file, or \"encoder\")")
        try:
            return Recipe.from_dict(json.loads(file.read_text(encoding="utf-8")))
        except FormatError as error:
            raise FormatError(f"'{file}': {error}") from error
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"'{file}': {error}") from error
        except ValueError as error:
            raise FormatError(f"'{file}' is not JSON: {error}") from error


def _rule(entry: Any) -> Rule:
    if not isinstance(entry, Mapping):
        raise FormatError(f"recipe: the rule {entry!r:.80} is not an object")
    settings = {key: value for key, value in entry.items() if key not in ("nodes", "op")}
    return Rule(entry.get("nodes", ".*"), entry.get("op"), settings)

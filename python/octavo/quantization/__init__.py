# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization: calibrate on data, choose ranges, write a QDQ graph."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from octavo.errors import InvalidArgumentError, QuantizationError
from octavo.ir import Graph
from octavo.model import Model, load
from octavo.passes import run_model_pipeline
from octavo.quantization.adjust import adjust
from octavo.quantization.calibration import Calibration, Progress, calibrate, graph_digest
from octavo.quantization.checkpoint import Checkpoint
from octavo.quantization.confidence import Confidence, confidence_of
from octavo.quantization.data import Batches, Data, open_data
from octavo.quantization.equalized import EQUALIZED_KEY
from octavo.quantization.factors import Factored, with_factors
from octavo.quantization.insert import insert_qdq
from octavo.quantization.levels import level_ranges, levels_that_count, with_levels
from octavo.quantization.observers import Histogram, Statistics
from octavo.quantization.optimize import equalized, equalized_as
from octavo.quantization.parameters import (
    TensorRange,
    choose_ranges,
    settings_by_value,
    wide_parameters,
)
from octavo.quantization.preprocessing import METADATA_KEY, Preprocessing
from octavo.quantization.progress import progress_bar
from octavo.quantization.provenance import INPUTS_KEY, input_statistics
from octavo.quantization.ranges import METHODS
from octavo.quantization.recipe import CHOICES, Recipe, Rule, Settings
from octavo.quantization.rules import quantized_nodes, quantized_values, sharing_groups
from octavo.quantization.table import load_table, save_table, table_of, with_table

__all__ = [
    "METHODS",
    "Calibration",
    "Confidence",
    "Histogram",
    "Progress",
    "Quantized",
    "Recipe",
    "Statistics",
    "TensorRange",
    "calibrate_model",
    "quantize",
    "quantize_graph",
    "run_quantizer",
    "save_table",
]

RecipeSource = Recipe | str | os.PathLike[str]
TableSource = Mapping[str, Any] | str | os.PathLike[str]


@dataclass(frozen=True)
class Quantized:
    """A QDQ graph and how it came about. `ranges`, and the `settings` behind them, by value name of
    the `floating` graph that was calibrated."""

    graph: Graph
    floating: Graph
    calibration: Calibration
    ranges: dict[str, TensorRange]
    recipe: Recipe
    settings: dict[str, Settings]
    statistics: dict[str, Statistics]

    def confidence(self) -> Confidence:
        """Would more samples change the scales, and which tensors saw odd data?"""
        found = self.calibration
        used = {name: s for name, s in found.statistics.items() if name in self.ranges}
        return confidence_of(used, self.settings, found.samples, found.sources)

    def table(self) -> dict[str, Any]:
        """The calibration table, plain data for `save_table` and `quantize(table=...)`."""
        found = self.calibration
        equalized = self.graph.metadata.get(EQUALIZED_KEY, {})
        return table_of(self.floating.name, self.ranges, self.statistics, found.samples, equalized)


def _effective(
    recipe: RecipeSource | None, ranges: str | None, exclude: Iterable[str], graph: Graph
) -> Recipe:
    """The recipe with the shortcuts `ranges` and `exclude` worked in."""
    found = recipe if isinstance(recipe, Recipe) else Recipe.load(recipe) if recipe else Recipe()
    if ranges is not None:
        if ranges not in METHODS:
            raise InvalidArgumentError(f"ranges='{ranges}': choose one of {', '.join(METHODS)}")
        found = found.with_defaults(activation_ranges=ranges)
        if ranges in CHOICES["weight_ranges"]:
            found = found.with_defaults(weight_ranges=ranges)
    if isinstance(exclude, str):
        raise InvalidArgumentError(f"exclude='{exclude}': pass a list of node names")
    wanted = sorted(set(exclude))
    unknown = sorted(set(wanted) - {node.name for node in graph.nodes})
    if unknown:
        raise InvalidArgumentError(
            f"exclude names unknown nodes {unknown}; `octavo inspect` lists the model's nodes"
        )
    return found.with_rules(Rule.for_nodes(wanted, precision="float32")) if wanted else found


def run_quantizer(
    graph: Graph,
    calibration: Data | Batches | Calibration | None,
    *,
    recipe: RecipeSource | None = None,
    ranges: str | None = None,
    exclude: Iterable[str] = (),
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    table: TableSource | None = None,
) -> Quantized:
    """`quantize_graph` with everything that it found out; the stages in order.

    `checkpoint` is a file that keeps the calibration, so that it goes on after a kill; the caller
    deletes it when the result is safe (`Checkpoint.remove`). `table` is a calibration table whose
    ranges count instead of those of the data; without `calibration` it has to have all.
    """
    if any(value.quant is not None for value in graph.values.values()):
        raise QuantizationError(
            f"model '{graph.name}' is quantized already; quantize the float model it came from"
        )
    if calibration is None and table is None:
        raise InvalidArgumentError("quantize needs calibration data, or a calibration table")
    if calibration is not None and not isinstance(calibration, Calibration):
        calibration = open_data(graph, calibration)
    floating = run_model_pipeline(graph)
    told = _effective(recipe, ranges, exclude, floating)
    settings = told.resolve(floating)
    precision = {name: s.precision for name, s in settings.items() if s.precision != "int8"}
    away = {name for name, kind in precision.items() if kind != "int16"}
    nodes = quantized_nodes(floating, away)
    if calibration is None and (wide := [n.name for n in nodes if n.name in precision]):
        raise InvalidArgumentError(
            f"nodes of precision int16 ({', '.join(wide[:3])}) need calibration data: "
            "a calibration table has 8-bit ranges only"
        )
    values = quantized_values(floating, nodes)
    found = _calibrated(floating, values, calibration, told, progress, checkpoint)
    factored = with_factors(floating, nodes, settings) if told.equalize else Factored(floating)
    prepared = factored.graph
    nodes = quantized_nodes(prepared, away | factored.nodes)
    values = quantized_values(prepared, nodes, {n for n, s in settings.items() if s.real_outputs})
    groups = sharing_groups(prepared, nodes, values)
    better, statistics = equalized(factored, values, found, told, settings, progress)
    chosen = {}
    if calibration is not None:
        chosen = choose_ranges(prepared, nodes, groups, statistics, settings)
        chosen = level_ranges(better.levels, chosen)
    if table is not None:
        told_ranges = load_table(table) if isinstance(table, (str, os.PathLike)) else table
        better = equalized_as(told_ranges, prepared, better, calibration is not None)
        chosen = with_table(told_ranges, groups, chosen)
    better.levels = levels_that_count(better.levels, chosen)
    levelled, stored = with_levels(better.graph, better.levels, chosen)
    adjusted = adjust(
        levelled,
        nodes,
        stored,
        settings,
        statistics,
        found.kept,
        seed=told.seed,
        progress=progress,
    )
    result = insert_qdq(
        adjusted.graph,
        {name: entry.affine for name, entry in stored.items()},
        {node.name for node in nodes},
        settings,
        precision=precision,
        dtypes={name: entry.dtype for name, entry in stored.items()},
        wide=wide_parameters(prepared, nodes, statistics, settings),
        rounded=adjusted.weights,
    )
    if written := better.metadata():
        result = result.with_(metadata={**result.metadata, EQUALIZED_KEY: written})
    if found.preprocessing is not None:
        spec = found.preprocessing.to_dict()
        result = result.with_(metadata={**result.metadata, METADATA_KEY: spec})
    if seen := input_statistics(floating, found.statistics):
        result = result.with_(metadata={**result.metadata, INPUTS_KEY: seen})
    by_value = settings_by_value(prepared, nodes, groups, settings)
    return Quantized(result, floating, found, chosen, told, by_value, dict(statistics))


def _calibrated(
    graph: Graph,
    values: list[str],
    calibration: Batches | Calibration | None,
    recipe: Recipe,
    progress: Progress | None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Calibration:
    if calibration is None:
        return Calibration({}, 0, [], graph_digest(graph))
    if not isinstance(calibration, Calibration):
        return calibrate(
            graph,
            values,
            calibration,
            keep=recipe.optimization_samples,
            seed=recipe.seed,
            progress=progress,
            checkpoint=None if checkpoint is None else _checkpoint(checkpoint, graph, recipe),
        )
    missing = [name for name in values if name not in calibration.statistics]
    if calibration.digest != graph_digest(graph) or missing:
        raise InvalidArgumentError(
            "this calibration is of another model, or of the same one prepared by another recipe"
            + (f" (it lacks {missing[:3]})" if missing else "")
        )
    return calibration


def _checkpoint(path: str | os.PathLike[str], graph: Graph, recipe: Recipe) -> Checkpoint:
    told = json.dumps(recipe.to_dict(), sort_keys=True)
    return Checkpoint(path, {"model": graph_digest(graph), "recipe": told})


def quantize_graph(
    graph: Graph,
    calibration: Data | Batches | Calibration,
    *,
    recipe: RecipeSource | None = None,
    ranges: str | None = None,
    exclude: Iterable[str] = (),
    progress: Progress | None = None,
) -> Graph:
    """Float graph to QDQ graph: 8-bit activations per tensor, s8 weights, s32 bias.

    `calibration` yields inputs like those the model will see (float32, any batch size; consumed
    once, in constant memory), or is what `calibrate_model` returned. `recipe` says what to quantize
    how (the default: `Recipe()`); `ranges` sets its range method and `exclude` names nodes that
    stay in float32. `progress(stage, done, total)` is called as work goes on.

    Raises InvalidArgumentError (arguments, batches), QuantizationError (NaN or infinite
    activations, an already quantized model), ShapeError.
    """
    return run_quantizer(
        graph, calibration, recipe=recipe, ranges=ranges, exclude=exclude, progress=progress
    ).graph


def calibrate_model(
    model: str | os.PathLike[str] | Model,
    calibration: Data | Batches,
    *,
    recipe: RecipeSource | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """The statistics of every tensor that any recipe could store in 8 bits, for `quantize` with
    several recipes. Arguments and errors as for `quantize`."""
    floating = model if isinstance(model, Model) else load(model)
    graph = run_model_pipeline(floating.source)
    told = _effective(recipe, None, (), graph)
    values = quantized_values(graph, quantized_nodes(graph, ()))
    return _calibrated(graph, values, open_data(graph, calibration), told, progress)


def quantize(
    model: str | os.PathLike[str] | Model,
    calibration: Data | Batches | Calibration | None = None,
    *,
    recipe: RecipeSource | None = None,
    ranges: str | None = None,
    exclude: Iterable[str] = (),
    samples: int | None = None,
    preprocess: Preprocessing | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    progress: Progress | bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    table: TableSource | None = None,
) -> Model:
    """Quantizes a float model to int8.

    `model` is the path of a float ONNX file or a float Model. `calibration` is inputs like those
    the model will see: a folder of images, the path of a .npy or .npz file, an array or a dict of
    arrays with the samples along the first axis, an iterable of batches, a callable that returns
    one (`octavo.quantization.data.open_data`), or what `calibrate_model` returned. It is read once,
    in constant memory; `samples` limits how much. `preprocess` is what makes an input of an image:
    a preset ("imagenet", "unit", "signed", "raw"), a JSON file or a Preprocessing; it is stored in
    the model. `recipe` says what to quantize how; `ranges` (range method) and `exclude` (nodes that
    stay in float32) are shortcuts on top of it. `progress` is True for a bar on stderr, or is
    called with (stage, done, total). `checkpoint` is a file that keeps what calibration has found
    every few seconds: the same call goes on from there after a kill, with the same result byte for
    byte, and deletes it in the end. `table` is a calibration table (`octavo quantize --table`,
    `run_quantizer(...).table()`), perhaps edited: its ranges count instead of those of the data,
    which may be left out if it has all.

    Returns a quantized Model whose `reference` is the float network. Raises what `quantize_graph`
    raises, FormatError (a damaged file, naming it) and MissingExtraError.
    """
    floating = model if isinstance(model, Model) else load(model)
    with ExitStack() as stack:
        if progress is True:
            progress = stack.enter_context(progress_bar())
        data = calibration
        if data is not None and not isinstance(data, Calibration):
            data = open_data(floating.source, data, samples=samples, preprocess=preprocess)
        result = run_quantizer(
            floating.source,
            data,
            recipe=recipe,
            ranges=ranges,
            exclude=exclude,
            progress=progress or None,
            checkpoint=checkpoint,
            table=table,
        )
    if checkpoint is not None:
        Checkpoint(checkpoint, {}).remove()
    return Model(result.graph, reference=floating.source)

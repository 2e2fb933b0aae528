# SPDX-License-Identifier: Apache-2.0
"""Post-training quantization: calibrate on data, choose ranges, write a QDQ graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError, QuantizationError, ShapeError
from octavo.ir import DTYPES, Affine, Graph
from octavo.model import Model, load
from octavo.ops import infer_graph
from octavo.passes import run_model_pipeline
from octavo.quantization.insert import insert_qdq
from octavo.quantization.observers import Histogram
from octavo.quantization.ranges import METHODS, activation_range, affine_from_range
from octavo.quantization.recipe import Recipe
from octavo.quantization.rules import (
    FIXED_PARAMETERS,
    quantized_nodes,
    quantized_values,
    sharing_groups,
)
from octavo.reference import run_float

__all__ = ["METHODS", "Histogram", "Recipe", "quantize", "quantize_graph"]

Array = NDArray[Any]
Batch = Mapping[str, Array] | Array
Progress = Callable[[str, int], None]


def _named(graph: Graph, batch: Batch, index: int) -> dict[str, Array]:
    """A calibration batch by input name, with the shapes the model declares but for the batch."""
    if isinstance(batch, Mapping):
        found = {name: np.asarray(array) for name, array in batch.items()}
    elif len(graph.inputs) == 1:
        found = {graph.inputs[0]: np.asarray(batch)}
    else:
        raise InvalidArgumentError(
            f"calibration batch {index} is one array, but the model has inputs "
            f"{list(graph.inputs)}: yield dicts of name -> array"
        )
    if set(found) != set(graph.inputs):
        raise InvalidArgumentError(
            f"calibration batch {index} has {sorted(found)}, but the model has {list(graph.inputs)}"
        )
    for name, array in found.items():
        _check_input(graph, name, array, f"calibration batch {index}: input '{name}'")
    return found


def _check_input(graph: Graph, name: str, array: Array, what: str) -> None:
    declared = graph.values[name].shape
    symbols = graph.dynamic.get(name, (None,) * len(declared))
    free = [axis == 0 or symbol is not None for axis, symbol in enumerate(symbols)]
    fits = array.ndim == len(declared) and all(
        have == want or (any_size and have > 0)
        for have, want, any_size in zip(array.shape, declared, free, strict=True)
    )
    if not fits:
        raise ShapeError(
            f"{what} has shape {array.shape}, which does not fit {declared} (the batch in front "
            "may vary); calibration yields whole batches, e.g. a list of arrays"
        )
    dtype = np.dtype(DTYPES[graph.values[name].dtype])
    if array.dtype != dtype:
        raise InvalidArgumentError(
            f"{what} has dtype {array.dtype}, expected {dtype}: use array.astype(np.{dtype})"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise QuantizationError(f"{what} contains NaN or infinity; remove them from the data")


def _iterator(calibration: Iterable[Batch]) -> Iterator[Batch]:
    try:
        if isinstance(calibration, Mapping):  # its names, not batches, would come out
            raise TypeError
        return iter(calibration)
    except TypeError:
        raise InvalidArgumentError(
            f"calibration is a {type(calibration).__name__}; pass a list or generator of batches"
        ) from None


def _calibrate(
    graph: Graph, values: Collection[str], calibration: Iterable[Batch], progress: Progress | None
) -> dict[str, Histogram]:
    """Histograms of `values` over all batches; a batch may have its own batch size."""
    batches = _iterator(calibration)
    histograms = {name: Histogram(name) for name in values}

    def visit(name: str, array: Array) -> None:
        if name in histograms:
            histograms[name].add(array)

    count = 0
    sized: dict[tuple[tuple[int, ...], ...], Graph] = {}
    for batch in batches:
        arrays = _named(graph, batch, count)
        shapes = tuple(arrays[name].shape for name in graph.inputs)
        if shapes not in sized:
            sized[shapes] = infer_graph(graph, dict(zip(graph.inputs, shapes, strict=True)))
        for name in graph.inputs:
            visit(name, arrays[name])
        run_float(sized[shapes], arrays, visit=visit)
        count += 1
        if progress is not None:
            progress("calibrate", count)
    if count == 0:
        raise InvalidArgumentError(
            "calibration yielded no batch; give at least one (32 and more are usual)"
        )
    for name in values:
        data = graph.values[name].data
        if data is not None:
            histograms[name].add(data)
    return histograms


def _parameters(
    graph: Graph, groups: list[list[str]], histograms: Mapping[str, Histogram], method: str
) -> dict[str, Affine]:
    found: dict[str, Affine] = {}
    for group in groups:
        producers = [graph.producers[name].op for name in group if name in graph.producers]
        fixed = [FIXED_PARAMETERS[op] for op in producers if op in FIXED_PARAMETERS]
        if fixed and all(fixed[0].same(other) for other in fixed) and len(producers) == len(fixed):
            affine = fixed[0]
        else:
            affine = affine_from_range(
                *activation_range([histograms[name] for name in group], method)
            )
        found.update(dict.fromkeys(group, affine))
    return found


def _excluded(graph: Graph, exclude: Iterable[str]) -> frozenset[str]:
    """The nodes to leave alone, each known to the graph."""
    if isinstance(exclude, str):
        raise InvalidArgumentError(f"exclude='{exclude}': pass a list of node names")
    wanted = frozenset(exclude)
    unknown = sorted(wanted - {node.name for node in graph.nodes})
    if unknown:
        raise InvalidArgumentError(
            f"exclude names unknown nodes {unknown}; `octavo inspect` lists the model's nodes"
        )
    return wanted


def quantize_graph(
    graph: Graph,
    calibration: Iterable[Batch],
    *,
    ranges: str = "mse",
    exclude: Iterable[str] = (),
    progress: Progress | None = None,
) -> Graph:
    """Float graph to QDQ graph: u8 activations per tensor, s8 weights per channel, s32 bias.

    `calibration` yields inputs like those the model will see (float32, any batch size; consumed
    once, in constant memory). `ranges` is "mse" (least squared error) or "minmax". `exclude` names
    nodes that stay in float32. `progress(stage, count)` is called after each batch.

    Raises InvalidArgumentError (arguments, batches), QuantizationError (NaN or infinite
    activations, an already quantized model), ShapeError.
    """
    if ranges not in METHODS:
        raise InvalidArgumentError(f"ranges='{ranges}': choose one of {', '.join(METHODS)}")
    if any(value.quant is not None for value in graph.values.values()):
        raise QuantizationError(
            f"model '{graph.name}' is quantized already; quantize the float model it came from"
        )
    floating = run_model_pipeline(graph)
    kept = _excluded(floating, exclude)
    nodes = quantized_nodes(floating, kept)
    values = quantized_values(floating, nodes)
    histograms = _calibrate(floating, values, calibration, progress)
    groups = sharing_groups(floating, nodes, values)
    parameters = _parameters(floating, groups, histograms, ranges)
    return insert_qdq(floating, parameters, {node.name for node in nodes}, ranges)


def quantize(
    model: str | os.PathLike[str] | Model,
    calibration: Iterable[Batch],
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    ranges: str = "mse",
    exclude: Iterable[str] = (),
    progress: Progress | None = None,
) -> Model:
    """Quantizes a float model to int8; see `quantize_graph` for the options.

    `model` is the path of a float ONNX file or a float Model; `calibration` yields inputs (dicts of
    name -> array, or bare arrays for a model with one input). Returns a quantized Model whose
    `reference` is the float network.
    """
    floating = model if isinstance(model, Model) else load(model)
    recipe = Recipe.load(recipe) if isinstance(recipe, (str, os.PathLike)) else recipe
    recipe = recipe or Recipe()
    kept = [
        name
        for name, s in recipe.resolve(run_model_pipeline(floating.source)).items()
        if s.precision == "float32"
    ]
    source = quantize_graph(
        floating.source, calibration, ranges=ranges, exclude=[*kept, *exclude], progress=progress
    )
    return Model(source, reference=floating.source)

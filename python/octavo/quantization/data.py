# SPDX-License-Identifier: Apache-2.0
"""Where calibration data comes from: anything that yields batches of a model's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError, QuantizationError, ShapeError
from octavo.ir import DTYPES, Graph

__all__ = ["Batch", "Batches", "batches_of", "named"]

Array = NDArray[Any]
Batch = Mapping[str, Array] | Array


class Batches:
    """Batches of inputs, and how many samples there will be (None: nobody knows)."""

    def __init__(self, batches: Iterator[Batch], total: int | None = None) -> None:
        self._batches = batches
        self.total = total

    def __iter__(self) -> Iterator[Batch]:
        return self._batches


def batches_of(calibration: Iterable[Batch]) -> Batches:
    """The batches of what a caller gave. Raises InvalidArgumentError for what yields none."""
    try:
        if isinstance(calibration, Mapping):  # its names, not batches, would come out
            raise TypeError
        return Batches(iter(calibration))
    except TypeError:
        raise InvalidArgumentError(
            f"calibration is a {type(calibration).__name__}; pass a list or generator of batches"
        ) from None


def named(graph: Graph, batch: Batch, index: int) -> dict[str, Array]:
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
        check_input(graph, name, array, f"calibration batch {index}: input '{name}'")
    return found


def check_input(graph: Graph, name: str, array: Array, what: str) -> None:
    """Raises ShapeError, InvalidArgumentError or QuantizationError for an array that the input
    cannot take; the batch in front may vary."""
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

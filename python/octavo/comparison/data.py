# SPDX-License-Identifier: Apache-2.0
"""Batches out of whatever the caller has: a dict, an array, a list or iterator of them, a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError, InvalidArgumentError
from octavo.model import Model
from octavo.quantization.data import open_data
from octavo.quantization.preprocessing import METADATA_KEY, Preprocessing

__all__ = ["Batch", "Data", "Preprocess", "batches_of", "sample_count"]

Array = NDArray[Any]
Batch = Mapping[str, Array] | Array
Data = Batch | Iterable[Batch] | str | os.PathLike[str]
#: How images become inputs; see `octavo.quantize`.
Preprocess = Preprocessing | Mapping[str, Any] | str | os.PathLike[str] | None
#: Bytes of float32 activations, all of them kept, that one run may have.
_KEPT_BYTES = 96 << 20


def _read(path: str | os.PathLike[str], model: Model) -> Batch:
    """The arrays of a .npy or .npz file."""
    file = Path(path)
    if not file.is_file():
        raise InvalidArgumentError(f"no such file: '{file}'")
    try:
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            arrays = {name: found[name] for name in found.files}
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"'{file}' is not a NumPy file (.npy, .npz) of numbers") from error
    if len(model.inputs) == len(arrays) == 1:  # as for `quantize`: the only array is meant
        return dict(zip((info.name for info in model.inputs), arrays.values(), strict=True))
    return {info.name: arrays[info.name] for info in model.inputs if info.name in arrays}


def _images(model: Model, data: Any) -> Array | None:
    """Raw pixels for a float model that was saved with how its images are prepared, else None."""
    if METADATA_KEY not in model.source.metadata or len(model.inputs) != 1:
        return None
    found = next(iter(data.values())) if isinstance(data, Mapping) and len(data) == 1 else data
    if not isinstance(found, np.ndarray) or model.inputs[0].dtype != "f32":
        return None
    return found if found.dtype == np.uint8 and found.ndim in (3, 4) else None


def _named(model: Model, batch: Any) -> dict[str, Array]:
    if not isinstance(batch, Mapping):
        if len(model.inputs) != 1:
            raise InvalidArgumentError("the model has several inputs: pass a dict of name -> array")
        batch = {model.inputs[0].name: batch}
    return {str(name): np.asarray(array) for name, array in batch.items()}


def sample_count(data: Data) -> int | None:
    """How many samples `data` holds, None where that is not known before the end."""
    if isinstance(data, np.ndarray):
        return len(data) if data.ndim else 1
    if isinstance(data, Mapping):
        return next((len(a) for a in data.values() if np.ndim(a)), 1)
    if isinstance(data, (list, tuple)):
        counts = [sample_count(batch) for batch in data]
        return sum(count or 0 for count in counts)
    return None


def batches_of(
    model: Model, data: Data, preprocess: Preprocess = None
) -> Iterator[dict[str, Array]]:
    """Batches by input name, cut so that all activations of one fit a fixed amount of memory.

    A folder of images, uint8 images for a model saved with its preprocessing, and anything with
    `preprocess`, are read as calibration data are.
    Samples are cut apart along the first axis where that is a batch: a symbol which all inputs and
    outputs have there and nowhere else, or a fixed size that divides what is given. Raises
    InvalidArgumentError or FormatError naming the file.
    """
    if preprocess is not None or (isinstance(data, (str, os.PathLike)) and Path(data).is_dir()):
        found = open_data(model.source, data, preprocess=preprocess)
        data = (batch for _, batch in found)
    elif isinstance(data, (str, os.PathLike)):
        data = _read(data, model)
    pixels = _images(model, data)
    if pixels is not None:
        spec = model.source.metadata[METADATA_KEY]
        data = (batch for _, batch in open_data(model.source, pixels, preprocess=spec))
    if isinstance(data, (np.ndarray, Mapping)):
        data = [data]
    try:
        batches = iter(data)
    except TypeError:
        raise InvalidArgumentError(
            f"data is a {type(data).__name__}; pass arrays by input name, or an iterable of batches"
        ) from None
    step = _samples_at_once(model)
    for batch in batches:
        arrays = _named(model, batch)
        size = step or _declared(model, arrays)
        total = min((len(a) for a in arrays.values() if a.ndim), default=0)
        if not size or total <= size:
            yield arrays
            continue
        for start in range(0, total, size):
            yield {name: array[start : start + size] for name, array in arrays.items()}


def _samples_at_once(model: Model) -> int | None:
    """How many samples a run may have; None where the first axis is not known to be a batch."""
    infos = (*model.inputs, *model.outputs)
    first = {info.shape[0] if info.shape else None for info in infos}
    symbol = next(iter(first))
    if len(first) != 1 or not isinstance(symbol, str):
        return None
    if any(symbol in info.shape[1:] for info in infos):
        return None
    graph = model.source
    bound = graph.values[model.inputs[0].name].shape[0]
    computed = (value.size for value in graph.values.values() if value.data is None)
    per_sample = 4 * sum(computed) // max(1, bound)
    return max(1, min(64, _KEPT_BYTES // max(1, per_sample)))


def _declared(model: Model, arrays: Mapping[str, Array]) -> int | None:
    """The fixed batch size of the inputs where the arrays hold several of them."""
    sizes = set()
    for info in model.inputs:
        array = arrays.get(info.name)
        if array is None or not info.shape or array.ndim != len(info.shape):
            return None
        if not isinstance(info.shape[0], int) or len(array) % info.shape[0]:
            return None
        sizes.add((info.shape[0], len(array)))
    return next(iter(sizes))[0] if len(sizes) == 1 else None

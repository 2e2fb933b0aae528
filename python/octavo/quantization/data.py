# SPDX-License-Identifier: Apache-2.0
"""Where calibration data comes from: anything that yields batches of a model's inputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError, QuantizationError, ShapeError
from octavo.ir import DTYPES, Graph
from octavo.quantization.array_files import Samples, open_arrays, sample_batches
from octavo.quantization.image_folder import image_batches, image_files
from octavo.quantization.preprocessing import Preprocessing, preprocessing_for

__all__ = ["Batch", "Batches", "Data", "named", "open_data"]

Array = NDArray[Any]
Batch = Mapping[str, Array] | Array
#: What `octavo.quantize` takes as calibration data; see `open_data`.
Data = (
    str
    | os.PathLike[str]
    | Array
    | Mapping[str, Array]
    | Iterable[Batch]
    | Callable[[], Iterable[Batch]]
)
_STEP = 32  # samples that are read together, at most


class Batches:
    """(what it is, batch) pairs to be read once; `total` samples (None: nobody knows), that
    `preprocessing` made of images where there were any; `sources` are the samples' files."""

    def __init__(
        self,
        batches: Iterable[tuple[str, Batch]],
        total: int | None = None,
        preprocessing: Preprocessing | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        self._batches = iter(batches)
        self.total = total
        self.preprocessing = preprocessing
        self.sources = sources

    def __iter__(self) -> Iterator[tuple[str, Batch]]:
        return self._batches


def open_data(
    graph: Graph,
    data: Data | Batches,
    *,
    samples: int | None = None,
    preprocess: Preprocessing | Mapping[str, Any] | str | os.PathLike[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Batches:
    """The batches of whatever a caller gave, for the inputs of `graph`; nothing is held as a whole.

    A folder of images (all below it, by path; `preprocess` as in `preprocessing_for`), the path of
    a .npy or .npz file or a dict of arrays (samples along the first axis; by input name, any name
    serves a model with one input; uint8 images [N,H,W] or [N,H,W,C] are preprocessed), an array of
    samples, an iterable of batches, or a callable that returns one. A batch is a dict of input name
    -> array, or an array where there is one input, with any number of samples.

    `samples` limits how many are read: spread evenly over files and arrays, the first of others.

    Raises InvalidArgumentError, FormatError, MissingExtraError (images need Pillow).
    """
    if samples is not None and (type(samples) is not int or samples < 1):
        raise InvalidArgumentError(f"samples={samples!r}: pass a whole number from 1")
    if isinstance(data, Batches):
        return data
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        if path.is_dir():
            spec = preprocessing_for(graph, preprocess, overrides)
            return _images(graph, image_files(path), spec, samples)
        if not path.is_file():
            raise InvalidArgumentError(f"no such file or folder: '{path}'")
        if path.suffix.lower() not in (".npy", ".npz"):
            raise InvalidArgumentError(
                f"'{path}': calibration data is a folder of images, a .npy or a .npz file"
            )
        streams: Mapping[str, Samples] = open_arrays(path)
    elif isinstance(data, Mapping):
        streams = {name: _Held(np.asarray(array), name) for name, array in data.items()}
    elif isinstance(data, np.ndarray):
        rank = len(graph.values[graph.inputs[0]].shape)
        if data.ndim == rank + 1:  # batches behind each other
            return _iterated(iter(data), samples)
        streams = {"": _Held(data, "")}
    else:
        return _iterated(_iterator(data), samples)
    images = preprocess is not None or bool(overrides)
    made = preprocessing_for(graph, preprocess, overrides) if images else None
    return _arrays(graph, streams, made, samples)


class _Held:
    """An array in memory with the interface of a stream."""

    def __init__(self, array: Array, name: str) -> None:
        self._array = array
        self.what = f"calibration array '{name}'" if name else "the calibration array"
        self.shape, self.dtype = array.shape, array.dtype
        if array.ndim == 0:
            raise ShapeError(f"{self.what} is a single number; samples lie along the first axis")

    def take(self, indices: Sequence[int]) -> Array:
        """The samples at ascending `indices`."""
        if indices[-1] + 1 - indices[0] == len(indices):
            return self._array[indices[0] : indices[-1] + 1]
        return self._array[list(indices)]

    def close(self) -> None:
        """Nothing to do."""


def _spread(count: int, samples: int | None) -> Sequence[int]:
    """Up to `samples` of 0 to count - 1, evenly: sorted data has its classes behind each other."""
    if samples is None or samples >= count:
        return range(count)
    return [index * count // samples for index in range(samples)]


def _unit(graph: Graph, name: str) -> int:
    """Samples that an input takes at least at once: its first dimension where it is fixed."""
    symbols = graph.dynamic.get(name) or (None,)
    return 1 if symbols[0] else (graph.values[name].shape or (1,))[0]


def _images(graph: Graph, files: list[Path], spec: Preprocessing, samples: int | None) -> Batches:
    unit = _unit(graph, graph.inputs[0])
    chosen = [files[index] for index in _spread(len(files), samples)]
    _check_multiple(len(chosen), unit, "images")
    sources = [str(path) for path in chosen[::unit]]
    return Batches(image_batches(graph, chosen, spec, unit), len(chosen), spec, sources)


def _check_multiple(count: int, unit: int, what: str) -> None:
    if count % unit:
        raise InvalidArgumentError(
            f"{count} calibration {what} are no multiple of {unit}, which the model takes at once: "
            f"limit them to {count - count % unit or unit}"
        )


def _arrays(
    graph: Graph,
    streams: Mapping[str, Samples],
    spec: Preprocessing | None,
    samples: int | None,
) -> Batches:
    found = _by_input(graph, streams, spec is not None)
    lengths = {stream.what: stream.shape[0] for stream in found.values()}
    count = min(lengths.values(), default=0)
    if len(set(lengths.values())) > 1:
        raise InvalidArgumentError(f"the calibration arrays have different lengths: {lengths}")
    units = {_unit(graph, name) for name in found}
    unit = max(units, default=1)
    if len(units) > 1:
        unit = 1
    chosen = _spread(count, samples)
    _check_multiple(len(chosen), unit, "samples")
    batches = sample_batches(found, chosen, max(unit, _STEP - _STEP % unit))
    if spec is None:
        return Batches(batches, len(chosen))
    return Batches(_preprocessed(batches, spec), len(chosen), spec)


def _by_input(graph: Graph, streams: Mapping[str, Samples], images: bool) -> dict[str, Samples]:
    """The arrays of a file by the model's input names."""
    if all(name in streams for name in graph.inputs):
        return {name: streams[name] for name in graph.inputs}
    if len(graph.inputs) == 1:
        fitting = list(streams.values())
        if images and len(fitting) > 1:
            fitting = [s for s in fitting if s.dtype == np.uint8 and len(s.shape) in (3, 4)]
        if len(fitting) == 1:
            return {graph.inputs[0]: fitting[0]}
    raise InvalidArgumentError(
        f"calibration has the arrays {list(streams)}, the model the inputs {list(graph.inputs)}: "
        "save them under the inputs' names, e.g. np.savez(file, **{name: array})"
    )


def _preprocessed(
    batches: Iterable[tuple[str, Mapping[str, Array]]], spec: Preprocessing
) -> Iterator[tuple[str, Batch]]:
    """uint8 images in place of which their preprocessed form comes out."""
    for what, batch in batches:
        ((name, pixels),) = batch.items()
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
            raise InvalidArgumentError(
                f"{what}: a preprocessing takes uint8 images [N,H,W] or [N,H,W,C], not "
                f"{pixels.dtype} {pixels.shape}"
            )
        yield what, {name: np.stack([spec.apply_array(image) for image in pixels])}


def _iterator(data: Any) -> Iterator[Batch]:
    found = data() if callable(data) else data
    try:
        return iter(found)
    except TypeError:
        what = "calibration() returned" if callable(data) else "calibration is"
        raise InvalidArgumentError(
            f"{what} a {type(found).__name__}; pass a list or generator of batches, a folder of "
            "images, a .npy or .npz file, or a callable that returns batches"
        ) from None


def _iterated(batches: Iterator[Batch], samples: int | None) -> Batches:
    def limited() -> Iterator[tuple[str, Batch]]:
        seen = 0
        for index, batch in enumerate(batches):
            if samples is not None:
                batch = _first(batch, samples - seen)
                seen += _length(batch)
            yield f"calibration batch {index}", batch
            if samples is not None and seen >= samples:
                return

    return Batches(limited(), samples)


def _length(batch: Batch) -> int:
    arrays = batch.values() if isinstance(batch, Mapping) else [batch]
    return min((len(a) if np.ndim(a) else 1 for a in arrays), default=1)


def _first(batch: Batch, count: int) -> Batch:
    if _length(batch) <= count:
        return batch
    if isinstance(batch, Mapping):
        return {name: array[:count] for name, array in batch.items()}
    return batch[:count]


def named(graph: Graph, batch: Batch, what: str) -> dict[str, Array]:
    """A calibration batch by input name, with the shapes the model declares but for the batch."""
    if isinstance(batch, Mapping):
        found = {name: np.asarray(array) for name, array in batch.items()}
    elif len(graph.inputs) == 1:
        found = {graph.inputs[0]: np.asarray(batch)}
    else:
        raise InvalidArgumentError(
            f"{what} is one array, but the model has inputs "
            f"{list(graph.inputs)}: yield dicts of name -> array"
        )
    if set(found) != set(graph.inputs):
        raise InvalidArgumentError(
            f"{what} has {sorted(found)}, but the model has {list(graph.inputs)}"
        )
    for name, array in found.items():
        _check_input(graph, name, array, f"{what}: input '{name}'")
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
        at = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        raise QuantizationError(
            f"{what} contains NaN or infinity (sample {at} of it); remove them from the data"
        )

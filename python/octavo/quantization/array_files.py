# SPDX-License-Identifier: Apache-2.0
"""Samples from .npy and .npz files, a few at a time: no file is ever in memory as a whole."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError

__all__ = ["ArrayStream", "Samples", "open_arrays", "sample_batches"]

Array = NDArray[Any]
_SKIP_BYTES = 1 << 20
_READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
#: NumPy parses the header as Python text.
_HEADER_ERRORS = (
    *_READ_ERRORS,
    KeyError,
    MemoryError,
    RecursionError,
    SyntaxError,
    ValueError,
    tokenize.TokenError,
)


class Samples(Protocol):
    """An array whose samples are taken in order."""

    what: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def take(self, indices: Sequence[int]) -> Array:
        """The samples at ascending `indices`, all behind those taken before."""

    def close(self) -> None:
        """No more samples are wanted."""


class ArrayStream:
    """One array of a file, read along its first axis in order."""

    def __init__(self, stream: IO[bytes], what: str) -> None:
        self.what = what
        self._stream = stream
        try:
            version = np.lib.format.read_magic(stream)
            header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, fortran, self.dtype = header(stream)
        except _HEADER_ERRORS as error:
            raise FormatError(f"{what} is not a NumPy array: {error}") from error
        if self.dtype.hasobject:
            raise FormatError(f"{what} holds Python objects, not numbers")
        if not self.shape:
            raise FormatError(f"{what} is a single number; samples lie along the first axis")
        if fortran and len(self.shape) > 1:
            raise FormatError(f"{what} is in Fortran order: save np.ascontiguousarray(array)")

        self._position = 0

    def take(self, indices: Sequence[int]) -> Array:
        """The samples at ascending `indices`, all behind those taken before."""
        if indices[-1] + 1 - indices[0] == len(indices):
            self._skip(indices[0] - self._position)
            return self._read(len(indices))
        parts = []
        for index in indices:
            self._skip(index - self._position)
            parts.append(self._read(1))
        return np.concatenate(parts)

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()

    def _skip(self, count: int) -> None:
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = max(1, _SKIP_BYTES // max(1, row))
        while count > 0:  # a compressed stream can only be read
            self._read(min(count, step))
            count -= step

    def _read(self, count: int) -> Array:
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        try:
            data = self._stream.read(count * row)
        except _READ_ERRORS as error:
            raise FormatError(f"{self.what} is damaged: {error}") from error
        if len(data) != count * row:
            raise FormatError(f"{self.what} ends too early: it declares {self.shape[0]} samples")
        self._position += count
        return np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])


def open_arrays(path: Path) -> dict[str, ArrayStream]:
    """Array name -> stream of a .npz file; {"": stream} of a .npy file.

    Raises FormatError, naming the file and the array.
    """
    if path.suffix.lower() == ".npy":
        return {"": ArrayStream(path.open("rb"), f"'{path}'")}
    try:
        archive = zipfile.ZipFile(path)
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        return {
            name.removesuffix(".npy"): ArrayStream(
                archive.open(name), f"'{path}', array '{name.removesuffix('.npy')}'"
            )
            for name in names
        }
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:  # encrypted, unknown compression
        raise FormatError(f"'{path}' is not a NumPy file (.npz): {error}") from error


def sample_batches(
    streams: Mapping[str, Samples], indices: Sequence[int], step: int
) -> Iterator[tuple[str, dict[str, Array]]]:
    """(what, batch by name): `step` samples together, those of `indices` (ascending)."""
    where = next(iter(streams.values())).what
    try:
        for start in range(0, len(indices), step):
            wanted = list(indices[start : start + step])
            yield (
                f"{where}, samples {wanted[0]} to {wanted[-1]}",
                {name: stream.take(wanted) for name, stream in streams.items()},
            )
    finally:
        for stream in streams.values():
            stream.close()

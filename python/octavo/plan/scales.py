# SPDX-License-Identifier: Apache-2.0
"""Per-channel scales of the `graph` section: those that others determine are not stored again.

A plan holds m = s_x * s_w / s_y of a layer and a bias has the scale s_x * s_w, so that all three
arrays are one array times a number, to within the rounding of a few float32 operations. An entry
names the array, the number and, a letter per channel, the ulps by which the product misses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError
from octavo.plan.encode import ConstantPool

__all__ = ["ScaleTable", "decode_scales", "fetch"]

Array = NDArray[Any]
_NONE = ord("m")  # the letter of 0 ulps
_MOST = 12  # letters a … y
_TRIES = 64  # a match is among the first: scales come in the order of the steps
_NEAR = 2.0**-18


def fetch(entry: Any, dtype: Any, constants: memoryview) -> Array:
    """The elements at [offset, bytes]: a view of the constants section. Raises FormatError."""
    offset, size = entry
    if offset < 0 or size < 0 or offset + size > len(constants):
        raise FormatError(f"{size} bytes at {offset} lie outside the constants section")
    return np.frombuffer(constants[offset : offset + size], dtype)


def _times(base: Array, factor: float) -> Array:
    """float32(base * factor); the product is float64, so a float32 factor rounds once."""
    with np.errstate(over="ignore", under="ignore"):
        return (base.astype(np.float64) * factor).astype(np.float32)


def _derive(scale: Array, base: Array) -> dict[str, Any] | None:
    """`times` and `ulps` that make `scale` of `base`; None where it is no multiple."""
    if not (base > 0).all() or not np.isfinite(base).all():
        return None
    ratio = scale.astype(np.float64) / base
    middle = float(np.median(ratio))
    if not np.all(np.abs(ratio - middle) <= middle * _NEAR):
        return None
    found = []
    for factor in (float(np.float32(middle)), middle):
        ulps = scale.view(np.int32).astype(np.int64) - _times(base, factor).view(np.int32)
        if np.abs(ulps).max() <= _MOST:
            found.append((int(np.count_nonzero(ulps)), factor, ulps))
    if not found:
        return None
    misses, factor, ulps = min(found, key=lambda item: item[0])
    if misses == 0:
        return {"times": factor}
    return {"times": factor, "ulps": (ulps + _NONE).astype(np.uint8).tobytes().decode("ascii")}


class ScaleTable:
    """The arrays added so far, equal ones once; `entries` is their JSON."""

    def __init__(self, pool: ConstantPool) -> None:
        self.entries: list[dict[str, Any]] = []
        self._pool = pool
        self._found: dict[bytes, int] = {}
        self._bases: dict[int, list[tuple[Any, Array]]] = {}  # of weights: what the plan holds
        self._weights: dict[int, list[tuple[Any, Array]]] = {}  # of biases: scales of weights
        for index in range(len(pool)):
            offset, size, dtype = pool.entry(index)
            if dtype == "f32":
                data = np.frombuffer(pool.bytes_of(index), np.float32)
                self._bases.setdefault(data.size, []).append(([offset, size], data))

    def add(self, scale: Array, bias: bool = False) -> int:
        """Index of a scale array, float32 [channels]. Those of biases come after all others."""
        array = np.ascontiguousarray(scale, np.float32).reshape(-1)
        payload = array.tobytes()
        if payload not in self._found:
            index = self._found[payload] = len(self.entries)
            self.entries.append(self._entry(array, bias))
            if not bias:
                self._weights.setdefault(array.size, []).append((index, array))
        return self._found[payload]

    def _entry(self, array: Array, bias: bool) -> dict[str, Any]:
        usable = array.size > 0 and bool((array > 0).all() and np.isfinite(array).all())
        if usable and self._pool.find(array) is None:
            bases = (self._weights if bias else self._bases).get(array.size, [])
            for place, (name, base) in enumerate(bases[:_TRIES]):
                derived = _derive(array, base)
                if derived is not None:
                    del bases[place]
                    return {"of": name, **derived}
        offset, size, _ = self._pool.entry(self._pool.add(array))
        return {"at": [offset, size]}


def _decode(entry: Any, earlier: Sequence[Array], constants: memoryview) -> Array:
    if "at" in entry:
        return fetch(entry["at"], np.float32, constants)
    name, factor = entry["of"], float(entry["times"])
    if isinstance(name, int):
        if not 0 <= name < len(earlier):
            raise FormatError(f"a scale is derived from number {name}, which is not before it")
        base = earlier[name]
    else:
        base = fetch(name, np.float32, constants)
    if not (math.isfinite(factor) and factor > 0):
        raise FormatError(f"a scale is derived by the factor {factor}")
    scale = _times(base, factor)
    if "ulps" in entry:
        ulps = np.frombuffer(entry["ulps"].encode("ascii"), np.uint8).astype(np.int32) - _NONE
        if ulps.shape != scale.shape or np.abs(ulps).max(initial=0) > _MOST:
            raise FormatError(f"{ulps.size} corrections of {scale.size} scales do not fit")
        scale = (scale.view(np.int32) + ulps).view(np.float32)
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise FormatError("a derived scale is not a positive number")
    return scale


def decode_scales(entries: Any, constants: memoryview) -> list[Array]:
    """The arrays of a table, float32 [channels] each. Raises FormatError, and KeyError, TypeError
    or ValueError where an entry is none."""
    scales: list[Array] = []
    for entry in entries:
        scales.append(_decode(entry, scales, constants))
    return scales

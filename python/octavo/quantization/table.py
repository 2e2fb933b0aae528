# SPDX-License-Identifier: Apache-2.0
"""The calibration table: every activation's range as JSON, to be read, edited and read back."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from octavo.errors import FormatError, InvalidArgumentError
from octavo.files import write_atomic
from octavo.quantization.observers import Statistics
from octavo.quantization.parameters import TensorRange
from octavo.quantization.ranges import affine_from_range

__all__ = ["load_table", "save_table", "table_of", "with_table"]

_FORMAT, _VERSION = "octavo-calibration-table", 1
_NOTE = (
    "low, high, dtype and symmetric count and may be edited; scale and zero_point follow from "
    "them. A tensor that is deleted here gets its range from calibration data."
)


def table_of(
    model: str,
    ranges: Mapping[str, TensorRange],
    statistics: Mapping[str, Statistics],
    samples: int,
    equalized: Mapping[str, Any],
) -> dict[str, Any]:
    """The table as plain data; `equalized` is what `Equalized.metadata` says of the network that
    the ranges are of."""
    tensors = {}
    for name, entry in ranges.items():
        seen = statistics.get(name)
        observed = None if seen is None or math.isinf(seen.low) else [seen.low, seen.high]
        tensors[name] = {
            "low": entry.low,
            "high": entry.high,
            "dtype": entry.dtype,
            "symmetric": entry.symmetric,
            "scale": float(entry.affine.scale),
            "zero_point": int(entry.affine.zero_point),
            "method": entry.method,
            "observed": observed,
        }
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "note": _NOTE,
        "model": model,
        "samples": samples,
        "equalized": dict(equalized),
        "tensors": tensors,
    }


def save_table(path: str | os.PathLike[str], table: Mapping[str, Any]) -> None:
    """Writes a table atomically, a tensor per line."""
    head = {key: value for key, value in table.items() if key != "tensors"}
    rows = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(entry)}" for name, entry in table["tensors"].items()
    )
    text = (
        json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "tensors": {\n' + rows + "\n  }\n}\n"
    )
    write_atomic(path, text.encode())


def load_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a table. Raises InvalidArgumentError (no such file), FormatError naming the file."""
    file = Path(path)
    if not file.is_file():
        raise InvalidArgumentError(f"no such calibration table: '{file}'")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"'{file}' is not JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise FormatError(f'\'{file}\' is no calibration table: it lacks "format": "{_FORMAT}"')
    if found.get("version") != _VERSION:
        raise FormatError(f"'{file}': version {found.get('version')!r}; this reads {_VERSION}")
    return found


def _entry(name: str, told: Any) -> TensorRange:
    what = f"calibration table, tensor '{name}'"
    if not isinstance(told, Mapping):
        raise FormatError(f"{what}: not an object")
    unknown = {"low", "high"} - set(told)
    if unknown:
        raise InvalidArgumentError(f"{what}: no {' and no '.join(sorted(unknown))}")
    low, high = told["low"], told["high"]
    dtype, symmetric = told.get("dtype", "u8"), told.get("symmetric", False)
    for key, number in (("low", low), ("high", high)):
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise InvalidArgumentError(f"{what}: {key}={number!r} is no number")
    if not -3e38 < low <= 0.0 <= high < 3e38:
        raise InvalidArgumentError(f"{what}: [{low}, {high}] is no finite range that contains 0")
    if dtype not in ("u8", "s8") or not isinstance(symmetric, bool):
        raise InvalidArgumentError(
            f"{what}: dtype={dtype!r}, symmetric={symmetric!r}: u8 or s8, true or false"
        )
    affine = affine_from_range(float(low), float(high), dtype, symmetric=symmetric)
    return TensorRange(float(low), float(high), affine, dtype, "table", symmetric)


def with_table(
    table: Mapping[str, Any],
    groups: Iterable[Sequence[str]],
    chosen: Mapping[str, TensorRange],
) -> dict[str, TensorRange]:
    """Each tensor's range: the table's, or the `chosen` one where the table has none.

    Raises InvalidArgumentError for a tensor that is not stored in 8 bits, for two that share
    parameters with different ranges, and for one that has no range at all.
    """
    tensors = table.get("tensors")
    if not isinstance(tensors, Mapping):
        raise FormatError('a calibration table has an object "tensors"')
    told = {name: _entry(name, entry) for name, entry in tensors.items()}
    members = [list(group) for group in groups]
    unknown = sorted(set(told) - {name for group in members for name in group})
    if unknown:
        raise InvalidArgumentError(
            f"the calibration table has {unknown[:5]}, which this model does not store in 8 bits"
        )
    found: dict[str, TensorRange] = {}
    for group in members:
        given = {name: told[name] for name in group if name in told}
        entry = next(iter(given.values()), chosen.get(group[0]))
        if entry is None:
            raise InvalidArgumentError(
                f"no range for {group[:3]}: the calibration table lacks it and there is no data"
            )
        for name, other in given.items():
            if (other.low, other.high, other.dtype, other.symmetric) != (
                *(entry.low, entry.high),
                *(entry.dtype, entry.symmetric),
            ):
                raise InvalidArgumentError(
                    f"the calibration table has different ranges for '{next(iter(given))}' and "
                    f"'{name}', which share their parameters: give both the same"
                )
        if given and group[0] in chosen and _same(chosen[group[0]], entry):
            entry = replace(entry, method=chosen[group[0]].method)
        found.update(dict.fromkeys(group, entry))
    return found


def _same(a: TensorRange, b: TensorRange) -> bool:
    return a.dtype == b.dtype and a.affine.same(b.affine)

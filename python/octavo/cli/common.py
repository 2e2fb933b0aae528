# SPDX-License-Identifier: Apache-2.0
"""What the subcommands share: arguments, inputs, numbers as text."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError, InvalidArgumentError
from octavo.ir import DTYPES
from octavo.model import Model
from octavo.session import Session

__all__ = [
    "add_runtime_arguments",
    "compile_model",
    "db",
    "load_inputs",
    "print_json",
    "random_inputs",
    "share",
    "size",
]

Array = NDArray[Any]


def add_runtime_arguments(parser: argparse.ArgumentParser) -> None:
    """--threads, --isa and --tune."""
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default 1)")
    parser.add_argument(
        "--isa", metavar="NAME", help="restrict the instruction sets, e.g. scalar or avx2"
    )
    parser.add_argument(
        "--tune",
        nargs="?",
        const=True,
        default=False,
        metavar="FILE",
        help="measure which kernel is fastest for each layer; FILE (JSON) remembers",
    )


def compile_model(model: Model, arguments: argparse.Namespace, **options: Any) -> Session:
    """The session that --threads, --isa and --tune ask for."""
    return model.compile(
        threads=arguments.threads, isa=arguments.isa, tune=arguments.tune, **options
    )


def print_json(document: Any) -> None:
    """One JSON document on stdout; non-finite numbers become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    print(json.dumps(plain(document), indent=2))


def size(count: float) -> str:
    """Bytes as text: 812 B, 1.5 KB, 3.4 MB (1 KB = 1,000 B)."""
    for unit in ("B", "KB", "MB"):
        if count < 1000 or unit == "MB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def share(value: float | None) -> str:
    """0.873 -> 87 %; None -> –."""
    return "–" if value is None else f"{100 * value:.0f} %"


def db(value: float | None) -> str:
    """An SQNR: 28.4 dB, ∞ when equal, – when there is none."""
    if value is None:
        return "–"
    return "∞" if math.isinf(value) and value > 0 else f"{value:.1f}"


def random_inputs(
    model: Model, seed: int, shapes: dict[str, tuple[int, ...]] | None = None
) -> dict[str, Array]:
    """Seeded inputs of the default shapes: normal for floats, all 8-bit integers, and 0 to 99 for
    wider ones, which are indices mostly."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for info in model.inputs:
        shape = (shapes or {}).get(info.name) or model.source.values[info.name].shape
        dtype = np.dtype(DTYPES[info.dtype])
        if dtype.kind == "f":
            arrays[info.name] = rng.standard_normal(shape, np.float32).astype(dtype)
        else:
            low, high = (
                (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.itemsize == 1 else (0, 99)
            )
            arrays[info.name] = rng.integers(low, high, shape, dtype, endpoint=True)
    return arrays


def load_inputs(model: Model, path: str | None, seed: int) -> dict[str, Array]:
    """Inputs from an .npz (arrays by input name) or .npy file (a model with one input), or seeded
    random ones without a path. Raises InvalidArgumentError or FormatError naming the file."""
    if path is None:
        return random_inputs(model, seed)
    file = Path(path)
    if not file.is_file():
        raise InvalidArgumentError(f"no such file: '{file}'")
    try:
        with np.load(file, allow_pickle=False) if file.suffix == ".npz" else _Single(file) as data:
            found = {name: data[name] for name in data.files}
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"'{file}' is not a NumPy file (.npy, .npz) of numbers") from error
    if file.suffix != ".npz":
        return {model.inputs[0].name: found["array"]}
    return {info.name: found[info.name] for info in model.inputs if info.name in found}


class _Single:
    """A .npy file with the interface of an .npz file of one array."""

    def __init__(self, file: Path) -> None:
        self._array: Array = np.load(file, allow_pickle=False)
        self.files = ["array"]

    def __getitem__(self, name: str) -> Array:
        return self._array

    def __enter__(self) -> _Single:
        return self

    def __exit__(self, *unused: object) -> None:
        return None

# SPDX-License-Identifier: Apache-2.0
"""octavo quantize: float ONNX to int8."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.cli.common import print_json, random_inputs, size
from octavo.errors import FormatError, InvalidArgumentError, missing_extra
from octavo.model import Model, load
from octavo.quantization import METHODS, quantize
from octavo.report.table import heading, style

HELP = "quantize a float ONNX model to int8 with calibration data"
EXAMPLE = "octavo quantize model.onnx --calibration samples.npy --output model_qdq.onnx"

Array = NDArray[Any]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="float .onnx file")
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="samples along the first axis: .npy, or .npz by input name",
    )
    parser.add_argument(
        "--random-calibration",
        type=int,
        metavar="N",
        help="calibrate on N random inputs instead: only to try things out",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help=".onnx (QDQ) or .octavo")
    parser.add_argument("--ranges", choices=METHODS, help="range method (default mse)")
    parser.add_argument("--batch", type=int, default=16, help="samples per batch (default 16)")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="NODE",
        help="keep a node in float (repeat)",
    )


def _samples(model: Model, path: str) -> dict[str, Array]:
    file = Path(path)
    if not file.is_file():
        raise InvalidArgumentError(f"no such file: '{file}'")
    try:
        data = np.load(file, allow_pickle=False)
        found = {name: data[name] for name in data.files} if file.suffix == ".npz" else data
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"'{file}' is not a NumPy file (.npy, .npz) of numbers") from error
    if isinstance(found, dict):
        return {info.name: found[info.name] for info in model.inputs if info.name in found}
    return {model.inputs[0].name: found}


def _batches(model: Model, arguments: argparse.Namespace) -> list[dict[str, Array]]:
    if arguments.calibration is None:
        if not arguments.random_calibration:
            raise InvalidArgumentError(
                "give --calibration FILE with real samples (32 and more), or --random-calibration N"
            )
        return [random_inputs(model, seed) for seed in range(arguments.random_calibration)]
    samples = _samples(model, arguments.calibration)
    count = min((len(array) for array in samples.values()), default=0)
    dynamic = all(isinstance(info.shape[0], str) for info in model.inputs if info.shape)
    step = max(1, arguments.batch) if dynamic else 1
    return [
        {name: array[i : i + step] for name, array in samples.items()}
        for i in range(0, count, step)
    ]


@contextmanager
def _progress(batches: list[dict[str, Array]]) -> Iterator[Iterable[dict[str, Array]]]:
    """The batches, with a bar on a terminal that is gone when the work ends or fails."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        raise missing_extra("onnx", "octavo quantize") from error
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield bar.track(batches, description="calibrating")


def run(arguments: argparse.Namespace) -> int:
    ending = Path(arguments.output).suffix.lower()
    if ending not in (".onnx", ".octavo"):
        raise InvalidArgumentError(
            f"--output '{arguments.output}': the ending must be .onnx or .octavo"
        )
    model = load(arguments.model)
    batches = _batches(model, arguments)
    with _progress(batches) as shown:
        quantized = quantize(model, shown, ranges=arguments.ranges, exclude=arguments.exclude)
    if ending == ".onnx":
        quantized.to_onnx(arguments.output)
    else:
        quantized.save(arguments.output)
    samples = sum(len(next(iter(batch.values()))) for batch in batches)
    written = Path(arguments.output).stat().st_size
    document = {
        "output": arguments.output,
        "bytes": written,
        "weight_bytes_float": model.weight_bytes,
        "weight_bytes": quantized.weight_bytes,
        "samples": samples,
        "float_steps": dict(quantized.float_reasons),
    }
    if arguments.json:
        print_json(document)
        return 0
    print(heading(f"{arguments.output}") + f"  {size(written)}")
    print(
        f"  weights {size(model.weight_bytes)} → {size(quantized.weight_bytes)}, "
        f"{samples} calibration samples, ranges {arguments.ranges or 'mse'}"
    )
    for node, reason in quantized.float_reasons.items():
        print(style(f"  float32: {node}: {reason}", "yellow"))
    return 0

# SPDX-License-Identifier: Apache-2.0
"""octavo run: one inference from files to files."""

from __future__ import annotations

import argparse
import hashlib
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.cli.common import add_runtime_arguments, compile_model, load_inputs, print_json
from octavo.files import write_atomic
from octavo.model import load
from octavo.report.table import Column, heading, render

HELP = "run a model once and show or save its outputs"
EXAMPLE = "octavo run model_qdq.onnx --input x.npz --output y.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=".onnx, .tflite or .octavo file")
    parser.add_argument(
        "--input", metavar="FILE", help=".npz by input name, or .npy (default: random)"
    )
    parser.add_argument("--output", metavar="FILE", help="write outputs to this .npz file")
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    parser.add_argument(
        "--strict", action="store_true", help="refuse float32 steps in an int8 model"
    )
    add_runtime_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    inputs = load_inputs(model, arguments.input, arguments.seed)
    shapes = {name: array.shape for name, array in inputs.items()}
    session = compile_model(model, arguments, shapes=shapes, strict=arguments.strict)
    outputs = session.run(inputs)
    if arguments.output:
        _save(arguments.output, outputs)
    rows = [
        {
            "name": name,
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "min": float(array.min()) if array.size else None,
            "max": float(array.max()) if array.size else None,
            "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
        }
        for name, array in outputs.items()
    ]
    if arguments.json:
        print_json({"model": model.name, "outputs": rows, "saved": arguments.output})
        return 0
    source = arguments.input or f"random inputs, seed {arguments.seed}"
    print(heading(f"{model.name}") + f"  ({source})")
    columns = (
        Column("output"),
        Column("dtype"),
        Column("shape"),
        Column("min", right=True),
        Column("max", right=True),
        Column("sha256", width=17),
    )
    cells = [
        [
            str(row["name"]),
            str(row["dtype"]),
            "×".join(map(str, outputs[str(row["name"])].shape)),
            f"{row['min']:.5g}" if row["min"] is not None else "",
            f"{row['max']:.5g}" if row["max"] is not None else "",
            str(row["sha256"]),
        ]
        for row in rows
    ]
    print(render(columns, cells))
    return 0


def _save(path: str, outputs: dict[str, NDArray[Any]]) -> None:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **outputs)
    write_atomic(path, stream.getvalue())

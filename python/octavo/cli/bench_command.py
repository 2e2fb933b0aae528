# SPDX-License-Identifier: Apache-2.0
"""octavo bench: latency of a model, whole and per layer."""

from __future__ import annotations

import argparse
import statistics
import time

from octavo.cli.common import add_runtime_arguments, compile_model, load_inputs, print_json, size
from octavo.errors import InvalidArgumentError
from octavo.model import load
from octavo.report.layers import layer_rows, layer_table
from octavo.report.table import heading
from octavo.session import BoundRun, cpu_info

HELP = "measure latency (min and median) of a model, and the time of each layer"
EXAMPLE = "octavo bench model_qdq.onnx --threads 1 --seconds 2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=".onnx or .octavo file")
    parser.add_argument(
        "--input", metavar="FILE", help=".npz by input name, or .npy (default: random)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    parser.add_argument("--seconds", type=float, default=1.0, help="measuring time (default 1)")
    add_runtime_arguments(parser)


def measure(bound: BoundRun, seconds: float) -> tuple[float, float, int]:
    """(min ms, median ms, runs) of repeated inferences within about `seconds`, after a warm-up."""
    bound()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        bound()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times), 1e3 * statistics.median(times), len(times)


def run(arguments: argparse.Namespace) -> int:
    if arguments.seconds <= 0:
        raise InvalidArgumentError(f"--seconds {arguments.seconds}: must be > 0")
    model = load(arguments.model)
    inputs = load_inputs(model, arguments.input, arguments.seed)
    shapes = {name: array.shape for name, array in inputs.items()}
    session = compile_model(model, arguments, shapes=shapes)
    fastest, median, runs = measure(session.bind(inputs), arguments.seconds)
    profile = session.profile(inputs)
    macs = sum(layer.kernel.macs for layer in profile)
    document = {
        "model": model.name,
        "cpu": cpu_info()["brand"],
        "threads": arguments.threads,
        "runs": runs,
        "ms_min": fastest,
        "ms_median": median,
        "gmacs": macs / fastest / 1e6,
        "arena_bytes": session.arena_bytes,
        "scratch_bytes": session.scratch_bytes,
        "packed_bytes": session.packed_bytes,
        "layers": layer_rows(profile),
    }
    if arguments.json:
        print_json(document)
        return 0
    print(heading(model.name) + f"  {document['cpu']}, {arguments.threads} thread(s)")
    print(
        f"  min {fastest:.3f} ms, median {median:.3f} ms over {runs} runs · "
        f"{macs / 1e6:.1f} MMAC, {document['gmacs']:.1f} GMAC/s · "
        f"arena {size(session.arena_bytes)}, packed weights {size(session.packed_bytes)}"
    )
    print()
    print(layer_table(profile))
    return 0

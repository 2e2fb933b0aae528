# SPDX-License-Identifier: Apache-2.0
"""octavo profile: the time of each step, as a table and as a timeline."""

from __future__ import annotations

import argparse

from octavo.cli.common import add_runtime_arguments, load_inputs, print_json
from octavo.model import load
from octavo.report.layers import layer_rows
from octavo.report.profile import profile
from octavo.report.table import heading
from octavo.session import cpu_info

HELP = "time every step of a model; write a timeline for ui.perfetto.dev"
EXAMPLE = "octavo profile model_qdq.onnx --trace trace.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=".onnx, .tflite or .octavo file")
    parser.add_argument(
        "--input", metavar="FILE", help=".npz by input name, or .npy (default: random)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    parser.add_argument("--repeats", type=int, default=50, help="runs to time (default 50)")
    parser.add_argument(
        "--trace", metavar="FILE", help="write the fastest run in Chrome's trace event format"
    )
    add_runtime_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    found = profile(
        model,
        load_inputs(model, arguments.input, arguments.seed),
        threads=arguments.threads,
        isa=arguments.isa,
        tune=arguments.tune,
        repeats=arguments.repeats,
        trace=arguments.trace,
    )
    if arguments.json:
        print_json({"model": model.name, "cpu": cpu_info()["brand"], "layers": layer_rows(found)})
        return 0
    total = sum(layer.us for layer in found)
    print(heading(model.name) + f"  {cpu_info()['brand']}, {arguments.threads} thread(s)")
    print(f"  {total:.1f} µs, the sum of every step's fastest of {arguments.repeats} runs")
    print()
    print(found)
    if arguments.trace:
        print(f"\n  {arguments.trace}: one run as a timeline; open it at https://ui.perfetto.dev")
    return 0

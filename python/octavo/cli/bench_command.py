# SPDX-License-Identifier: Apache-2.0
"""octavo bench: latency of a model, against other runtimes, and per layer."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from octavo.benchmark.measure import Alternative, Settings, Subject, measure
from octavo.benchmark.peers import PEERS, LiteRt, open_runtimes
from octavo.benchmark.results import Report
from octavo.benchmark.runtimes import Runtime
from octavo.benchmark.static_shapes import fix_shapes
from octavo.benchmark.suite import (
    add_measuring_arguments,
    names,
    new_report,
    settings_of,
    thread_counts,
)
from octavo.benchmark.tables import render_report
from octavo.cli.common import load_inputs, print_json
from octavo.errors import InvalidArgumentError, MissingExtraError
from octavo.model import load
from octavo.report.layers import render_layers
from octavo.report.table import heading

HELP = "measure latency of a model, alone or against other runtimes, and of each layer"
EXAMPLE = "octavo bench model_qdq.onnx --vs onnxruntime,openvino --threads 1,2 --png bench.png"
#: The command has a --json of its own, which takes a file name.
OWN_JSON = True

_TO_STDOUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help=".onnx, .tflite or .octavo file")
    add("--vs", type=names, default=[], metavar="A,B", help=f"peers: {', '.join(PEERS)}")
    add("--tflite", type=Path, metavar="FILE", help="the same model for litert")
    add("--input", metavar="FILE", help=".npz by input name, or .npy (default: random)")
    add("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    add("--seconds", type=float, default=1.0, help="measuring time per runtime (default 1)")
    add_measuring_arguments(parser)
    add(
        "--json",
        nargs="?",
        const=_TO_STDOUT,
        metavar="FILE",
        help="print machine-readable JSON, or write it to FILE.json",
    )


def _runtimes(arguments: argparse.Namespace) -> dict[str, Runtime]:
    """Octavo and the peers asked for.

    Raises InvalidArgumentError (unknown name) or MissingExtraError (not installed).
    """
    for name in arguments.vs:
        if name not in PEERS:
            raise InvalidArgumentError(f"--vs: unknown runtime '{name}'; known: {', '.join(PEERS)}")
    runtimes, missing = open_runtimes(arguments.vs, arguments.isa, arguments.tune)
    if missing:
        raise MissingExtraError("--vs: " + "; ".join(f"{n}: {why}" for n, why in missing.items()))
    return runtimes


def _subject(arguments: argparse.Namespace, runtimes: dict[str, Runtime], scratch: Path) -> Subject:
    model = load(arguments.model)
    feed = load_inputs(model, arguments.input, arguments.seed)
    feed = {name: np.ascontiguousarray(array) for name, array in feed.items()}
    alternatives: dict[str, Alternative] = {}
    if arguments.tflite is not None:
        litert = runtimes.get(LiteRt.name)
        if not isinstance(litert, LiteRt):
            raise InvalidArgumentError("--tflite: is for litert; add it to --vs")
        if not arguments.tflite.is_file():
            raise InvalidArgumentError(f"no such file: '{arguments.tflite}'")
        tflite_feed = litert.feed(arguments.tflite, arguments.seed)
        alternatives[litert.name] = Alternative(arguments.tflite, tflite_feed, "its own file")
    path = Path(arguments.model)
    symbolic = any(isinstance(dim, str) for info in model.inputs for dim in info.shape)
    if arguments.vs and symbolic and path.suffix == ".onnx":
        path = scratch / "static.onnx"
        fix_shapes(Path(arguments.model), path, {name: array.shape for name, array in feed.items()})
    return Subject(model.name, path, [feed], alternatives)


def _settings(arguments: argparse.Namespace) -> Settings:
    if not arguments.seconds > 0:
        raise InvalidArgumentError(f"--seconds {arguments.seconds}: must be > 0")
    common = settings_of(arguments)
    # Without peers the figures of a fresh process answer no question that was asked.
    loads = common.load_repeats if arguments.vs else 0
    return replace(common, turn_seconds=arguments.seconds / common.rounds, load_repeats=loads)


def _write_files(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.json not in (None, _TO_STDOUT):
        report.write(Path(arguments.json))
    if arguments.png is not None:
        from octavo.benchmark.chart import write_chart

        write_chart(report, arguments.png)
    if arguments.roofline is not None:
        from octavo.benchmark.roofline import write_roofline

        write_roofline(report, arguments.roofline)


def run(arguments: argparse.Namespace) -> int:
    """0; 1 when a peer failed."""
    settings, threads = _settings(arguments), thread_counts(arguments.threads)
    if not Path(arguments.model).is_file():  # before a peer is found missing
        raise InvalidArgumentError(f"no such file: '{arguments.model}'")
    runtimes = _runtimes(arguments)
    command = ["octavo", *sys.argv[1:]]
    report = new_report(command, settings, threads, runtimes, {})
    with tempfile.TemporaryDirectory() as scratch:
        subject = _subject(arguments, runtimes, Path(scratch))
        report.models.extend(measure(subject, runtimes, threads, settings))
    _write_files(arguments, report)
    if arguments.json == _TO_STDOUT:
        print_json(report.document())
        return int(report.failed)
    print(render_report(report))
    if not arguments.vs:
        for result in report.models:
            print(f"\n{heading('layers')}  {result.threads} thread(s)")
            print(render_layers(result.layers))
    return int(report.failed)

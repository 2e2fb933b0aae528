# SPDX-License-Identifier: Apache-2.0
"""Whole models at batch 1: Octavo and its peers, interleaved in one process (docs/bench.md).

python -m bench.models --threads 1,2 --json new.json --png bars.png --roofline layers.png
python -m bench.models --only resnet18 --compare old.json     # exit code 3: octavo became slower
python -m bench.models --from a.json b.json --png bars.png    # no measuring: merge and draw
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx

from bench import markdown, qdq_cache, twins, zoo
from bench.inputs import random_feed
from bench.onnx_info import input_specs
from octavo.benchmark.chart import write_chart
from octavo.benchmark.measure import Alternative, Subject, reason
from octavo.benchmark.peers import PEERS, LiteRt, open_runtimes
from octavo.benchmark.regressions import compare_reports, regressions, render_changes
from octavo.benchmark.results import ModelResult, Report, merge, read_report
from octavo.benchmark.roofline import write_roofline
from octavo.benchmark.runtimes import Feed, Runtime
from octavo.benchmark.static_shapes import fix_shapes
from octavo.benchmark.suite import (
    add_measuring_arguments,
    names,
    new_report,
    run_subjects,
    settings_of,
    thread_counts,
)
from octavo.benchmark.tables import render_report
from octavo.errors import OctavoError

DEFAULT_PEERS = ["onnxruntime", "openvino", "litert"]
COMPARED_INPUTS = 8
FAILED, NOTHING, SLOWER = 1, 2, 3


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--peers", type=names, default=DEFAULT_PEERS, metavar="A,B", help=", ".join(PEERS))
    add("--only", type=names, metavar="A,B", help=f"zoo models: {', '.join(zoo.ZOO)}")
    add("--models", type=Path, nargs="+", metavar="QDQ", help="QDQ ONNX files instead of the zoo")
    add_measuring_arguments(parser)
    add("--cache", type=Path, default=qdq_cache.default_cache(), help="folder for quantized models")
    add("--json", type=Path, metavar="FILE", help="write every figure")
    add("--markdown", action="store_true", help="print the tables of README.md")
    add("--compare", type=Path, metavar="OLD", help="compare with an earlier --json")
    add("--compare-anyway", action="store_true", help="even if machine or settings differ")
    add(
        "--from", dest="reports", type=Path, nargs="+", metavar="JSON",
        help="take earlier reports instead of measuring; pieces are merged",
    )  # fmt: skip
    args = parser.parse_args(argv)
    for option, given, known in (("--peers", args.peers, PEERS), ("--only", args.only, zoo.ZOO)):
        for name in given or []:
            if name not in known:
                parser.error(f"{option}: unknown name {name!r}; known: {', '.join(known)}")
    if args.models and args.only:
        parser.error("--models and --only exclude each other")
    try:
        args.settings, args.threads = settings_of(args), thread_counts(args.threads)
    except OctavoError as error:
        parser.error(str(error))
    if not args.threads or min(args.threads) < 1:
        parser.error("--threads: must be at least 1")
    return args


def _feeds(path: Path) -> list[Feed]:
    """Seeded inputs at batch 1; the first is the one that gets timed."""
    specs = input_specs(onnx.load_model(path))
    return [
        {spec.name: random_feed(spec.shape, spec.dtype, seed) for spec in specs}
        for seed in range(1, COMPARED_INPUTS + 1)
    ]


def _model_files(args: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, Path | Exception]]:
    """Name and static-shape QDQ file of each model asked for, or why there is none."""
    if args.models:
        for index, path in enumerate(args.models):
            target = scratch / f"{index}.onnx"
            try:
                fix_shapes(path, target)
            except Exception as error:  # missing file, not protobuf, malformed: all reported
                yield path.stem, error
            else:
                yield path.stem, target
        return
    for name in args.only or zoo.ZOO:
        try:
            yield name, qdq_cache.quantized_model(name, args.cache)
        except Exception as error:  # one model that fails must not hide the others' figures
            yield name, error


def _subjects(
    args: argparse.Namespace, runtimes: Mapping[str, Runtime], scratch: Path
) -> Iterator[Subject | ModelResult]:
    litert = runtimes.get(LiteRt.name)
    for name, path in _model_files(args, scratch):
        alternatives = {}
        tflite = None if args.models else twins.twin(name)
        try:
            if isinstance(path, Exception):
                raise path
            if isinstance(litert, LiteRt) and tflite is not None:
                feed = litert.feed(tflite, seed=1)
                alternatives[litert.name] = Alternative(tflite, feed, twins.NOTE)
            yield Subject(name, path, _feeds(path), alternatives)
        except Exception as error:  # reported as this model's failure
            yield ModelResult(name, args.threads[0], failure=reason(error))


def _measured(args: argparse.Namespace, command: list[str]) -> Report:
    runtimes, not_run = open_runtimes(args.peers, args.settings.isa, args.settings.tune)
    if LiteRt.name in runtimes and not args.models and (why := twins.absent()):
        not_run[LiteRt.name] = why
        del runtimes[LiteRt.name]
    report = new_report(command, args.settings, args.threads, runtimes, not_run)

    def progress(line: str) -> None:
        print(line, file=sys.stderr)

    with tempfile.TemporaryDirectory() as scratch:
        subjects = _subjects(args, runtimes, Path(scratch))
        run_subjects(report, subjects, runtimes, args.settings, progress)
    return report


def _status(report: Report, args: argparse.Namespace) -> int:
    if args.compare is not None:
        changes = compare_reports(read_report(args.compare), report, anyway=args.compare_anyway)
        print("\n" + render_changes(changes))
        if regressions(changes):
            return SLOWER
    if not report.models:
        return NOTHING
    return FAILED if report.failed else 0


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark: 1 if something failed, 2 if the request was wrong or there was nothing to
    run, 3 if octavo became slower than in the report to compare with."""
    args = _arguments(argv)
    command = ["python", "-m", "bench.models", *(sys.argv[1:] if argv is None else argv)]
    try:
        if args.compare is not None:
            read_report(args.compare)  # refused before minutes of measuring, not after
        if args.reports:
            report = merge([read_report(path) for path in args.reports])
        else:
            report = _measured(args, command)
        print(markdown.tables(report) if args.markdown else render_report(report))
        if args.json:
            report.write(args.json)
        if args.png:
            write_chart(report, args.png)
        if args.roofline:
            write_roofline(report, args.roofline)
        return _status(report, args)
    except OctavoError as error:
        print(f"bench.models: {type(error).__name__}: {error}", file=sys.stderr)
        return NOTHING


if __name__ == "__main__":
    sys.exit(main())

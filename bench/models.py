# SPDX-License-Identifier: Apache-2.0
"""Whole models at batch 1: Octavo and its peers on the same QDQ files, interleaved in one process.

python -m bench.models --peers onnxruntime,openvino --threads 1
python -m bench.models --models a.onnx b.onnx --json out.json --png out.png
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console

from bench import qdq_cache, report, zoo
from bench.measure import measure, reason
from bench.results import ModelResult, Report, machine_info, package_versions
from bench.runtimes import PEERS, OctavoRuntime, Runtime, open_runtimes

DEFAULT_PEERS = ["onnxruntime", "openvino"]


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--peers", type=_names, default=DEFAULT_PEERS, metavar="A,B", help=", ".join(PEERS))
    add("--threads", type=int, default=1, help="threads of every runtime (default 1)")
    add("--only", type=_names, metavar="A,B", help=f"zoo models: {', '.join(zoo.ZOO)}")
    add("--models", type=Path, nargs="+", metavar="QDQ", help="QDQ ONNX files instead of the zoo")
    add("--rounds", type=int, default=10, help="turns per runtime, about 50 ms each (default 10)")
    add("--isa", help="restrict octavo to an instruction set, as OCTAVO_ISA does")
    add("--cache", type=Path, default=qdq_cache.default_cache(), help="folder for quantized models")
    add("--json", type=Path, metavar="FILE", help="write every figure")
    add("--png", type=Path, metavar="FILE", help="write a bar chart")
    args = parser.parse_args(argv)
    for option, given, known in (("--peers", args.peers, PEERS), ("--only", args.only, zoo.ZOO)):
        for name in given or []:
            if name not in known:
                parser.error(f"{option}: unknown name {name!r}; known: {', '.join(known)}")
    if args.threads < 1 or args.rounds < 1:
        parser.error("--threads and --rounds must be at least 1")
    if args.models and args.only:
        parser.error("--models and --only exclude each other")
    return args


def _model_files(
    args: argparse.Namespace, octavo: OctavoRuntime | None, scratch: Path
) -> Iterator[tuple[str, Path | Exception]]:
    """Name and static-shape QDQ file of each model asked for, or why there is none."""
    if args.models:
        for index, path in enumerate(args.models):
            target = scratch / f"{index}.onnx"
            try:
                qdq_cache.fix_batch(path, target)
            except Exception as error:  # missing file, not protobuf, malformed: all reported
                yield path.stem, error
            else:
                yield path.stem, target
    elif octavo is not None:
        for name in args.only or zoo.ZOO:
            try:
                yield name, qdq_cache.quantized_model(name, octavo, args.cache)
            except Exception as error:  # one model that fails must not hide the others' figures
                yield name, error


def _measure_all(
    args: argparse.Namespace, runtimes: Mapping[str, Runtime], progress: Console
) -> Iterator[ModelResult]:
    octavo = runtimes.get(OctavoRuntime.name)
    quantizer = octavo if isinstance(octavo, OctavoRuntime) else None
    with tempfile.TemporaryDirectory() as scratch:
        for name, path in _model_files(args, quantizer, Path(scratch)):
            # Plain lines: a spinner's refresh thread would run during the timing.
            progress.print(f"[dim]{name}[/dim]")
            if isinstance(path, Exception):
                yield ModelResult(name, failure=reason(path))
                continue
            try:
                yield measure(name, path, runtimes, threads=args.threads, rounds=args.rounds)
            except (TypeError, ValueError) as error:
                yield ModelResult(name, failure=reason(error))


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 1 if something failed, 2 if there was nothing to run."""
    args = _arguments(argv)
    runtimes, not_run = open_runtimes(args.peers, args.isa)
    if OctavoRuntime.name not in runtimes and not args.models:
        not_run["zoo"] = "octavo quantizes these models; or pass QDQ files with --models"
    octavo = runtimes.get(OctavoRuntime.name)
    found = Report(
        command=["python", "-m", "bench.models", *(sys.argv[1:] if argv is None else argv)],
        settings={"threads": args.threads, "rounds": args.rounds, "batch": 1, "isa": args.isa},
        machine=machine_info(octavo.cpu_info if isinstance(octavo, OctavoRuntime) else None),
        versions=package_versions({name: r.version for name, r in runtimes.items()}),
        not_run=not_run,
    )
    found.models.extend(_measure_all(args, runtimes, Console(stderr=True)))
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a pipe has no width; the default of 80 cuts figures
    report.print_report(found, console)
    if args.json:
        report.write_json(found, args.json)
    if args.png and found.models:
        report.write_png(found, args.png)
    if not found.models:
        return 2
    return 1 if found.failed else 0


if __name__ == "__main__":
    sys.exit(main())

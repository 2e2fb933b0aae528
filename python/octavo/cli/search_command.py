# SPDX-License-Identifier: Apache-2.0
"""octavo search: recipes between accuracy, latency and size."""

from __future__ import annotations

import argparse

from octavo.analysis.search import search
from octavo.analysis.search_result import Candidate, SearchResult
from octavo.cli.common import db, print_json, size
from octavo.cli.trials_arguments import (
    add_trial_arguments,
    interruptible,
    problem_arguments,
    trial_progress,
)
from octavo.model import load
from octavo.quantization.recipe import PRECISIONS
from octavo.report.table import Column, heading, render, style

HELP = "search recipes for limits on accuracy, latency and size, measured on this CPU"
EXAMPLE = "octavo search model.onnx --data x.npy --max-drop 0.005 --journal s.jsonl --output r.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trial_arguments(parser, "agreement")
    parser.add_argument(
        "--max-drop", type=float, metavar="SHARE", help="most that the metric may drop below float"
    )
    parser.add_argument("--max-latency", type=float, metavar="MS", help="most milliseconds")
    parser.add_argument("--max-bytes", type=int, metavar="N", help="most bytes of .octavo file")
    parser.add_argument(
        "--precision",
        action="append",
        choices=PRECISIONS,
        help="what layers may be (repeat; default: all that this runtime executes)",
    )
    parser.add_argument("--trials", type=int, default=100, metavar="N", help="default 100")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after that many")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--output", metavar="FILE", help="write the best recipe")
    parser.add_argument("--save", metavar="FILE", help="write the Pareto set with its recipes")


def _row(title: str, candidate: Candidate) -> list[str]:
    layers = ", ".join(f"{count} {name}" for name, count in sorted(candidate.layers.items()))
    return [
        title,
        f"{candidate.score.metric:.4f}",
        db(candidate.score.sqnr_db),
        f"{candidate.latency_ms:.3f}",
        f"{candidate.relative:.2f}×",
        size(candidate.score.bytes),
        layers,
    ]


def _print(found: SearchResult) -> None:
    columns = [Column(""), *(Column(t, right=True) for t in (found.metric, "SQNR dB", "ms"))]
    columns += [Column("to start", right=True), Column("size", right=True), Column("layers")]
    rows = [_row("float32", found.float32), _row("start", found.start)]
    rows += [_row("best" if c is found.best else "", c) for c in found.pareto]
    print(heading(f"{found.model}: Pareto set of {found.trials} trials"))
    print(render(tuple(columns), rows))
    for text in found.unmet:
        print(style(f"  not met: {text}", "yellow"))


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    with interruptible(arguments.journal), trial_progress("trials") as progress:
        found = search(
            model,
            max_drop=arguments.max_drop,
            max_latency=arguments.max_latency,
            max_bytes=arguments.max_bytes,
            precisions=arguments.precision,
            trials=arguments.trials,
            seconds=arguments.seconds,
            seed=arguments.seed,
            threads=arguments.threads,
            progress=progress,
            **problem_arguments(arguments),
        )
    if arguments.output:
        found.best.recipe.save(arguments.output)
    if arguments.save:
        found.save(arguments.save)
    if arguments.png:
        found.save_picture(arguments.png)
    if arguments.json:
        print_json(found.to_dict())
    else:
        _print(found)
        for file in (arguments.output, arguments.save, arguments.png):
            if file:
                print(style(f"  wrote {file}", "dim"))
    return 3 if found.unmet else 0

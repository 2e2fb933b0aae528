# SPDX-License-Identifier: Apache-2.0
"""octavo sensitivity: which layers hurt in 8 bits."""

from __future__ import annotations

import argparse

from octavo.analysis.sensitivity import SWEEPS, Sensitivity, sensitivity
from octavo.analysis.trials import Score
from octavo.cli.common import db, print_json, size
from octavo.cli.trials_arguments import (
    add_trial_arguments,
    interruptible,
    problem_arguments,
    trial_progress,
)
from octavo.model import load
from octavo.report.table import Column, heading, render, style

HELP = "rank the layers of a float model by how much they hurt in 8 bits"
EXAMPLE = "octavo sensitivity model.onnx --data samples.npy --journal sweep.jsonl --png sweep.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_trial_arguments(parser, "sqnr")
    parser.add_argument(
        "--sweep",
        action="append",
        choices=SWEEPS,
        help="own: one pass; only: this layer alone in 8 bits; without: all but this one "
        "(repeat; default all)",
    )
    parser.add_argument(
        "--suggest", metavar="FILE", help="write a recipe with the worst layers in float32"
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="with --suggest: how many (default: half the noise)"
    )


def _cells(score: Score | None, metric: str) -> list[str]:
    if score is None:
        return ["–"] if metric == "sqnr" else ["–", "–"]
    return [db(score.sqnr_db), *([] if metric == "sqnr" else [f"{score.metric:.4f}"])]


def _print(found: Sensitivity) -> None:
    extra = [] if found.metric == "sqnr" else [found.metric]
    columns = [Column("#", right=True), Column("node", width=36), Column("op")]
    titles = ["own dB", "only dB", *(f"only {e}" for e in extra), "without dB"]
    titles += [*(f"without {e}" for e in extra), "MACs", "bytes"]
    columns += [Column(title, right=True) for title in titles]
    rows = [
        [
            str(layer.rank),
            layer.node,
            layer.op,
            db(layer.own_db),
            *_cells(layer.only, found.metric),
            *_cells(layer.without, found.metric),
            f"{layer.macs:,}",
            size(layer.bytes),
        ]
        for layer in found.layers
    ]
    print(heading(f"{found.model}: layers, worst first"))
    print(render(columns, rows))
    whole = f"  all in 8 bits: {db(found.int8.sqnr_db)} dB"
    if found.metric != "sqnr":
        whole += f", {found.metric} {found.int8.metric:.4f} (float {found.float32.metric:.4f})"
    print(whole)


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    with interruptible(arguments.journal), trial_progress("trials") as progress:
        found = sensitivity(
            model,
            sweeps=tuple(arguments.sweep or SWEEPS),
            progress=progress,
            **problem_arguments(arguments),
        )
    if arguments.suggest:
        found.suggest(arguments.count).save(arguments.suggest)
    if arguments.png:
        found.save_picture(arguments.png)
    if arguments.json:
        print_json(found.to_dict())
        return 0
    _print(found)
    for file in (arguments.suggest, arguments.png):
        if file:
            print(style(f"  wrote {file}", "dim"))
    return 0

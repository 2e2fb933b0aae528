# SPDX-License-Identifier: Apache-2.0
"""octavo explain: what hurts, where the time goes, what to try; as text, HTML page or JSON."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path

import numpy as np

from octavo.cli.common import db, random_inputs, share
from octavo.cli.progress import sample_progress
from octavo.errors import FormatError, InvalidArgumentError
from octavo.model import load
from octavo.report.explain import Explanation, explain
from octavo.report.explain_page import quantity
from octavo.report.table import Column, heading, render, style

HELP = "explain a quantized model: errors and their causes, time, memory, what to try"
EXAMPLE = "octavo explain q.octavo --reference float.onnx --input x.npz --html out.html"
_COLORS = {"error": "red", "warning": "yellow", "info": "dim"}
_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", help="quantized .onnx or .octavo file")
    add("--reference", metavar="FILE", help="float model (default: dequantized weights)")
    add(
        "--input",
        metavar="FILE",
        help="samples along the first axis: .npz by input name, or .npy; or a folder of images "
        "(default: random)",
    )
    add(
        "--preprocess", metavar="P", help="for images: a preset or JSON file (default: the model's)"
    )
    add("--labels", metavar="FILE", help=".npy of class numbers, for top-1 before and after")
    add("--html", metavar="FILE", help="write the page, which opens offline")
    add("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    add("--threads", type=int, default=1, metavar="N", help="threads (default 1)")
    add("--isa", metavar="NAME", help="restrict the instruction sets")
    add("--seconds", type=float, default=1.0, help="time for measuring latency (default 1)")


def _labels(path: str | None) -> np.ndarray | None:
    if path is None:
        return None
    file = Path(path)
    if not file.is_file():
        raise InvalidArgumentError(f"no such file: '{file}'")
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise FormatError(f"'{file}' is not a NumPy file (.npy) of numbers") from error


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    if arguments.html and Path(arguments.html).suffix.lower() not in (".html", ".htm"):
        raise InvalidArgumentError(f"--html '{arguments.html}': the ending must be .html")
    with sample_progress("explaining") as progress:
        found = explain(
            model,
            arguments.input or random_inputs(model, arguments.seed),
            arguments.reference,
            labels=_labels(arguments.labels),
            threads=arguments.threads,
            isa=arguments.isa,
            seconds=arguments.seconds,
            preprocess=arguments.preprocess,
            progress=progress,
            command=shlex.join(["octavo", *sys.argv[1:]]),
        )
    if arguments.html:
        found.save(arguments.html)
    if arguments.json:
        print(found.to_json())
        return 0
    _show(found)
    if arguments.input is None:
        print(style("  inputs were random: give real ones with --input for a verdict", "dim"))
    if arguments.html:
        print(f"\n  {arguments.html}: the page with everything; it opens offline")
    return 0


def _show(found: Explanation) -> None:
    """Claims, findings and the layers that add most noise."""
    about = found.about
    print(heading(about["model"]) + f"  {about['cpu']}, {about['threads']} thread(s)")
    columns = (
        Column(f"measured on {about['samples']} samples"),
        Column("float32", right=True),
        Column("this model", right=True),
        Column("", width=60),
    )
    cells = [
        [
            claim.name,
            quantity(claim.floating, claim.unit),
            quantity(claim.quantized, claim.unit),
            claim.absent or "",
        ]
        for claim in found.claims
    ]
    print(render(columns, cells))
    print()
    findings = found.diagnosis.findings
    print(heading("findings") + ("" if findings else "  none: nothing stands out"))
    for item in findings[:_SHOWN]:
        where = f" {item.node}" if item.node else ""
        print(
            style(f"  {item.severity}: {item.code}{where}: {item.message}", _COLORS[item.severity])
        )
        print(f"    try: {item.remedy}")
    if len(findings) > _SHOWN:
        print(style(f"  and {len(findings) - _SHOWN} more (--json, --html)", "dim"))
    print()
    print(heading("layers that add most noise of their own"))
    layers = [
        [layer.node, layer.op, db(layer.own_db), db(layer.sqnr_db), share(layer.saturated)]
        for layer in found.comparison.worst(_SHOWN)
        if layer.own_db is not None and math.isfinite(layer.own_db)
    ]
    titles = (
        Column("layer"),
        Column("op"),
        Column("own dB", right=True),
        Column("SQNR dB", right=True),
        Column("saturated", right=True),
    )
    print(render(titles, layers))

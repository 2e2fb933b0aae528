# SPDX-License-Identifier: Apache-2.0
"""octavo compare: int8 against the float reference, layer by layer and end to end."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from typing import Any

from octavo.analysis.bisect import CRITERIA, bisect
from octavo.cli.common import db, load_inputs, print_json, random_inputs, share
from octavo.cli.progress import sample_progress
from octavo.comparison import BROKEN_DB, Comparison, LayerError, OutputError, compare
from octavo.errors import InvalidArgumentError
from octavo.model import Model, load
from octavo.report.table import Column, heading, render, style

HELP = "compare a quantized model with its float reference, layer by layer"
EXAMPLE = "octavo compare model_qdq.onnx --reference model.onnx --input x.npz"
#: What --sort takes: a key of a layer, least first.
_KEYS = {
    "graph": None,
    "sqnr": lambda layer: layer.sqnr_db,
    "own": lambda layer: math.inf if layer.own_db is None else layer.own_db,
    "saturated": lambda layer: -(layer.saturated or 0.0),
}
_COLUMNS = (
    Column("node", width=36),
    Column("op"),
    Column("precision"),
    Column("SQNR dB", right=True),
    Column("own dB", right=True),
    Column("max abs", right=True),
    Column("mean abs", right=True),
    Column("cosine", right=True),
    Column("saturated", right=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="quantized .onnx or .octavo file")
    parser.add_argument(
        "--reference", metavar="FILE", help="float model (default: dequantized weights)"
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="samples along the first axis: .npz by input name, or .npy; or a folder of images "
        "(default: random)",
    )
    parser.add_argument(
        "--preprocess", metavar="P", help="for images: a preset or JSON file (default: the model's)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    parser.add_argument(
        "--sort",
        choices=tuple(_KEYS),
        default="graph",
        help="order of the layers: of execution, or the worst first by one column",
    )
    parser.add_argument("--top", type=int, metavar="N", help="show the first N layers only")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads (default 1)")
    parser.add_argument("--isa", metavar="NAME", help="restrict the instruction sets")
    parser.add_argument(
        "--bisect",
        nargs="?",
        const=CRITERIA[0],
        choices=CRITERIA,
        help="search the smallest part that shows the error, against the float reference (sqnr, "
        "the default) or against the integer norm (mismatch: a bug of a kernel)",
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="with --bisect: write the part and its inputs there"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="DB",
        help="with --bisect: the SQNR of the outputs below which there is an error",
    )


def _bisect(
    model: Model, reference: Model | None, inputs: Mapping[str, Any], arguments: argparse.Namespace
) -> int:
    found = bisect(
        model,
        inputs,
        reference=reference,
        criterion=arguments.bisect,
        threshold_db=arguments.threshold,
    )
    files = found.write(arguments.output) if found and arguments.output else []
    if arguments.json:
        culprit = found.to_dict() if found else None
        print_json({"model": model.name, "culprit": culprit, "files": [str(f) for f in files]})
        return 0
    if found is None:
        print(f"{model.name}: these inputs show no error")
        return 0
    print(heading(f"{model.name}: the smallest part that shows the error"))
    for name, op in zip(found.nodes, found.ops, strict=True):
        print(f"  {name} ({op})")
    print(
        f"  SQNR in dB: quantized alone {db(found.alone_db)}, all in front of it "
        f"{db(found.before_db)}, whole model {db(found.whole_db)}"
    )
    for hint in found.hints:
        print(style(f"  {hint}", "yellow"))
    print(style(f"  {found.runs} runs among {found.places} places", "dim"))
    for file in files:
        print(style(f"  wrote {file}", "dim"))
    return 0


def run(arguments: argparse.Namespace) -> int:
    if arguments.bisect is None and (arguments.output or arguments.threshold is not None):
        raise InvalidArgumentError("--output and --threshold are for --bisect")
    model = load(arguments.model)
    if arguments.bisect is not None:
        reference = load(arguments.reference) if arguments.reference else None
        inputs = load_inputs(model, arguments.input, arguments.seed)
        return _bisect(model, reference, inputs, arguments)
    data = arguments.input or random_inputs(model, arguments.seed)
    with sample_progress("comparing") as progress:
        result = compare(
            model,
            data,
            reference=arguments.reference,
            isa=arguments.isa,
            threads=arguments.threads,
            preprocess=arguments.preprocess,
            progress=progress,
        )
    if arguments.json:
        print_json({"model": model.name, **result.to_dict()})
        return 0
    print(heading(f"{model.name}: distance from the float reference, {result.samples} samples"))
    print(render(_COLUMNS, [_cells(layer) for layer in _ordered(result, arguments)]))
    for output in result.end_to_end:
        print(_line(output))
    if arguments.input is None:
        print(style("  inputs were random: give real ones with --input for a verdict", "dim"))
    broken = result.first_broken
    if broken is not None:
        print(
            style(
                f"  first layer below {BROKEN_DB:.0f} dB: {broken.node} ({broken.op}), "
                f"{db(broken.sqnr_db)} dB; keep it in float with octavo.quantize(..., "
                f"exclude=['{broken.node}']) or calibrate with more data",
                "yellow",
            )
        )
    return 0


def _ordered(result: Comparison, arguments: argparse.Namespace) -> list[LayerError]:
    key = _KEYS[arguments.sort]
    layers = list(result.layers) if key is None else sorted(result.layers, key=key)
    return layers[: arguments.top]


def _cells(layer: LayerError) -> list[str]:
    return [
        layer.node,
        layer.op,
        layer.precision,
        db(layer.sqnr_db),
        db(layer.own_db),
        f"{layer.max_abs:.4g}",
        f"{layer.mean_abs:.4g}",
        f"{layer.cosine:.5f}",
        share(layer.saturated),
    ]


def _line(output: OutputError) -> str:
    """One output end to end."""
    agreement = (
        ""
        if output.top1_agreement is None
        else (f", top-1 agrees {100 * output.top1_agreement:.2f} %")
    )
    return style(
        f"  {output.output}: SQNR {db(output.sqnr_db)} dB, cosine {output.cosine:.5f} "
        f"(worst {output.worst_cosine:.5f}){agreement}",
        "bold",
    )

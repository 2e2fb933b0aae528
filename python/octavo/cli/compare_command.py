# SPDX-License-Identifier: Apache-2.0
"""octavo compare: int8 against the float reference, layer by layer."""

from __future__ import annotations

import argparse

from octavo.cli.common import db, load_inputs, print_json, share
from octavo.comparison import BROKEN_DB, compare
from octavo.model import load
from octavo.report.table import Column, heading, render, style

HELP = "compare a quantized model with its float reference, layer by layer"
EXAMPLE = "octavo compare model_qdq.onnx --reference model.onnx --input x.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="quantized .onnx or .octavo file")
    parser.add_argument(
        "--reference", metavar="FILE", help="float model (default: dequantized weights)"
    )
    parser.add_argument(
        "--input", metavar="FILE", help=".npz by input name, or .npy (default: random)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of random inputs (default 0)")
    parser.add_argument("--isa", metavar="NAME", help="restrict the instruction sets")


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    reference = load(arguments.reference) if arguments.reference else None
    inputs = load_inputs(model, arguments.input, arguments.seed)
    result = compare(model, inputs, reference=reference, isa=arguments.isa)
    if arguments.json:
        print_json({"model": model.name, **result.to_dict()})
        return 0
    columns = (
        Column("node", width=36),
        Column("op"),
        Column("precision"),
        Column("SQNR dB", right=True),
        Column("max abs", right=True),
        Column("mean abs", right=True),
        Column("cosine", right=True),
        Column("saturated", right=True),
    )
    cells = [
        [
            layer.node,
            layer.op,
            layer.precision,
            db(layer.sqnr_db),
            f"{layer.max_abs:.4g}",
            f"{layer.mean_abs:.4g}",
            f"{layer.cosine:.5f}",
            share(layer.saturated),
        ]
        for layer in result.layers
    ]
    print(heading(f"{model.name}: distance from the float reference"))
    print(render(columns, cells))
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

# SPDX-License-Identifier: Apache-2.0
"""octavo inspect: what is in a model."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from octavo import ops
from octavo.cli.common import print_json, size
from octavo.errors import OctavoError
from octavo.model import Model, load
from octavo.ops.precision import executed
from octavo.quantization.preprocessing import METADATA_KEY, Preprocessing
from octavo.report.table import Column, heading, render, style

HELP = "show inputs, outputs, layers, precision, MACs and memory of a model"
EXAMPLE = "octavo inspect mobilenet_v2_qdq.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=".onnx, .tflite or .octavo file")


def _layers(model: Model) -> list[dict[str, object]]:
    graph = model.graph
    rows = []
    for node in graph.nodes:
        inputs, outputs = graph.inputs_of(node), graph.outputs_of(node)
        rows.append(
            {
                "node": node.name,
                "op": node.op,
                "precision": executed(graph, node),
                "shape": list(outputs[0].shape),
                "macs": ops.get(node).macs(node, inputs, outputs),
                "reason": graph.notes.get(node.name),
            }
        )
    return rows


def _metadata(key: str, value: object) -> str:
    """One line; plain JSON where it is not what this version writes under the key."""
    if key == METADATA_KEY:
        try:
            return str(Preprocessing.from_dict(value))
        except OctavoError:
            pass
    return json.dumps(value)


def run(arguments: argparse.Namespace) -> int:
    model = load(arguments.model)
    plan = model.plan_bytes()
    layers = _layers(model)
    document = {
        "name": model.name,
        "inputs": [asdict(info) for info in model.inputs],
        "outputs": [asdict(info) for info in model.outputs],
        "macs": model.macs,
        "weight_bytes": model.weight_bytes,
        "arena_bytes": plan.arena_bytes,
        "lower_bound_bytes": plan.lower_bound_bytes,
        "file_bytes": len(plan.data),
        "metadata": dict(model.source.metadata),
        "layers": layers,
    }
    if arguments.json:
        print_json(document)
        return 0
    print(heading(f"{model.name}"))
    for role, infos in (("input", model.inputs), ("output", model.outputs)):
        for info in infos:
            print(f"  {role:7}{info}")
    print(
        f"  {model.macs / 1e6:.2f} MMAC, weights {size(model.weight_bytes)}, "
        f"arena {size(plan.arena_bytes)} (lower bound {size(plan.lower_bound_bytes)})"
    )
    for key, value in model.source.metadata.items():
        print(f"  {key}: {_metadata(key, value)}")
    print()
    columns = (
        Column("node", width=40),
        Column("op"),
        Column("precision"),
        Column("output shape"),
        Column("MMAC", right=True),
    )
    cells = [
        [
            str(row["node"]),
            str(row["op"]),
            str(row["precision"]),
            "×".join(map(str, row["shape"])),  # type: ignore[call-overload]
            f"{row['macs'] / 1e6:.2f}" if row["macs"] else "",  # type: ignore[operator]
        ]
        for row in layers
    ]
    print(render(columns, cells))
    for row in layers:
        if row["reason"]:
            print(style(f"  float32: {row['node']} ({row['op']}): {row['reason']}", "yellow"))
    return 0

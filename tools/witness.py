#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Octavo beside ONNX Runtime on the same quantized models: how many outputs are equal, and why.

    python tools/witness.py [--model NAME]... [--seeds 4] [--layers] [--json]

Two bars per model. End to end: the outputs in steps of their 8-bit scale. Layer by layer: each
operator on ONNX Runtime's own input tensors, so that a difference is counted where it is made.
ONNX Runtime runs fused with `session.x64quantprecision`, which keeps its AVX2 kernels from
saturating at int16.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors
from rich import box
from rich.console import Console
from rich.table import Table

import octavo
import witness_models
from witness_layers import (
    Piece,
    pieces,
    run_piece,
    stored_tensors,
    with_outputs,
    with_private_constants,
)

Array = NDArray[Any]

#: A real value this near to a rounding boundary may round either way in float32: sums of ~1000
#: products of 8-bit numbers are exact, but two roundings of a product near 255 are 3e-5 steps.
TIE = 1e-3


#: What ONNX Runtime raises for a model that it cannot prepare.
_REFUSALS = (ort_errors.Fail, ort_errors.NotImplemented)


def onnx_runtime(model: onnx.ModelProto, *, fused: bool = True, precise: bool = True) -> Any:
    """A session on one thread; `fused` runs integer kernels, otherwise QDQ in float32; `precise`
    forbids saturating AVX2 products."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if fused else levels.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        with_private_constants(model).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )


def takes_precise(model: onnx.ModelProto) -> bool:
    """The precise mode turns s8 weights into u8. It fails where QLinearMatMul has s8 activations,
    for which there is no kernel with u8 weights (seen in 1.31)."""
    try:
        onnx_runtime(model)
    except _REFUSALS:
        return False
    return True


@dataclass
class Agreement:
    """Element counts of differences in steps of 8-bit numbers: 0, 1, more."""

    equal: int = 0
    near: int = 0
    far: int = 0
    largest: float = 0.0

    def add(self, found: Array, expected: Array, step: float = 1.0) -> None:
        """Counts |found - expected| in steps; a hundredth of one is float noise of a scale."""
        steps = np.abs(found.astype(np.float64) - expected.astype(np.float64)) / step
        steps = np.where(steps < 0.01, 0.0, steps)
        self.equal += int((steps == 0).sum())
        self.near += int(((steps > 0) & (steps <= 1.01)).sum())
        self.far += int((steps > 1.01).sum())
        self.largest = max(self.largest, float(steps.max(initial=0.0)))

    @property
    def count(self) -> int:
        return self.equal + self.near + self.far

    def share(self) -> float:
        return self.equal / self.count if self.count else 1.0


@dataclass
class Difference:
    """What one operator does differently over all its layers of a model, on equal inputs."""

    op: str
    elements: int = 0
    different: int = 0
    largest: int = 0
    ties: int = 0  # differences where the real value lies within TIE of a rounding boundary
    ours: float = 0.0  # largest distance from the real value, in steps: 0.5 is correct rounding
    theirs: float = 0.0
    first: str = ""

    def explain(self) -> str:
        """In a phrase, from the numbers."""
        if self.ties == self.different:
            return f"{self.op}: {self.different} values on a rounding boundary"
        side = f"ONNX Runtime up to {self.theirs:.2f} steps off, we {self.ours:.2f}"
        return f"{self.op}: {self.different - self.ties} beyond boundaries, {side}"


@dataclass
class Witness:
    """One model beside ONNX Runtime."""

    model: str
    kind: str
    precise: bool  # did ONNX Runtime's precise mode take the model?
    outputs: Agreement = field(default_factory=Agreement)
    unfused: Agreement = field(default_factory=Agreement)
    saturating: Agreement = field(default_factory=Agreement)
    layers: Agreement = field(default_factory=Agreement)
    layer_count: int = 0
    differences: dict[str, Difference] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    @property
    def explanation(self) -> str:
        parts = [difference.explain() for difference in self.differences.values()]
        mode = [] if self.precise else ["ONNX Runtime saturates: its precise mode fails here"]
        return "; ".join(parts + self.refused + mode)

    def to_dict(self) -> dict[str, Any]:
        row = asdict(self)
        for name in ("outputs", "unfused", "saturating", "layers"):
            row[name]["equal_share"] = getattr(self, name).share()
        row["explanation"] = self.explanation
        return row


def _compare_outputs(
    row: Witness, model: onnx.ModelProto, path: Path, seeds: Iterable[int]
) -> None:
    session = octavo.load(path).compile()
    peers = {
        "outputs": onnx_runtime(model, precise=row.precise),
        "saturating": onnx_runtime(model, precise=False),
    }
    if row.kind == "QDQ":  # QOperator nodes have integer kernels only
        peers["unfused"] = onnx_runtime(model, fused=False)
    steps = witness_models.output_steps(model)
    names = [value.name for value in model.graph.output]
    for seed in seeds:
        feed = witness_models.feed(model, seed)
        ours = session.run(feed)
        for role, peer in peers.items():
            for name, theirs in zip(names, peer.run(names, feed), strict=True):
                step = steps[name] or float(np.abs(theirs).max()) / 255 or 1.0
                getattr(row, role).add(ours[name], theirs, step)


def _compare_piece(row: Witness, piece: Piece, model: onnx.ModelProto, tensors: Any) -> None:
    try:
        result = run_piece(model, piece, tensors)
    except octavo.OctavoError as error:
        row.refused.append(f"{piece.op} at '{piece.output}': {type(error).__name__}")
        return
    theirs = tensors[piece.output]
    row.layers.add(result.stored, theirs)
    row.layer_count += 1
    different = result.stored != theirs
    if not different.any():
        return
    found = row.differences.setdefault(piece.op, Difference(piece.op, first=piece.output))
    real = result.real[different]
    found.elements += theirs.size
    found.different += int(different.sum())
    found.ties += int((np.abs(real - np.floor(real) - 0.5) < TIE).sum())
    ours, peers = result.stored[different], theirs[different]
    found.ours = max(found.ours, float(np.abs(ours - real).max()))
    found.theirs = max(found.theirs, float(np.abs(peers - real).max()))
    found.largest = max(found.largest, int(np.abs(ours.astype(int) - peers.astype(int)).max()))


def _compare_layers(row: Witness, model: onnx.ModelProto, seed: int) -> None:
    """Every piece on the tensors of one ONNX Runtime run."""
    names = stored_tensors(model)
    feed = witness_models.feed(model, seed)
    peer = onnx_runtime(with_outputs(model, names), precise=row.precise)
    values = peer.run(names, feed)
    tensors = {**feed, **dict(zip(names, values, strict=True))}
    for piece in pieces(model):
        _compare_piece(row, piece, model, tensors)


def compare(model: witness_models.WitnessModel, path: Path, seeds: Iterable[int]) -> Witness:
    """Compares the ONNX file of a model on seeded inputs; the layers on the first one."""
    proto = onnx.load(path)
    row = Witness(model.name, model.kind, takes_precise(proto))
    seeds = list(seeds)
    _compare_outputs(row, proto, path, seeds)
    _compare_layers(row, proto, seeds[0])
    return row


def _percent(part: Agreement, count: int) -> str:
    return f"{100 * count / part.count:.3f}" if part.count else "–"


def _table(rows: list[Witness]) -> Table:
    title = f"Octavo beside ONNX Runtime {onnxruntime.__version__}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("model", no_wrap=True)
    headers = ("outputs", "equal %", "±1 %", "max", "unfused\nequal %", "saturating\nequal %")
    for header in (*headers, "layers", "layer values\nequal %", "max"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("explanation", overflow="fold")
    for row in rows:
        out, layers = row.outputs, row.layers
        table.add_row(
            row.model, str(out.count), _percent(out, out.equal), _percent(out, out.near),
            f"{out.largest:.0f}", _percent(row.unfused, row.unfused.equal),
            _percent(row.saturating, row.saturating.equal), str(row.layer_count),
            _percent(layers, layers.equal), f"{layers.largest:.0f}", row.explanation or "all equal",
        )  # fmt: skip
    return table


def _difference_table(rows: list[Witness]) -> Table:
    table = Table(title="Differences by operator, on ONNX Runtime's own input tensors")
    headers = ("model", "operator", "different", "of", "max", "on a boundary", "our error",
               "their error", "first")  # fmt: skip
    for header in headers:
        table.add_column(header)
    for row in rows:
        for d in row.differences.values():
            numbers = (d.different, d.elements, d.largest, d.ties)
            errors = (f"{d.ours:.3f}", f"{d.theirs:.3f}")
            table.add_row(row.model, d.op, *map(str, numbers), *errors, d.first)
    return table


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Compare Octavo with ONNX Runtime.")
    known = {model.name: model for model in witness_models.MODELS}
    parser.add_argument("--model", action="append", choices=sorted(known), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=4, help="inputs per model (default 4)")
    parser.add_argument("--layers", action="store_true", help="print differences by operator")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = []
    missing = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.model or known:
            try:
                path = known[name].write(Path(folder))
            except witness_models.NotAvailableError as error:
                missing.append(f"{name}: {error}")
                continue
            rows.append(compare(known[name], path, range(options.seeds)))
    if options.json:
        print(json.dumps({"models": [row.to_dict() for row in rows], "not_run": missing}, indent=2))
        return 0
    console = Console()
    if not console.is_terminal:
        console = Console(width=150)  # a pipe has no width; the default of 80 cuts figures
    console.print(_table(rows))
    if options.layers:
        console.print(_difference_table(rows))
    for line in missing:
        console.print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

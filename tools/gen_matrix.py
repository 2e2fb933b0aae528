#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the table of operators and kernels into README.md, between its two matrix marks.

    python tools/gen_matrix.py [--check]

A row is an operator of the IR with an 8-bit form, found by lowering its examples: the step kinds
they give, and which kernel families run those. The kernels come from csrc/kernels/*/kernels.inc,
the lists that the build includes, so the table does not depend on the machine. --check writes
nothing and exits with 1 when README.md is not up to date.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from octavo import ops
from octavo.ir import Graph, Node
from octavo.plan.lowering import lower

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- matrix:begin -->", "<!-- matrix:end -->"
#: The columns of each table; the scalar rows are the same on every CPU.
TABLES = {
    "x86-64": ("scalar", "avx2", "avxvnni", "avx512vnni"),
    "Arm, 64 bits": ("neon", "neondot", "neoni8mm"),
}
ISAS = tuple(isa for isas in TABLES.values() for isa in isas)

#: Step kind -> kernel families that compute it, each with the prefix of its kernels for this kind.
FAMILIES = {
    "conv_s8": ("gemm_s8", "dwconv_s8", "winograd_s8"),
    "linear_s8": ("gemm_s8",),
    "linear_s8_f32": ("gemm_s8", "dynamic_s8"),
    "matmul_s8": ("matmul_s8",),
    "add_s8": ("add_s8",),
    "mul_s8": ("mul_s8",),
    "maxpool_s8": ("maxpool_s8",),
    "avgpool_s8": ("avgpool_s8",),
    "resize_s8": ("resize_s8",),
    "lut_s8": ("lut_s8",),
    "softmax_s8": ("softmax_s8",),
    "layer_norm_s8": ("layer_norm_s8",),
    "conv_s16": ("gemm_s16",),
    "linear_s16": ("gemm_s16",),
    "conv_dynamic_s8": ("gemm_s8", "dynamic_s8"),
    "linear_dynamic_s8": ("gemm_s8", "dynamic_s8"),
    "quantize": ("convert",),
    "dequantize": ("convert",),
}
#: Step kind in float32 -> kernel families, where it has any; the others are plain C++.
FLOAT_FAMILIES = {
    "conv_f32": ("gemm_f32", "dwconv_f32"),
    "linear_f32": ("gemm_f32",),
    "matmul_f32": ("gemm_f32",),
}
#: Kinds that move bytes: plain C++, the same for every ISA.
BYTES = {"copy", "fill", "flip", "gather", "load_constant"}
_ROW = re.compile(r"^OCTAVO_\w+\(k\w+, (?P<name>\w+)", re.MULTILINE)


@dataclass
class Row:
    """The step kinds of each example of an operator, without those that only move bytes."""

    integer: list[set[str]] = field(default_factory=list)
    real: list[set[str]] = field(default_factory=list)


def kernel_names() -> dict[str, list[str]]:
    """ISA -> kernel names, in the order of the lists (best first)."""
    found: dict[str, list[str]] = {isa: [] for isa in ISAS}
    for path in sorted((ROOT / "csrc/kernels").glob("*/kernels.inc")):
        for match in _ROW.finditer(path.read_text(encoding="utf-8")):
            name = match["name"]
            # convert lists the ISA alone: one set of four kernels.
            isa = name.rpartition("_")[2]
            if isa in found:
                found[isa].append(f"{path.parent.name}_{isa}" if name == isa else name)
    return found


def _is_8bit(graph: Graph) -> bool:
    names = [*graph.inputs, *graph.outputs]
    return any(graph.values[name].is_8bit for name in names)


def operators() -> Iterator[tuple[str, Row]]:
    """Every operator with the step kinds of its examples, 8-bit and float apart."""
    for name in ops.names():
        row = Row()
        for example in ops.get(Node(name, name, (), ())).examples(np.random.default_rng(0)):
            kinds = {step.kind for step in lower(example.graph).steps} - BYTES
            integer = _is_8bit(example.graph) or any("_dynamic_" in k or "_s16" in k for k in kinds)
            (row.integer if integer else row.real).append(kinds)
        yield name, row


def _tiles(family: str, kernels: list[str], isa: str) -> str:
    """A family with the tiles it has for an ISA: `gemm_s8` 4x16c4."""
    names = [name for name in kernels if name.startswith(f"{family}_")]
    tiles = [name.removeprefix(family).removesuffix(isa).strip("_") for name in names]
    return " ".join([f"`{family}`", *filter(None, tiles)]) if names else ""


def _cell(examples: list[set[str]], text: dict[str, str]) -> str:
    """The text of every kind, and "bytes" where some example computes nothing."""
    kinds = sorted(set().union(*examples))
    parts = ["bytes"] if set() in examples else []
    return ", ".join(filter(None, dict.fromkeys([*parts, *(text[k] for k in kinds)]))) or "–"


def _float_text(kind: str) -> str:
    return ", ".join(f"`{name}`" for name in FLOAT_FAMILIES.get(kind, (kind,)))


def _table(isas: tuple[str, ...], rows: dict[str, Row], with_float: bool) -> list[str]:
    """Markdown lines; operators with the same cells share one."""
    kernels = kernel_names()
    integer = {
        isa: {
            kind: ", ".join(filter(None, (_tiles(f, kernels[isa], isa) for f in families)))
            for kind, families in FAMILIES.items()
        }
        for isa in isas
    }
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, row in rows.items():
        cells = [_cell(row.integer, integer[isa]) for isa in isas]
        if with_float:
            kinds = {kind: _float_text(kind) for kinds in row.real for kind in kinds}
            cells.append(_cell(row.real, kinds))
        groups.setdefault(tuple(cells), []).append(name)
    header = ["operator", *(f"8-bit, {isa}" for isa in isas), *(["float32"] if with_float else [])]
    table = [header, ["---"] * len(header)]
    table += [[", ".join(names), *cells] for cells, names in groups.items()]
    return [f"| {' | '.join(cells)} |" for cells in table]


def matrix() -> str:
    """One Markdown table for each architecture, float32 steps in the first."""
    rows = dict(operators())
    integer = {name: row for name, row in rows.items() if row.integer}
    float_only = ", ".join(f"`{name}`" for name in rows if name not in integer)
    lines = []
    for i, (title, isas) in enumerate(TABLES.items()):
        lines += [f"{title}:", "", *_table(isas, integer, with_float=i == 0), ""]
    return "\n".join(
        [
            *lines,
            "Kernel family and its tiles; *bytes*: no arithmetic, the same code on every ISA.",
            "A column runs the kernels of the columns left of it where it has none (the Arm ones,",
            "scalar code). float32 kernels exist for scalar, avx2, avx512vnni and neon.",
            f"In float32 only: {float_only}.",
        ]
    )


def updated(text: str) -> str:
    """The README with a new table. Raises ValueError when the two marks are not there once each."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"README.md must contain {BEGIN} and then {END}, once each")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{matrix()}\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the op × ISA matrix into README.md.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when out of date")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args(arguments)
    before = options.readme.read_text(encoding="utf-8")
    try:
        after = updated(before)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if before == after:
        return 0
    if options.check:
        print(f"{options.readme.name} is out of date: run python tools/gen_matrix.py")
        return 1
    options.readme.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

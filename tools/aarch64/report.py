#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables of docs/performance.md's section on Arm, between their marks.

    PYTHONPATH=python python tools/aarch64/report.py build/aarch64

Needs what mca.py and predict.py need. Of a template's instances the loops worth a row are those
with at least 3/4 of the most products per iteration, and single rows of a matrix.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import predict
from loop_costs import CORES, price
from loop_counts import KernelLoop, kernel_loops
from mca import LIMITS, analyze, main_loops, markdown_table, summary, title

DOCUMENT = predict.ROOT / "docs" / "performance.md"


def worth_a_row(loops: Sequence[KernelLoop]) -> list[KernelLoop]:
    """Without the lower tiles of a template, and without short loops beside products."""

    def name(loop: KernelLoop) -> tuple[str, str]:
        return loop.path, title(loop).partition("<")[0]

    most: dict[tuple[str, str], int] = {}
    products: set[str] = set()
    for loop in loops:
        most[name(loop)] = max(most.get(name(loop), 0), loop.macs)
        if loop.macs:
            products.add(loop.path)
    return [
        loop
        for loop in loops
        if loop.single_row
        or (4 * loop.macs >= 3 * most[name(loop)] and (loop.macs or loop.path not in products))
    ]


def replaced(text: str, mark: str, content: str) -> str:
    """`text` with `content` between the lines <!-- mark:begin --> and <!-- mark:end -->."""
    begin, end = f"<!-- {mark}:begin -->\n", f"<!-- {mark}:end -->"
    if begin not in text or end not in text:
        raise SystemExit(f"{DOCUMENT}: no marks for {mark}")
    head, rest = text.split(begin, 1)
    return f"{head}{begin}{content}\n{end}{rest.split(end, 1)[1]}"


def main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        raise SystemExit("usage: report.py build/aarch64")
    loops = kernel_loops(Path(arguments[0]))
    table = markdown_table(analyze(worth_a_row(main_loops(loops)), LIMITS))
    costs = {core.name: price(loops, core) for core in CORES}
    times = predict.markdown(predict.table(predict.NETWORKS, costs))
    text = DOCUMENT.read_text(encoding="utf-8")
    text = replaced(text, "arm-loops", f"{table}\n\n{summary(loops)}")
    text = replaced(text, "arm-times", f"{times}\n\n{predict.assumptions()}")
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

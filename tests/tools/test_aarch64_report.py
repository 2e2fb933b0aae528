# SPDX-License-Identifier: Apache-2.0
"""tools/aarch64/report.py: which loops are listed, and where the tables go."""

from __future__ import annotations

import pytest

import report
from loop_counts import KernelLoop
from objects import Instruction


def loop(symbol: str, sdots: int, path: str = "gemm_s8/neondot") -> KernelLoop:
    body = tuple(Instruction(4 * i, "sdot\tv0.4s, v1.16b, v2.16b") for i in range(sdots))
    return KernelLoop(path, "neondot", symbol, (*body, Instruction(4 * sdots, "b.ne\t0")), 0)


def test_lower_tiles_of_a_template_are_left_out() -> None:
    high, low, other = loop("tile<8, 1>", 16), loop("tile<4, 1>", 8), loop("row<1>", 4)
    assert report.worth_a_row([high, low, other]) == [high, other]


def test_loops_without_products_count_where_there_are_no_others() -> None:
    helper, product = loop("fill", 0), loop("tile<8>", 16)
    alone = loop("fill", 0, "lut_s8/neon")
    assert report.worth_a_row([helper, product, alone]) == [product, alone]


def test_text_between_marks() -> None:
    text = "a\n<!-- t:begin -->\nold\n<!-- t:end -->\nb\n"
    assert report.replaced(text, "t", "new") == text.replace("old", "new")
    with pytest.raises(SystemExit, match="no marks"):
        report.replaced(text, "u", "new")

# SPDX-License-Identifier: Apache-2.0
"""One small table printer for the base CLI: NumPy-only installs have no rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

__all__ = ["Column", "bar", "heading", "render", "style"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True)
class Column:
    """A header; numbers are aligned right, text left. `width` caps the text with an ellipsis."""

    title: str
    right: bool = False
    width: int = 48


def style(text: str, *names: str, stream: TextIO | None = None) -> str:
    """`text` in ANSI style when `stream` (default stdout) is a terminal and NO_COLOR is not set."""
    target = stream if stream is not None else sys.stdout
    if not target.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{';'.join(_CODES[name] for name in names)}m{text}\x1b[0m"


def heading(text: str) -> str:
    """A line that opens a part of the output."""
    return style(text, "bold", "cyan")


def bar(share: float, width: int = 10) -> str:
    """A bar of eighth blocks for a share of 0…1."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + ("▏▎▍▌▋▊▉"[rest - 1] if rest else "")).ljust(width)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def render(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """The table as lines, columns separated by two spaces, a rule below the header."""
    cells = [
        [_clip(cell, column.width) for cell, column in zip(row, columns, strict=True)]
        for row in rows
    ]
    widths = [
        max(len(column.title), *(len(row[i]) for row in cells), 0) if cells else len(column.title)
        for i, column in enumerate(columns)
    ]

    def line(row: Sequence[str]) -> str:
        parts = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, column, width in zip(row, columns, widths, strict=True)
        ]
        return "  ".join(parts).rstrip()

    header = style(line([column.title for column in columns]), "bold")
    rule = style("  ".join("─" * width for width in widths), "dim")
    return "\n".join([header, rule, *(line(row) for row in cells)])

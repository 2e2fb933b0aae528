# SPDX-License-Identifier: Apache-2.0
"""A bar with the time left on a terminal, nothing elsewhere or without rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from octavo.comparison import Progress

__all__ = ["sample_progress"]


@contextmanager
def sample_progress(title: str) -> Iterator[Progress | None]:
    """A callback for `octavo.compare(..., progress=)` that moves a bar on stderr."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
    except ImportError:
        yield None
        return
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield show

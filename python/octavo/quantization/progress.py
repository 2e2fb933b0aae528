# SPDX-License-Identifier: Apache-2.0
"""A progress bar for the quantizer's stages, with the time that remains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from octavo.errors import missing_extra
from octavo.quantization.calibration import Progress

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(purpose: str = "a progress bar") -> Iterator[Progress]:
    """A `Progress` that draws on stderr, one line per stage; nothing where that is no terminal. The
    lines are gone in the end. Raises MissingExtraError without rich."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError as error:
        raise missing_extra("onnx", purpose) from error
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    tasks = {}
    with bar:

        def progress(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield progress

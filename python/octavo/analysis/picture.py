# SPDX-License-Identifier: Apache-2.0
"""Pictures with matplotlib, without a display and with the same bytes for the same data."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from octavo.errors import InvalidArgumentError, missing_extra
from octavo.files import write_atomic

__all__ = ["new_figure", "save_figure"]

_ENDINGS = (".png", ".svg", ".pdf")


def new_figure(width: float, height: float) -> tuple[Any, Any]:
    """(figure, axes) of a size in inches. Raises MissingExtraError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("report", "pictures") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def save_figure(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Writes it atomically, in the format of the ending: .png, .svg or .pdf."""
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in _ENDINGS:
        raise InvalidArgumentError(f"picture '{target}': the ending is one of {_ENDINGS}")
    import matplotlib

    stream = io.BytesIO()
    metadata = {"Date": None} if ending == ".svg" else {"CreationDate": None}
    with matplotlib.rc_context({"svg.hashsalt": "octavo"}):
        figure.savefig(
            stream, format=ending[1:], dpi=150, metadata=None if ending == ".png" else metadata
        )
    write_atomic(target, stream.getvalue())
    return target

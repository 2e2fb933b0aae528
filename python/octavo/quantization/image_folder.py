# SPDX-License-Identifier: Apache-2.0
"""Calibration images from a folder, decoded as they are needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from octavo.errors import FormatError, InvalidArgumentError, OctavoError
from octavo.ir import Graph
from octavo.quantization.preprocessing import F32, Preprocessing, need_pillow

__all__ = ["IMAGE_ENDINGS", "image_batches", "image_files"]

IMAGE_ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """Every image below a folder, by path from there; links to folders are not followed.

    Raises InvalidArgumentError where there is none.
    """
    root = Path(folder)
    found = [path for path in root.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS]
    files = sorted(
        (path for path in found if path.is_file()), key=lambda path: path.relative_to(root).parts
    )
    if not files:
        raise InvalidArgumentError(
            f"folder '{root}' holds no images ({', '.join(IMAGE_ENDINGS)}), nor do its folders"
        )
    return files


def _decoded(path: Path, index: int, preprocessing: Preprocessing, pillow: Any) -> F32:
    what = f"calibration image {index}, '{path}'"
    try:
        with pillow.open(path) as image:
            return preprocessing.apply(image)
    except OctavoError as error:
        raise type(error)(f"{what}: {error}") from error
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        raise FormatError(f"{what} cannot be decoded ({error}): repair or remove it") from error
    except pillow.DecompressionBombError as error:
        raise FormatError(f"{what} is too large ({error}): scale it down or remove it") from error


def image_batches(
    graph: Graph, files: list[Path], preprocessing: Preprocessing, unit: int
) -> Iterator[tuple[str, F32]]:
    """(what, [unit, C, H, W] or [unit, H, W, C] float32), image by image in order."""
    pillow = need_pillow()
    for start in range(0, len(files), unit):
        group = [
            _decoded(path, start + offset, preprocessing, pillow)
            for offset, path in enumerate(files[start : start + unit])
        ]
        shapes = {array.shape for array in group}
        if len(shapes) > 1:
            raise InvalidArgumentError(
                f"calibration images {start} to {start + unit - 1} have different sizes "
                f"{sorted(shapes)}, but the model takes {unit} at once: set resize or crop"
            )
        yield f"calibration image {start}, '{files[start]}'", np.stack(group)

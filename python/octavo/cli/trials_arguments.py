# SPDX-License-Identifier: Apache-2.0
"""What `octavo sensitivity` and `octavo search` share: data, metric, journal, progress."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.metrics import METRICS
from octavo.cli.progress import sample_progress
from octavo.errors import FormatError, InvalidArgumentError
from octavo.quantization.preprocessing import PRESETS
from octavo.quantization.recipe import Recipe

__all__ = ["add_trial_arguments", "interruptible", "problem_arguments", "trial_progress"]


def add_trial_arguments(parser: argparse.ArgumentParser, metric: str) -> None:
    """--data, --evaluation, --labels, --metric, --recipe, --journal and --png."""
    parser.add_argument("model", help="float .onnx file")
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="to calibrate on: a folder of images, or samples along the first axis: .npy, or .npz "
        "by input name",
    )
    parser.add_argument(
        "--evaluation", metavar="PATH", help="to measure on, likewise (default: --data)"
    )
    parser.add_argument(
        "--preprocess",
        metavar="NAME",
        help=f"what makes an input of an image: {', '.join(PRESETS)}, or a JSON file",
    )
    parser.add_argument("--labels", metavar="FILE", help=".npy with a class per measured sample")
    parser.add_argument(
        "--metric", choices=tuple(METRICS), default=metric, help=f"default {metric}"
    )
    parser.add_argument("--recipe", metavar="FILE", help="recipe to start from")
    parser.add_argument(
        "--journal",
        metavar="FILE",
        help="finished trials: the same command with the same file goes on where it was stopped",
    )
    parser.add_argument("--png", metavar="FILE", help="draw the result (.png, .svg or .pdf)")


def problem_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of `sensitivity` and `search` that these options stand for."""
    return {
        "data": arguments.data,
        "evaluation": arguments.evaluation,
        "preprocess": arguments.preprocess,
        "labels": None if arguments.labels is None else _labels(arguments.labels),
        "metric": arguments.metric,
        "recipe": Recipe.load(arguments.recipe) if arguments.recipe else None,
        "journal": arguments.journal,
    }


def _labels(path: str) -> NDArray[Any]:
    if not Path(path).is_file():
        raise InvalidArgumentError(f"no such file: '{path}'")
    try:
        found = np.load(path, allow_pickle=False)
        return np.asarray(found, np.int64)
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise FormatError(f"'{path}' is not a .npy file of whole numbers") from error


@contextmanager
def trial_progress(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A callback for `progress=` that moves a bar on stderr."""
    with sample_progress(title) as bar:

        def show(stage: str, done: int, total: int) -> None:
            if bar is not None:
                bar(done, total)

        yield show


@contextmanager
def interruptible(journal: str | None) -> Iterator[None]:
    """Ctrl-C says what is kept, and goes on to end the command with exit code 130."""
    try:
        yield
    except KeyboardInterrupt as stop:
        hint = (
            f"finished trials are in '{journal}': run the same command to go on"
            if journal
            else "nothing is kept; with --journal FILE the same command would go on"
        )
        raise KeyboardInterrupt(hint) from stop

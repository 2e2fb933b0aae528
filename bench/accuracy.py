# SPDX-License-Identifier: Apache-2.0
"""Accuracy of quantized networks on labelled data: `python -m bench.accuracy`.

Quantizes real float networks with Octavo on their calibration sets and runs float and int8 over the
labelled sets. Models and data are looked up under OCTAVO_SHARED (default: ../shared beside the
repository) and are not part of the project; a set that is absent prints NOT RUN.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import octavo
from octavo.quantization import METHODS

F32 = NDArray[np.float32]
SHARED = Path(os.environ.get("OCTAVO_SHARED", Path(__file__).parents[2] / "shared"))
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_BATCH = 25


@dataclass(frozen=True)
class Result:
    """Top-1 in percent, agreement of top-1 with float in percent, SQNR of the logits in dB."""

    model: str
    ranges: str
    samples: int
    float_top1: float
    int8_top1: float
    agreement: float
    sqnr_db: float
    float_steps: int


def normalized(images: NDArray[np.uint8]) -> F32:
    """[n,h,w,3] uint8 to [n,3,h,w] float32 as torchvision's ImageNet models take it."""
    scaled = (images.astype(np.float32) / np.float32(255) - _MEAN) / _STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def _folder(name: str) -> NDArray[np.uint8]:
    """The JPEGs of a folder in the order of their names, cropped to 224 x 224."""
    from PIL import Image

    files = sorted((SHARED / "data" / name).glob("*.[jJ][pP]*[gG]"))
    return np.stack([np.asarray(Image.open(f).convert("RGB"))[1:225, 1:225] for f in files])


def imagenet() -> tuple[F32, NDArray[np.int64], F32]:
    """(images, labels, calibration images)."""
    folder = SHARED / "data" / "imagenet_val_650"
    lines = (folder / "labels.csv").read_text().split()[1:]
    labels = dict(line.split(",") for line in lines)
    ordered = np.array([int(labels[name]) for name in sorted(labels)])
    calibration = normalized(_folder("imagenet_calibration_300"))
    return normalized(_folder("imagenet_val_650")), ordered, calibration


def cifar10() -> tuple[F32, NDArray[np.int64], F32]:
    """(images, labels, calibration images)."""
    with np.load(SHARED / "data" / "cifar10_test_5000.npz") as data:
        images, labels = normalized(data["images"]), data["labels"]
    with np.load(SHARED / "data" / "cifar10_calibration_512.npz") as data:
        return images, labels, normalized(data["images"])


SUITE = {
    "resnet20": ("resnet20_cifar10_f32.onnx", cifar10),
    "mobilenet_v2": ("mobilenetv2_1.0_imagenet_f32.onnx", imagenet),
    "squeezenet1_1": ("squeezenet1.1_imagenet_f32.onnx", imagenet),
}


def _batches(images: F32) -> Iterator[F32]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]


def _logits(model: octavo.Model, images: F32, threads: int, title: str, console: Console) -> F32:
    session = model.compile(threads=threads)
    batches = list(_batches(images))
    rows = [
        next(iter(session.run(batch).values()))
        for batch in track(batches, title, console=console, transient=True)
    ]
    return np.concatenate(rows).reshape(len(images), -1)


def evaluate(
    name: str, ranges: tuple[str, ...], recipe: str | None, threads: int, console: Console
) -> list[Result]:
    """Float once, then int8 for each range method ("recipe": the recipe's own; the default recipe
    unless a file is given)."""
    file, data = SUITE[name]
    images, labels, calibration = data()
    model = octavo.load(SHARED / "models" / "float" / file)
    expected = _logits(model, images, threads, f"{name} float32", console)
    results = []
    for method in ranges:
        chosen = None if method == "recipe" else method
        quantized = octavo.quantize(model, _batches(calibration), recipe=recipe, ranges=chosen)
        got = _logits(quantized, images, threads, f"{name} int8 {method}", console)
        noise = float(np.square(got - expected, dtype=np.float64).sum())
        signal = float(np.square(expected, dtype=np.float64).sum())
        results.append(
            Result(
                name,
                method,
                len(labels),
                100 * float(np.mean(expected.argmax(1) == labels)),
                100 * float(np.mean(got.argmax(1) == labels)),
                100 * float(np.mean(got.argmax(1) == expected.argmax(1))),
                10 * float(np.log10(signal / noise)) if noise else float("inf"),
                len(quantized.float_reasons),
            )
        )
    return results


def main() -> int:
    """Prints the table; exit code 2 when nothing could run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"comma-separated models of {', '.join(SUITE)}")
    parser.add_argument(
        "--ranges",
        default="recipe",
        help=f"recipe (the default settings), or comma-separated methods of {', '.join(METHODS)}",
    )
    parser.add_argument("--recipe", metavar="FILE", help="instead of the default recipe")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    results: list[Result] = []
    for name in arguments.only.split(",") if arguments.only else SUITE:
        if not (SHARED / "models" / "float" / SUITE[name][0]).is_file():
            console.print(f"NOT RUN {name}: {SUITE[name][0]} is not under OCTAVO_SHARED")
            continue
        ranges = tuple(arguments.ranges.split(","))
        results += evaluate(name, ranges, arguments.recipe, arguments.threads, console)
    table = Table(title="Post-training quantization, u8 activations, s8 per-channel weights")
    for column in ("model", "ranges", "float top-1", "int8 top-1", "agreement", "SQNR dB"):
        table.add_column(column, justify="left" if column in ("model", "ranges") else "right")
    for r in results:
        figures = (r.float_top1, r.int8_top1, r.agreement, r.sqnr_db)
        table.add_row(r.model, r.ranges, *(f"{figure:.2f}" for figure in figures))
    Console().print(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(r) for r in results], indent=2))
    return 0 if results else 2


if __name__ == "__main__":
    raise SystemExit(main())

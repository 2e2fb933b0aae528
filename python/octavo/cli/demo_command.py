# SPDX-License-Identifier: Apache-2.0
"""octavo demo: the shipped digits network, int8 against float."""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.benchmark.timing import repeat
from octavo.cli.common import add_runtime_arguments, compile_model, print_json, size
from octavo.comparison import compare
from octavo.model import Model, load
from octavo.report.layers import layer_rows, layer_table
from octavo.report.table import Column, heading, render, style
from octavo.session import cpu_info

HELP = "classify held-out handwritten digits with the shipped int8 network, beside its float twin"
EXAMPLE = "octavo demo --threads 1"

Array = NDArray[Any]


@dataclass(frozen=True)
class _Result:
    name: str
    accuracy: float
    bytes: int
    ms: float
    ms_median: float
    sha256: str  # of the logits of all digits: the same on every CPU


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=0.5, help="measuring time per network")
    add_runtime_arguments(parser)


def _digits() -> tuple[Array, Array]:
    """Held-out images as float32 [n, 1, 8, 8] in 0…1, and labels [n]."""
    with (
        resources.as_file(resources.files("octavo.demo") / "digits_heldout.npz") as path,
        np.load(path) as data,
    ):
        images, labels = data["test_images"], data["test_labels"]
    scaled = (images.astype(np.float32) / np.float32(16.0)).reshape(-1, 1, 8, 8)
    return np.ascontiguousarray(scaled), labels


def _network(name: str) -> tuple[Model, int]:
    with resources.as_file(resources.files("octavo.demo") / name) as path:
        return load(path), path.stat().st_size


def _evaluate(
    title: str,
    model: Model,
    file_bytes: int,
    images: Array,
    labels: Array,
    arguments: argparse.Namespace,
) -> _Result:
    session = compile_model(model, arguments)
    logits = next(iter(session.run(images).values()))
    fastest, median, _ = repeat(session.bind(images[:1].copy()), arguments.seconds)
    accuracy = float(np.mean(logits.argmax(axis=1) == labels))
    digest = hashlib.sha256(logits.tobytes()).hexdigest()
    return _Result(title, accuracy, file_bytes, fastest, median, digest)


def run(arguments: argparse.Namespace) -> int:
    images, labels = _digits()
    floating, float_bytes = _network("digits_f32.octavo")
    quantized, int8_bytes = _network("digits_int8.octavo")
    results = [
        _evaluate("float32", floating, float_bytes, images, labels, arguments),
        _evaluate("int8", quantized, int8_bytes, images, labels, arguments),
    ]
    session = compile_model(quantized, arguments)
    profile = session.profile(images[:1].copy(), repeats=200)
    comparison = compare(quantized, images, reference=floating, isa=arguments.isa)
    errors = comparison.by_node()
    info = cpu_info()
    if arguments.json:
        print_json(
            {
                "cpu": info["brand"],
                "digits": len(labels),
                "networks": [result.__dict__ for result in results],
                "accuracy_drop_points": 100 * (results[0].accuracy - results[1].accuracy),
                "arena_bytes": session.arena_bytes,
                "lower_bound_bytes": session.lower_bound_bytes,
                "layers": layer_rows(profile, errors),
                "comparison": comparison.to_dict(),
            }
        )
        return 0
    print(heading("Octavo demo") + f"  {len(labels)} held-out handwritten digits · {info['brand']}")
    columns = (
        Column("network"),
        Column("accuracy", right=True),
        Column("file", right=True),
        Column("min µs", right=True),
        Column("median µs", right=True),
    )
    cells = [
        [
            result.name,
            f"{100 * result.accuracy:.2f} %",
            size(result.bytes),
            f"{1e3 * result.ms:.1f}",
            f"{1e3 * result.ms_median:.1f}",
        ]
        for result in results
    ]
    print(render(columns, cells))
    drop = 100 * (results[0].accuracy - results[1].accuracy)
    speed, ratio = results[0].ms / results[1].ms, results[0].bytes / results[1].bytes
    print(
        style(
            f"  int8: {drop:+.2f} points dropped, {speed:.1f}× the speed, {ratio:.1f}× smaller; "
            f"activations {size(session.arena_bytes)} "
            f"(lower bound {size(session.lower_bound_bytes)})",
            "green" if drop <= 0.5 else "red",
        )
    )
    print(f"  int8 outputs: SHA-256 {results[1].sha256[:16]}…, the same on every CPU")
    print()
    print(heading("layers of the int8 network") + "  one image, SQNR against float32")
    print(layer_table(profile, errors))
    return 0

# SPDX-License-Identifier: Apache-2.0
"""Does `octavo.search` beat the default recipe? `python -m bench.search`.

Searches on one half of the data and judges on the other: labelled images of even index are for the
search, those of odd index for the table, calibration images are a set of their own. `--folder`
keeps journals, results and .octavo files, so that a search that was stopped goes on. `--time` times
the files of a finished search in turns, in a process that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import octavo
from bench import accuracy, tiny
from bench.accuracy import SHARED
from octavo.quantization.recipe import Recipe

F32 = NDArray[np.float32]
_BATCH = 25
#: Images judged on, at most.
_HELD_OUT = 2500


@dataclass(frozen=True)
class Row:
    """Held-out figures: agreement and top-1 in percent, SQNR of the logits in dB; bytes of the
    .octavo file; `relative_ms` over the default recipe's, as the search measured it."""

    model: str
    recipe: str
    samples: int
    agreement: float
    top1: float
    sqnr_db: float
    bytes: int
    relative_ms: float
    layers: dict[str, int]
    file: str


def _tiny(name: str) -> tuple[F32, NDArray[np.int64], F32]:
    """(images, labels, calibration images) of a network of MLPerf Tiny."""
    samples = tiny.SUITE[name][2]()
    assert samples.labels is not None
    return samples.inputs, samples.labels, samples.calibration


def _networks() -> dict[str, tuple[Path, Callable[[], tuple[F32, NDArray[np.int64], F32]]]]:
    """Name -> (float model, its data)."""
    models = SHARED / "models"
    found = {name: (models / "float" / f, data) for name, (f, data) in accuracy.SUITE.items()}
    for name in ("resnet8", "kws"):
        file = models / "mlperf_tiny" / f"{tiny.SUITE[name][0]}.tflite"
        found[name] = (file, partial(_tiny, name))
    return found


NETWORKS = _networks()


def _batches(images: F32) -> list[F32]:
    return [images[start : start + _BATCH] for start in range(0, len(images), _BATCH)]


def _logits(model: octavo.Model, images: F32) -> F32:
    session = model.compile()
    rows = [next(iter(session.run(batch).values())) for batch in _batches(images)]
    return np.concatenate(rows).reshape(len(images), -1)


def _search(name: str, arguments: argparse.Namespace, folder: Path) -> list[Row]:
    file, data = NETWORKS[name]
    images, labels, calibration = data()
    seen = np.ascontiguousarray(images[0::2][: arguments.samples])
    unseen = np.ascontiguousarray(images[1::2][:_HELD_OUT])
    right = labels[1::2][:_HELD_OUT]
    model = octavo.load(file)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(name)
        found = octavo.search(
            model,
            _batches(calibration),
            evaluation=_batches(seen),
            metric="sqnr",
            precisions=arguments.precision,
            trials=arguments.trials,
            seconds=arguments.seconds,
            seed=arguments.seed,
            journal=folder / f"{name}.jsonl",
            progress=lambda stage, done, total: bar.update(
                task, description=f"{name} {stage}", completed=done, total=total
            ),
        )
    found.save(folder / f"{name}.json")
    found.save_picture(folder / f"{name}.png")
    expected = _logits(model, unseen)
    wanted = {"default": found.start, "best at its latency": found.best}
    others = [c for c in found.pareto if c is not found.best and c.recipe != found.start.recipe]
    wanted.update({f"pareto {number}": c for number, c in enumerate(others, 1)})
    known = octavo.quantization.calibrate_model(model, _batches(calibration))
    rows = []
    for title, candidate in wanted.items():
        same = _prepared(candidate.recipe) == _prepared(Recipe())
        source: Any = known if same else _batches(calibration)
        quantized = octavo.quantize(model, source, recipe=candidate.recipe)
        got = _logits(quantized, unseen)
        noise = float(np.square(got - expected, dtype=np.float64).sum())
        signal = float(np.square(expected, dtype=np.float64).sum())
        path = folder / f"{name}-{title.replace(' ', '-')}.octavo"
        quantized.save(path)
        rows.append(
            Row(
                name,
                title,
                len(unseen),
                100 * float(np.mean(got.argmax(1) == expected.argmax(1))),
                100 * float(np.mean(got.argmax(1) == right)),
                10 * float(np.log10(signal / noise)) if noise else float("inf"),
                path.stat().st_size,
                candidate.relative,
                candidate.layers,
                path.name,
            )
        )
    return rows


def _prepared(recipe: Recipe) -> tuple[object, ...]:
    return (recipe.equalize, recipe.smooth, recipe.optimization_samples, recipe.seed)


def _time(rows: list[Row], folder: Path, seconds: float) -> dict[str, float]:
    """File -> milliseconds: the fastest of many runs, all files of a model in turns."""
    best: dict[str, float] = {}
    for name in dict.fromkeys(row.model for row in rows):
        files = [row.file for row in rows if row.model == name]
        runs = {}
        for file in files:
            session = octavo.load(folder / file).compile()
            shape = tuple(d if isinstance(d, int) else 1 for d in session.inputs[0].shape)
            data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            runs[file] = session.bind(data)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for file, run in runs.items():
                start = time.perf_counter()
                run()
                best[file] = min(best.get(file, 1e9), 1e3 * (time.perf_counter() - start))
    return best


def _show(rows: list[Row], times: dict[str, float]) -> None:
    table = Table(title="octavo.search on held-out images")
    for column in ("model", "recipe", "ms", "to default", "agreement", "top-1", "SQNR dB", "bytes"):
        table.add_column(column, justify="left" if column in ("model", "recipe") else "right")
    table.add_column("layers")
    for row in rows:
        base = next(r for r in rows if r.model == row.model and r.recipe == "default")
        ms = times.get(row.file)
        ratio = row.relative_ms if ms is None else ms / times[base.file]
        figures = (row.agreement, row.top1, row.sqnr_db)
        layers = ", ".join(f"{count} {kind}" for kind, count in sorted(row.layers.items()))
        table.add_row(
            *(row.model, row.recipe, "–" if ms is None else f"{ms:.3f}", f"{ratio:.3f}"),
            *(f"{figure:.2f}" for figure in figures),
            *(f"{row.bytes:,}", layers),
        )
    Console().print(table)


def main() -> int:
    """Prints the table; exit code 2 when nothing could run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"comma-separated models of {', '.join(NETWORKS)}")
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--precision", action="append", help="what layers may be (repeat)")
    parser.add_argument("--samples", type=int, default=128, help="to search on (default 128)")
    parser.add_argument("--seconds", type=float, help="per model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default="search-results", metavar="FOLDER")
    parser.add_argument("--time", type=float, metavar="S", help="only time, S seconds per model")
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = arguments.only.split(",") if arguments.only else list(NETWORKS)
    rows: list[Row] = []
    for name in wanted:
        kept = folder / f"{name}-rows.json"
        if arguments.time is not None:
            rows += [Row(**row) for row in json.loads(kept.read_text())] if kept.is_file() else []
        elif not NETWORKS[name][0].is_file():
            file = NETWORKS[name][0].name
            Console(stderr=True).print(f"NOT RUN {name}: {file} is not under OCTAVO_SHARED")
        else:
            found = _search(name, arguments, folder)
            kept.write_text(json.dumps([asdict(row) for row in found], indent=2))
            rows += found
    _show(rows, {} if arguments.time is None else _time(rows, folder, arguments.time))
    return 0 if rows else 2


if __name__ == "__main__":
    raise SystemExit(main())

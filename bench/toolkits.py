# SPDX-License-Identifier: Apache-2.0
"""Other post-training quantizers on the same networks and data: `python -m bench.toolkits`.

onnxruntime.quantization (min-max, percentile, entropy) and NNCF (default, full bias correction) get
the float networks and calibration sets of `bench.accuracy`; so does octavo.quantize. What they
write runs in ONNX Runtime's precise mode (`session.x64quantprecision`), ours in Octavo. OpenVINO,
and ONNX Runtime by default, saturate on CPUs without VNNI; that would be held against the
quantizers. A toolkit that is not installed prints NOT RUN, one that fails its error.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

import octavo
from bench import accuracy

F32 = NDArray[np.float32]
#: Most images per calibration batch of ONNX Runtime (its calibrators want batches of one size), and
#: batches that they see at once: they keep every activation of these, 30 MB an image of 224 x 224.
#: Small images are seen all at once.
_CALIBRATION_BATCH, _AT_ONCE, _SMALL = 10, 10, 64
_BATCH = 25


@dataclass(frozen=True)
class Row:
    """Top-1 and agreement of top-1 with float in percent, SQNR of the logits in dB."""

    model: str
    toolkit: str
    samples: int
    float_top1: float
    top1: float
    agreement: float
    sqnr_db: float
    error: str = ""


class _Reader:
    """Calibration data as onnxruntime.quantization reads them, some batches at a time."""

    def __init__(self, name: str, images: F32, console: Console, title: str) -> None:
        size = max(n for n in range(1, _CALIBRATION_BATCH + 1) if len(images) % n == 0)
        batches = [images[at : at + size] for at in range(0, len(images), size)]
        self._name, self._batches = name, batches
        self._console, self._title = console, title
        self._next, self._end = 0, len(batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index
        self._console.print(f"  {self._title}: batch {end_index} of {len(self)}", end="\r")

    def get_next(self) -> dict[str, F32] | None:
        if self._next >= self._end:
            return None
        self._next += 1
        return {self._name: self._batches[self._next - 1]}


def _onnxruntime(method: str) -> Callable[..., None]:
    """QDQ, u8 activations, s8 weights per channel, after the preprocessing that it recommends."""

    def quantize(source: Path, target: Path, images: F32, console: Console, title: str) -> None:
        import onnx
        from onnxruntime.quantization import (
            CalibrationMethod,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process

        prepared = target.with_suffix(".prepared.onnx")
        quant_pre_process(source, prepared)
        name = onnx.load(prepared, load_external_data=False).graph.input[0].name
        reader = _Reader(name, images, console, title)
        small = images.shape[-1] <= _SMALL or len(reader) % _AT_ONCE
        quantize_static(
            prepared,
            target,
            reader,
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod[method],
            # despite its name it makes the histogram methods go by parts, too
            extra_options={"CalibStridedMinMax": len(reader) if small else _AT_ONCE},
        )

    return quantize


def _nncf(**options: Any) -> Callable[..., None]:
    """NNCF's ONNX back end on all calibration images."""

    def quantize(source: Path, target: Path, images: F32, console: Console, title: str) -> None:
        import nncf
        import onnx

        logging.getLogger("nncf").setLevel(logging.ERROR)
        model = onnx.load(source)
        data = nncf.Dataset([{model.graph.input[0].name: image[None]} for image in images])
        quantized = nncf.quantize(model, data, subset_size=len(images), **options)
        onnx.save_model(quantized, target)

    return quantize


#: toolkit and setting -> quantizer(source, target, calibration images, console, title)
TOOLKITS: dict[str, Callable[..., None]] = {
    "onnxruntime min-max": _onnxruntime("MinMax"),
    "onnxruntime percentile": _onnxruntime("Percentile"),
    "onnxruntime entropy": _onnxruntime("Entropy"),
    "nncf default": _nncf(),
    "nncf full bias correction": _nncf(fast_bias_correction=False),
}


def _batches(images: F32) -> Iterator[F32]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]


def _by_onnxruntime(path: Path, images: F32, title: str, console: Console, threads: int) -> F32:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return _rows(lambda batch: session.run(None, {name: batch})[0], images, title, console)


def _by_octavo(model: octavo.Model, images: F32, title: str, console: Console, threads: int) -> F32:
    session = model.compile(threads=threads)
    return _rows(lambda x: next(iter(session.run(x).values())), images, title, console)


def _rows(run: Callable[[F32], F32], images: F32, title: str, console: Console) -> F32:
    batches: Iterable[F32] = track(list(_batches(images)), title, console=console, transient=True)
    return np.concatenate([run(batch) for batch in batches]).reshape(len(images), -1)


def _judge(model: str, toolkit: str, got: F32, expected: F32, labels: NDArray[np.int64]) -> Row:
    noise = float(np.square(got - expected, dtype=np.float64).sum())
    signal = float(np.square(expected, dtype=np.float64).sum())
    return Row(
        model,
        toolkit,
        len(labels),
        100 * float(np.mean(expected.argmax(1) == labels)),
        100 * float(np.mean(got.argmax(1) == labels)),
        100 * float(np.mean(got.argmax(1) == expected.argmax(1))),
        10 * float(np.log10(signal / noise)) if noise else float("inf"),
    )


def evaluate(name: str, toolkits: list[str], threads: int, console: Console) -> Iterator[Row]:
    """A row for each toolkit, then ours with default settings."""
    file, data = accuracy.SUITE[name][:2]
    source = accuracy.SHARED / "models" / "float" / file
    images, labels, calibration = data()[:3]
    expected = _by_onnxruntime(source, images, f"{name} float32", console, threads)
    for toolkit in toolkits:
        title = f"{name}, {toolkit}"
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "quantized.onnx"
            try:
                TOOLKITS[toolkit](source, target, calibration, console, title)
                got = _by_onnxruntime(target, images, title, console, threads)
            except ImportError as error:
                console.print(f"NOT RUN {title}: {error}; pip install 'octavo[witness]'")
                continue
            except Exception as error:  # theirs to raise, and part of the comparison
                reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
                blank = (float("nan"),) * 4
                yield Row(name, toolkit, len(labels), *blank, error=reason)
                continue
        yield _judge(name, toolkit, got, expected, labels)
    quantized = octavo.quantize(source, list(_batches(calibration)), progress=True)
    got = _by_octavo(quantized, images, f"{name}, octavo", console, threads)
    yield _judge(name, "octavo default", got, expected, labels)


def markdown(rows: list[Row], ours: list[dict[str, Any]]) -> str:
    """One column per network; `ours` are rows of `bench.accuracy --json`, placed below."""
    names = list(dict.fromkeys(row.model for row in rows))
    cells = {(row.toolkit, row.model): _cell(row) for row in rows}
    for item in ours:
        setting = item.get("recipe") or item.get("ranges") or "default"
        figures = (item["int8_top1"], item["agreement"], item["sqnr_db"])
        cells[f"octavo {setting}", item["model"]] = " · ".join(
            f"{figure:.{digits}f}" for figure, digits in zip(figures, (2, 2, 1), strict=True)
        )
    samples = {row.model: row.samples for row in rows}
    lines = [
        "| toolkit, setting | " + " | ".join(f"{n}, {samples[n]:,}" for n in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    tops = {row.model: row.float_top1 for row in rows if row.float_top1 == row.float_top1}
    lines.append("| float | " + " | ".join(f"{tops.get(n, np.nan):.2f}" for n in names) + " |")
    for toolkit in dict.fromkeys(toolkit for toolkit, _ in cells):
        found = [cells.get((toolkit, name), "–") for name in names]
        lines.append(f"| {toolkit} | " + " | ".join(found) + " |")
    return "\n".join(
        [*lines, "", "top-1 % · agreement of top-1 with float % · SQNR of the logits dB"]
    )


def _cell(row: Row) -> str:
    if row.error:
        return f"failed ({row.error})"
    return f"{row.top1:.2f} · {row.agreement:.2f} · {row.sqnr_db:.1f}"


def main() -> int:
    """Prints the table as Markdown; exit code 2 when nothing could run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"comma-separated models of {', '.join(accuracy.SUITE)}")
    parser.add_argument("--toolkits", default=",".join(TOOLKITS), help="comma-separated")
    parser.add_argument("--ours", metavar="FILE", help="rows of `bench.accuracy --json` to add")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args()
    toolkits = [item for item in arguments.toolkits.split(",") if item]
    unknown = sorted(set(toolkits) - set(TOOLKITS))
    if unknown:
        parser.error(f"unknown toolkits {unknown}; known: {', '.join(TOOLKITS)}")
    console = Console(stderr=True)
    rows: list[Row] = []
    for name in arguments.only.split(",") if arguments.only else accuracy.SUITE:
        if not (accuracy.SHARED / "models" / "float" / accuracy.SUITE[name][0]).is_file():
            console.print(f"NOT RUN {name}: {accuracy.SUITE[name][0]} is not under OCTAVO_SHARED")
            continue
        for row in evaluate(name, toolkits, arguments.threads, console):
            console.print(f"{row.model}, {row.toolkit}: {_cell(row)}")
            rows.append(row)
    ours = json.loads(Path(arguments.ours).read_text()) if arguments.ours else []
    print(markdown(rows, ours) if rows else "NOT RUN")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(row) for row in rows], indent=2))
    return 0 if rows else 2


if __name__ == "__main__":
    raise SystemExit(main())

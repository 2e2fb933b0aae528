# SPDX-License-Identifier: Apache-2.0
"""MLPerf Tiny: our int8 networks beside the published ones: `python -m bench.tiny`.

The float TFLite models of MLPerf Tiny are quantized by `octavo.quantize`; float, published int8 and
ours then run on the same samples. Models and data are looked up under OCTAVO_SHARED (default:
../shared beside the repository) and are not part of the project; what is absent prints NOT RUN.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import octavo
from bench.accuracy import SHARED

Array = NDArray[Any]
SEED = 20241121
_BATCH = 25
#: Keyword samples taken out of the 500 for calibration; the other 400 are evaluated.
_KWS_CALIBRATION = 100


@dataclass(frozen=True)
class Samples:
    """Float inputs [n, ...] with labels where they exist, and others for calibration."""

    inputs: Array
    labels: Array | None
    calibration: Array
    note: str


@dataclass(frozen=True)
class Result:
    """Top-1 and its agreement with float in percent (nan: no classes or labels), SQNR of outputs.

    `error` is the mean difference of the reconstruction error from float's, in percent of it, for
    the autoencoder alone.
    """

    network: str
    variant: str
    samples: int
    top1: float
    agreement: float
    sqnr_db: float
    error: float
    note: str


def _cifar() -> Samples:
    with np.load(SHARED / "data" / "cifar10_test_5000.npz") as data:
        images, labels = data["images"], data["labels"]
    with np.load(SHARED / "data" / "cifar10_calibration_512.npz") as data:
        calibration = data["images"]
    note = "CIFAR-10, calibrated on 512 of the training split"
    return Samples(images.astype(np.float32), labels, calibration.astype(np.float32), note)


def _keywords() -> Samples:
    """The features as the int8 network takes them, made real by its input parameters."""
    with np.load(SHARED / "data" / "mlperf_tiny_kws_500.npz") as data:
        features, labels = data["features"], data["labels"]
    real = (features.astype(np.float32) - np.float32(83)) * np.float32(0.5847029)
    order = np.random.default_rng(SEED).permutation(len(real))
    held, rest = order[:_KWS_CALIBRATION], np.sort(order[_KWS_CALIBRATION:])
    note = f"Speech Commands, calibrated on {_KWS_CALIBRATION} of the 500 (seed {SEED})"
    return Samples(real[rest], labels[rest], real[held], note)


def _pictures(folder: str) -> Array:
    from PIL import Image

    files = sorted((SHARED / "data" / folder).glob("*.[jJ][pP]*[gG]"))
    small = [np.asarray(Image.open(f).convert("RGB").resize((96, 96))) for f in files]
    return np.stack(small).astype(np.float32) / np.float32(255)


def _persons() -> Samples:
    """No labelled picture of persons is here: ImageNet's pictures, agreement with float."""
    note = "ImageNet pictures at 96 x 96 without person labels"
    return Samples(_pictures("imagenet_val_650"), None, _pictures("imagenet_calibration_300"), note)


def _mel(bins: int, size: int, rate: int) -> Array:
    """Triangles of equal area, evenly spaced in mel: [size // 2 + 1, bins]."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bins + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(size, 1 / rate)[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (frequencies - left) / (middle - left), (right - frequencies) / (right - middle)
    return np.maximum(0, np.minimum(rise, fall)) * 2 / (right - left)


def _hum(rng: np.random.Generator, seconds: float, rate: int) -> Array:
    """A machine: harmonics of one wandering frequency, and coloured noise."""
    time = np.arange(int(seconds * rate)) / rate
    pitch = rng.uniform(40, 200) * (1 + 0.02 * np.sin(2 * np.pi * rng.uniform(0.2, 2) * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tone = sum(rng.uniform() / k * np.sin(k * phase) for k in range(1, 20))
    noise = np.convolve(rng.standard_normal(len(time)), np.hanning(rng.integers(2, 9)), "same")
    return np.asarray(0.02 * tone + 0.01 * rng.uniform(0.2, 1) * noise)


def _frames(clips: int, seed: int) -> Array:
    """Five neighbouring log-mel frames of 128 bands per row, as the network was trained on."""
    rng, size, hop, rate = np.random.default_rng(seed), 1024, 512, 16000
    mel, window, rows = _mel(128, size, rate), np.hanning(size), []
    for _ in range(clips):
        sound = _hum(rng, 1.0, rate)
        pieces = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop] * window
        power = np.square(np.abs(np.fft.rfft(pieces, axis=1))) @ mel
        frames = 10 * np.log10(power + np.finfo(np.float32).eps)
        rows += [frames[at : at + 5].reshape(-1) for at in range(0, len(frames) - 5, 5)]
    return np.stack(rows).astype(np.float32)


def _machines() -> Samples:
    """No recording of machines is here: synthesized hums."""
    note = "synthesized machine hums (no recordings here); reconstruction error beside float's"
    return Samples(_frames(100, SEED), None, _frames(50, SEED + 1), note)


#: network: (float model, published int8 model, samples)
SUITE: dict[str, tuple[str, str, Callable[[], Samples]]] = {
    "resnet8": ("pretrainedResnet", "pretrainedResnet_quant", _cifar),
    "kws": ("kws_ref_model_float32", "kws_ref_model", _keywords),
    "vww": ("vww_96_float", "vww_96_int8", _persons),
    "ad": ("ad01_fp32", "ad01_int8", _machines),
}


def _batches(inputs: Array) -> list[Array]:
    return [inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]


def _stored(model: octavo.Model, inputs: Array) -> Array:
    """Real inputs as the model's input type takes them."""
    value = model.source.values[model.source.inputs[0]]
    if not value.is_8bit:
        return inputs
    from octavo import quant

    return quant.quantize(inputs, value.scale, value.zero_point, value.dtype)


def _real(model: octavo.Model, outputs: Array) -> Array:
    value = model.source.values[model.source.outputs[0]]
    if not value.is_8bit:
        return outputs
    from octavo import quant

    return quant.dequantize(outputs, value.scale, value.zero_point)


def _octavo(model: octavo.Model, inputs: Array, title: str, console: Console) -> Array:
    session = model.compile()
    rows = [
        next(iter(session.run(_stored(model, batch)).values()))
        for batch in track(_batches(inputs), title, console=console, transient=True)
    ]
    return _real(model, np.concatenate(rows).reshape(len(inputs), -1))


def _litert(model: octavo.Model, inputs: Array, title: str, console: Console) -> Array:
    """The published file by LiteRT itself. Raises ImportError where that is not installed."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model.path, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]
    rows = []
    for row in track(_stored(model, inputs), title, console=console, transient=True):
        interpreter.set_tensor(source, row[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(target).reshape(-1).copy())
    return _real(model, np.stack(rows))


def _judge(blank: Result, got: Array, expected: Array, samples: Samples) -> Result:
    noise = float(np.square(got - expected, dtype=np.float64).sum())
    signal = float(np.square(expected, dtype=np.float64).sum())
    result = replace(blank, sqnr_db=10 * float(np.log10(signal / noise)) if noise else np.inf)
    if got.shape == samples.inputs.shape:  # an autoencoder
        ours, theirs = (
            np.square(samples.inputs - y, dtype=np.float64).mean(1) for y in (got, expected)
        )
        return replace(result, error=100 * float(np.mean(np.abs(ours - theirs) / theirs)))
    result = replace(result, agreement=100 * float(np.mean(got.argmax(1) == expected.argmax(1))))
    if samples.labels is None:
        return result
    return replace(result, top1=100 * float(np.mean(got.argmax(1) == samples.labels)))


def evaluate(name: str, console: Console, recipe: str | None) -> list[Result]:
    """Float, published int8 and ours of one network."""
    folder = SHARED / "models" / "mlperf_tiny"
    floating, published = (octavo.load(folder / f"{file}.tflite") for file in SUITE[name][:2])
    samples = SUITE[name][2]()
    expected = _octavo(floating, samples.inputs, f"{name} float32", console)
    blank = Result(
        name, "float32", len(samples.inputs), np.nan, np.nan, np.nan, np.nan, samples.note
    )
    results = [_judge(blank, expected, expected, samples)]
    calibration = _batches(samples.calibration)
    ours = octavo.quantize(floating, calibration, recipe=recipe, progress=True)
    runs: list[tuple[str, Callable[..., Array], octavo.Model]] = [
        ("published int8, LiteRT", _litert, published),
        ("published int8", _octavo, published),
        ("ours int8", _octavo, ours),
    ]
    for variant, run, model in runs:
        try:
            got = run(model, samples.inputs, f"{name} {variant}", console)
        except ImportError:
            console.print(f"NOT RUN {name}, {variant}: ai-edge-litert is not installed")
            continue
        results.append(_judge(replace(blank, variant=variant), got, expected, samples))
    return results


def _figure(number: float) -> str:
    return "–" if np.isnan(number) else f"{number:.2f}"


def main() -> int:
    """Prints the table; exit code 2 when nothing could run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"comma-separated networks of {', '.join(SUITE)}")
    parser.add_argument("--recipe", metavar="FILE", help="recipe for octavo.quantize")
    parser.add_argument("--json", metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    results: list[Result] = []
    for name in arguments.only.split(",") if arguments.only else SUITE:
        missing = [
            file
            for file in SUITE[name][:2]
            if not (SHARED / "models" / "mlperf_tiny" / f"{file}.tflite").is_file()
        ]
        if missing:
            console.print(f"NOT RUN {name}: {missing[0]}.tflite is not under OCTAVO_SHARED")
            continue
        results += evaluate(name, console, arguments.recipe)
    table = Table(title="MLPerf Tiny: float32, the published int8, and float32 quantized here")
    for column in ("network", "variant"):
        table.add_column(column, no_wrap=True)
    for column in ("samples", "top-1", "agreement", "SQNR dB", "Δ error %"):
        table.add_column(column, justify="right")
    for r in results:
        figures = (r.top1, r.agreement, r.sqnr_db, r.error)
        table.add_row(r.network, r.variant, str(r.samples), *map(_figure, figures))
    Console(width=100).print(table)
    for note in dict.fromkeys(f"{r.network}: {r.note}" for r in results):
        console.print(note)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(r) for r in results], indent=2))
    return 0 if results else 2


if __name__ == "__main__":
    raise SystemExit(main())

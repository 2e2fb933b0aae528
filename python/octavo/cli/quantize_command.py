# SPDX-License-Identifier: Apache-2.0
"""octavo quantize: float ONNX to int8."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from octavo.cli.common import print_json, random_inputs, size
from octavo.errors import InvalidArgumentError
from octavo.model import Model, load
from octavo.quantization import METHODS, Progress, Quantized, run_quantizer, save_table
from octavo.quantization.checkpoint import Checkpoint
from octavo.quantization.data import Batches, open_data
from octavo.quantization.preprocessing import PRESETS
from octavo.quantization.progress import progress_bar
from octavo.report.table import heading, style

HELP = "quantize a float ONNX model to int8 with calibration data"
EXAMPLE = (
    "octavo quantize model.onnx --calibration images/ --preprocess imagenet --output model_qdq.onnx"
)
_NAMED = 3  # tensors of each kind of doubt
_ABSENT = object()  # `none` is a value of --resize and --crop
_PLAIN = ("interpolation", "color", "scale", "mean", "std", "layout")
_IMAGE_OPTIONS = ("resize", "crop", *_PLAIN)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="float .onnx file")
    data = parser.add_argument_group("calibration data")
    data.add_argument(
        "--calibration",
        metavar="PATH",
        help="a folder of images, or samples along the first axis: .npy, or .npz by input name",
    )
    data.add_argument(
        "--samples", type=int, metavar="N", help="use N samples, spread evenly (default: all)"
    )
    data.add_argument(
        "--random-calibration",
        type=int,
        metavar="N",
        help="calibrate on N random inputs instead: only to try things out",
    )
    images = parser.add_argument_group("what makes an input of an image (stored in the model)")
    images.add_argument(
        "--preprocess",
        metavar="NAME",
        help=f"{', '.join(PRESETS)}, or a JSON file (default: what the model holds)",
    )
    images.add_argument(
        "--resize", type=_size, default=_ABSENT, metavar="N|HxW", help="shorter side, size, or none"
    )
    images.add_argument(
        "--crop", type=_size, default=_ABSENT, metavar="N|HxW", help="centre crop, or none"
    )
    images.add_argument("--interpolation", help="nearest, bilinear, bicubic or lanczos")
    images.add_argument("--color", help="RGB, BGR or gray")
    images.add_argument("--scale", type=float, help="pixels, 0 to 255, are multiplied by this")
    images.add_argument("--mean", type=_numbers, metavar="A,B,C", help="subtracted then")
    images.add_argument("--std", type=_numbers, metavar="A,B,C", help="divided by then")
    images.add_argument("--layout", help="NCHW or NHWC")
    parser.add_argument("--output", required=True, metavar="FILE", help=".onnx (QDQ) or .octavo")
    parser.add_argument(
        "--compress", action="store_true", help="a smaller .octavo that only Python reads"
    )
    parser.add_argument(
        "--table", metavar="FILE", help="write every tensor's range as JSON, to be edited"
    )
    parser.add_argument(
        "--from-table",
        metavar="FILE",
        help="take ranges from such a file; --calibration is needed for what it lacks only",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="keeps the calibration, to go on after a kill (default: OUTPUT.calibration)",
    )
    parser.add_argument("--no-checkpoint", action="store_true", help="keep nothing")
    parser.add_argument(
        "--recipe", metavar="FILE", help='what to quantize how (JSON), or "encoder"'
    )
    parser.add_argument("--ranges", choices=METHODS, help="range method (default: the recipe's)")
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="NODE",
        help="keep a node in float (repeat)",
    )


def _size(text: str) -> int | tuple[int, int] | None:
    """224, 224x320 or none."""
    if text == "none":
        return None
    try:
        numbers = [int(part) for part in text.split("x")]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2:
        raise argparse.ArgumentTypeError(f"'{text}': a size is 224, 224x320 or none")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': numbers with commas between them") from None


def _data(model: Model, arguments: argparse.Namespace) -> Batches | None:
    if arguments.calibration is None and arguments.from_table and not arguments.random_calibration:
        return None
    if arguments.calibration is None:
        if not arguments.random_calibration:
            raise InvalidArgumentError(
                "give --calibration PATH with real samples (32 and more), or --random-calibration N"
            )
        batches = [random_inputs(model, seed) for seed in range(arguments.random_calibration)]
        named = [(f"random batch {index}", batch) for index, batch in enumerate(batches)]
        return Batches(named, len(batches))
    options = {name: getattr(arguments, name) for name in _IMAGE_OPTIONS}
    absent = {name for name, v in options.items() if v is _ABSENT or (v is None and name in _PLAIN)}
    return open_data(
        model.source,
        arguments.calibration,
        samples=arguments.samples,
        preprocess=arguments.preprocess,
        overrides={name: value for name, value in options.items() if name not in absent},
    )


def _checkpoint(arguments: argparse.Namespace) -> str | None:
    if arguments.no_checkpoint or arguments.calibration is None:
        return None
    return str(arguments.checkpoint or f"{arguments.output}.calibration")


@contextmanager
def _interruptible(progress: Progress, checkpoint: str | None) -> Iterator[Progress]:
    """The progress callback, in which the first Ctrl-C takes effect: between two samples, so that
    the checkpoint holds all that was done. The second one takes effect at once."""
    pressed = False

    def press(signum: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            signal.default_int_handler(signum, frame)
        pressed = True

    def told(stage: str, done: int, total: int | None) -> None:
        progress(stage, done, total)
        if pressed:
            raise KeyboardInterrupt

    own = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, press) if own else None
    try:
        yield told
    except KeyboardInterrupt:
        if checkpoint is not None and Path(checkpoint).exists():
            print(
                f"octavo: the calibration so far is in '{checkpoint}': the same command goes on",
                file=sys.stderr,
            )
        raise
    finally:
        if own:
            signal.signal(signal.SIGINT, before)


def _document(model: Model, made: Model, result: Quantized, output: str) -> dict[str, Any]:
    spec = result.calibration.preprocessing
    return {
        "output": output,
        "bytes": Path(output).stat().st_size,
        "weight_bytes_float": model.weight_bytes,
        "weight_bytes": made.weight_bytes,
        "samples": result.calibration.samples,
        "preprocessing": None if spec is None else spec.to_dict(),
        "confidence": result.confidence().to_dict() if result.calibration.samples else None,
        "recipe": result.recipe.to_dict(),
        "float_steps": dict(made.float_reasons),
    }


def _report(document: dict[str, Any], result: Quantized) -> None:
    print(heading(f"{document['output']}") + f"  {size(document['bytes'])}")
    float_bytes, bytes_now = document["weight_bytes_float"], document["weight_bytes"]
    print(
        f"  weights {size(float_bytes)} → {size(bytes_now)} ({bytes_now / max(1, float_bytes):.3f})"
        f", {document['samples']} calibration samples, "
        f"ranges {result.recipe.defaults.activation_ranges}"
    )
    if result.calibration.preprocessing is not None:
        print(f"  images: {result.calibration.preprocessing}")
    if document["confidence"] is not None:
        _report_confidence(document["confidence"])
    for node, reason in document["float_steps"].items():
        print(style(f"  float32: {node}: {reason}", "yellow"))


def _report_confidence(confidence: dict[str, Any]) -> None:
    """The verdict, and for each kind of doubt the first tensors."""
    settled = confidence["settled"]
    print(style(f"  {confidence['verdict']}", "green" if settled else "yellow"))
    kinds: dict[str, list[dict[str, Any]]] = {}
    for doubt in confidence["doubts"]:
        kinds.setdefault(doubt["kind"], []).append(doubt)
    for kind, doubts in kinds.items():
        named = "; ".join(
            f"'{d['tensor']}': {d['detail']}" + (f" ({d['source']})" if d["source"] else "")
            for d in doubts[:_NAMED]
        )
        more = f" and {len(doubts) - _NAMED} more (--json)" if len(doubts) > _NAMED else ""
        print(style(f"  {kind}: {named}{more}", "yellow"))


def run(arguments: argparse.Namespace) -> int:
    ending = Path(arguments.output).suffix.lower()
    if ending not in (".onnx", ".octavo"):
        raise InvalidArgumentError(
            f"--output '{arguments.output}': the ending must be .onnx or .octavo"
        )
    if arguments.compress and ending != ".octavo":
        raise InvalidArgumentError("--compress is for .octavo files; leave it out")
    model = load(arguments.model)
    data = _data(model, arguments)
    checkpoint = _checkpoint(arguments)
    with progress_bar("octavo quantize") as progress, _interruptible(progress, checkpoint) as told:
        result = run_quantizer(
            model.source,
            data,
            recipe=arguments.recipe,
            ranges=arguments.ranges,
            exclude=arguments.exclude,
            progress=told,
            checkpoint=checkpoint,
            table=arguments.from_table,
        )
    made = Model(result.graph, reference=model.source)
    if ending == ".onnx":
        made.to_onnx(arguments.output)
    else:
        made.save(arguments.output, compress=arguments.compress)
    if arguments.table is not None:
        save_table(arguments.table, result.table())
    if checkpoint is not None:
        Checkpoint(checkpoint, {}).remove()
    document = _document(model, made, result, arguments.output)
    if arguments.json:
        print_json(document)
    else:
        _report(document, result)
    return 0

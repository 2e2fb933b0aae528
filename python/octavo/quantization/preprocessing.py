# SPDX-License-Identifier: Apache-2.0
"""From an image to a model's input: what a model expects, as data that is stored with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import FormatError, InvalidArgumentError, ShapeError, missing_extra
from octavo.ir import Graph

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["METADATA_KEY", "PRESETS", "Preprocessing", "preprocessing_for"]

F32 = NDArray[np.float32]
#: Under which `Graph.metadata` holds a preprocessing.
METADATA_KEY = "preprocessing"
_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
_COLORS = {"RGB": 3, "BGR": 3, "gray": 1}


@dataclass(frozen=True)
class Preprocessing:
    """Decode → colour order → resize → centre crop → (pixel * scale - mean) / std → layout.

    `resize` is the length of the shorter side (the other keeps the ratio, rounded down) or (height,
    width); `crop` (height, width); None leaves the size. Pixels are 0 to 255. `mean` and `std` have
    one number, or one per channel in the order of `color`.
    """

    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: str = "bilinear"
    color: str = "RGB"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("interpolation", self.interpolation, _INTERPOLATIONS),
            ("color", self.color, tuple(_COLORS)),
            ("layout", self.layout, ("NCHW", "NHWC")),
        ):
            if value not in known:
                raise InvalidArgumentError(
                    f"preprocessing: {name}={value!r}: choose one of {', '.join(known)}"
                )
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if len(numbers) not in (1, self.channels) or not np.isfinite(numbers).all():
                raise InvalidArgumentError(
                    f"preprocessing: {name}={numbers}: one number, or {self.channels} for "
                    f"{self.color}"
                )
        if min(self.std) <= 0 or not 0 < self.scale < np.inf:
            raise InvalidArgumentError(
                f"preprocessing: scale={self.scale} and std={self.std} must be above 0"
            )
        sizes = [*np.atleast_1d(self.resize or 1), *(self.crop or ())]
        if min(sizes) < 1:
            raise InvalidArgumentError(
                f"preprocessing: resize={self.resize}, crop={self.crop}: sizes are above 0"
            )

    @property
    def channels(self) -> int:
        """Channels that come out."""
        return _COLORS[self.color]

    def apply(self, image: Image) -> F32:
        """A Pillow image as float32 [C, H, W] or [H, W, C]. Raises ShapeError where it is smaller
        than the crop."""
        image = image.convert("L" if self.color == "gray" else "RGB")
        if self.resize is not None:
            from PIL.Image import Resampling

            size = _resized(image.size, self.resize)
            if size != image.size:
                image = image.resize(size, Resampling[self.interpolation.upper()])
        return self.apply_pixels(np.asarray(image))

    def apply_pixels(self, pixels: NDArray[np.uint8]) -> F32:
        """Crop, colour order and arithmetic for pixels [H, W] or [H, W, C] of the right size."""
        if pixels.ndim == 2:
            pixels = pixels[:, :, None]
        if self.crop is not None:
            pixels = _cropped(pixels, self.crop)
        if self.color == "BGR":
            pixels = pixels[:, :, ::-1]
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        found = (pixels.astype(np.float32) * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(found.transpose(2, 0, 1) if self.layout == "NCHW" else found)

    def apply_array(self, pixels: NDArray[np.uint8]) -> F32:
        """`apply` for pixels [H, W] or [H, W, C]; Pillow is needed only to change their size or
        colours."""
        size = (pixels.shape[1], pixels.shape[0])
        same = self.resize is None or _resized(size, self.resize) == size
        if same and (pixels.shape[2] if pixels.ndim == 3 else 1) == self.channels:
            return self.apply_pixels(pixels)
        flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        return self.apply(need_pillow().fromarray(np.ascontiguousarray(flat)))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as in a JSON file and in a model."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @staticmethod
    def from_dict(document: Any) -> Preprocessing:
        """The preprocessing of plain data; raises FormatError or InvalidArgumentError."""
        if not isinstance(document, Mapping):
            raise FormatError('a preprocessing is a JSON object, e.g. {"crop": [224, 224]}')
        known = {item.name for item in fields(Preprocessing)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise InvalidArgumentError(
                f"preprocessing: unknown {unknown}; there are {', '.join(sorted(known))}"
            )
        try:
            return Preprocessing(**{key: _plain(key, document[key]) for key in document})
        except (TypeError, ValueError, OverflowError) as error:
            if isinstance(error, InvalidArgumentError):
                raise
            raise InvalidArgumentError(f"preprocessing: {error}") from error

    def __str__(self) -> str:
        size = "" if self.resize is None else f"resize {_size(self.resize)}, "
        crop = "" if self.crop is None else f"crop {_size(self.crop)}, "
        mean, std = (", ".join(f"{n:g}" for n in numbers) for numbers in (self.mean, self.std))
        return (
            f"{self.color}, {size}{crop}pixel × {self.scale:.6g}, mean ({mean}), std ({std}), "
            f"{self.layout}"
        )


def _size(size: int | tuple[int, ...]) -> str:
    return str(size) if isinstance(size, int) else "×".join(map(str, size))


def _plain(key: str, value: Any) -> Any:
    if key in ("mean", "std"):
        return tuple(
            float(number) for number in (value if isinstance(value, (list, tuple)) else [value])
        )
    if key in ("resize", "crop") and isinstance(value, (list, tuple)):
        height, width = (int(number) for number in value)
        return height, width
    if key == "crop" and isinstance(value, int):
        return value, value
    return float(value) if key == "scale" else value


def _resized(size: tuple[int, int], wanted: int | tuple[int, int]) -> tuple[int, int]:
    """(width, height) of an image of `size` (width, height) after resizing."""
    if not isinstance(wanted, int):
        return wanted[1], wanted[0]
    width, height = size
    if width <= height:
        return wanted, max(1, wanted * height // width)
    return max(1, wanted * width // height), wanted


def _cropped(pixels: NDArray[np.uint8], crop: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if height < crop[0] or width < crop[1]:
        raise ShapeError(
            f"{height}×{width} pixels are fewer than the crop {_size(crop)}: resize first"
        )
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)
    return pixels[top : top + crop[0], left : left + crop[1]]


#: Name -> (numbers, share of the resized shorter side that the crop takes; None: plain resize).
PRESETS: Mapping[str, tuple[dict[str, Any], float | None]] = {
    "imagenet": (
        {"scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        0.875,
    ),
    "unit": ({"scale": 1 / 255}, None),
    "signed": ({"scale": 1 / 127.5, "mean": [1.0]}, None),
    "raw": ({}, None),
}


def _input_size(graph: Graph) -> tuple[int, int, int, str]:
    """(height, width, channels, layout) of a model's only input. Raises InvalidArgumentError."""
    shape = graph.values[graph.inputs[0]].shape
    if len(graph.inputs) != 1 or len(shape) != 4:
        inputs = {name: graph.values[name].shape for name in graph.inputs}
        raise InvalidArgumentError(
            f"images serve models with one input of rank 4, this one has {inputs}: calibrate on "
            ".npz or on batches"
        )
    if shape[3] in (1, 3) and shape[1] not in (1, 3):
        return shape[1], shape[2], shape[3], "NHWC"
    return shape[2], shape[3], shape[1], "NCHW"


def _preset(name: str, graph: Graph) -> Preprocessing:
    """A preset for the size and layout of a model's input."""
    if name not in PRESETS:
        raise InvalidArgumentError(
            f"no preprocessing '{name}': a preset ({', '.join(PRESETS)}) or a JSON file"
        )
    height, width, channels, layout = _input_size(graph)
    numbers, share = PRESETS[name]
    numbers = {**numbers, "color": "gray" if channels == 1 else "RGB", "layout": layout}
    if channels == 1:
        numbers |= {
            key: [float(np.mean(numbers[key]))] for key in ("mean", "std") if key in numbers
        }
    if share is None:
        return Preprocessing.from_dict({**numbers, "resize": [height, width]})
    resize = round(min(height, width) / share)
    return Preprocessing.from_dict({**numbers, "resize": resize, "crop": [height, width]})


def preprocessing_for(
    graph: Graph,
    told: Preprocessing | Mapping[str, Any] | str | os.PathLike[str] | None,
    overrides: Mapping[str, Any] | None = None,
) -> Preprocessing:
    """The preprocessing that `told` means for a model: itself, plain data, a preset's name or a
    JSON file; what the model was saved with if None. `overrides` are plain data on top of it.

    Raises InvalidArgumentError, also where the result does not have the model's shape, FormatError.
    """
    if told is None:
        told = graph.metadata.get(METADATA_KEY)
    if told is None and overrides:
        told = "raw"
    if told is None:
        raise InvalidArgumentError(
            "images need a preprocessing: preprocess='imagenet' (or another of "
            f"{', '.join(PRESETS)}), a JSON file, or octavo.Preprocessing(...)"
        )
    if isinstance(told, (str, os.PathLike)):
        path = Path(told)
        found = _read(path) if path.suffix == ".json" else _preset(str(told), graph)
    else:
        found = told if isinstance(told, Preprocessing) else Preprocessing.from_dict(told)
    if overrides:
        given = {key: _plain(key, value) for key, value in overrides.items()}
        found = replace(found, **given)
    _check(graph, found)
    return found


def _read(path: Path) -> Preprocessing:
    if not path.is_file():
        raise InvalidArgumentError(f"no such preprocessing: '{path}'")
    try:
        return Preprocessing.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"'{path}': {error}") from error
    except ValueError as error:
        raise FormatError(f"'{path}' is no preprocessing in JSON: {error}") from error


def _check(graph: Graph, found: Preprocessing) -> None:
    """Channels and, where they are known, sizes are the model's."""
    _input_size(graph)
    shape = graph.values[graph.inputs[0]].shape
    size = found.crop or (found.resize if isinstance(found.resize, tuple) else None)
    height, width = size or (None, None)
    made: tuple[int | None, ...] = (found.channels, height, width)
    if found.layout == "NHWC":
        made = (height, width, found.channels)
    symbols = graph.dynamic.get(graph.inputs[0], (None,) * 4)[1:]
    for have, want, symbol in zip(made, shape[1:], symbols, strict=True):
        if have is not None and have != want and symbol is None:
            raise InvalidArgumentError(
                f"preprocessing gives {made} ({found.layout}), but input '{graph.inputs[0]}' is "
                f"{shape[1:]}: set resize, crop, color or layout"
            )


def need_pillow() -> Any:
    """The module PIL.Image. Raises MissingExtraError."""
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_extra("images", "reading images") from error
    return Image

# SPDX-License-Identifier: Apache-2.0
"""Resize: images [N,C,H,W], nearest pixels or linear interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from octavo.errors import FormatError
from octavo.importers.onnx_builder import (
    Builder,
    attr,
    attr_ints,
    handles,
    normal_axis,
    unsupported,
)
from octavo.importers.onnx_conv import from_nhwc, to_nhwc
from octavo.ir import Node, Value
from octavo.ops.resize import COORDINATES, ROUNDINGS

_WAY_OUT = "run it in float outside the model, or export it as nearest or linear"


@handles("Resize")
def resize(b: Builder, node: Node) -> None:
    """Opset 10: X, scales. From 11 on: X, roi, scales, sizes, and how coordinates map."""
    if b.opset < 11:
        attrs = {"coordinates": "asymmetric", "rounding": "floor", **_mode(node)}
        _resize(b, node, _floats(b, node, 1, "scales"), None, attrs)
        return
    for key, value in (("antialias", 0), ("exclude_outside", 0)):
        if attr(node, key, value, int) != value:
            raise unsupported(node, f"{key}={attr(node, key, value, int)}; {_WAY_OUT}")
    policy = _text(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        raise unsupported(node, f"keep_aspect_ratio_policy '{policy}'; export the final sizes")
    coordinates = _text(node, "coordinate_transformation_mode", "half_pixel")
    if coordinates not in COORDINATES:
        known = ", ".join(COORDINATES)
        raise unsupported(node, f"coordinate mode '{coordinates}'; known: {known}")
    rounding = _text(node, "nearest_mode", "round_prefer_floor")
    if rounding not in ROUNDINGS:
        raise FormatError(f"{node.label()}: nearest_mode '{rounding}'")
    attrs = {"coordinates": coordinates, "rounding": rounding, **_mode(node)}
    sizes = b.ints(node, 3, "sizes") or None
    scales = _floats(b, node, 2, "scales") or None
    _resize(b, node, scales, sizes, attrs)


def _text(node: Node, key: str, default: str) -> str:
    return attr(node, key, default, str)


def _mode(node: Node) -> dict[str, str]:
    mode = _text(node, "mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise unsupported(node, f"mode '{mode}'; {_WAY_OUT}")
    return {"mode": mode}


def _floats(b: Builder, node: Node, index: int, what: str) -> tuple[float, ...] | None:
    found = b.array(node, index, what)
    if found is None:
        return None
    if found.dtype.kind != "f":
        raise FormatError(f"{node.label()}: {what} must be float, not {found.dtype}")
    return tuple(float(item) for item in found.reshape(-1))


def _spatial(node: Node, x: Value, found: Sequence[Any], same: Sequence[Any], what: str) -> Any:
    """The two spatial entries of a list for all axes, or for those that `axes` names."""
    axes = attr_ints(node, "axes", None)
    every = list(same)
    named = range(4) if axes is None else [normal_axis(node, axis, 4) for axis in axes]
    if len(found) != len(named) or len(set(named)) != len(named):
        raise FormatError(f"{node.label()}: {what} {tuple(found)} for an input {x.shape}")
    for axis, item in zip(named, found, strict=True):
        every[axis] = item
    if tuple(every[:2]) != tuple(same[:2]):
        raise unsupported(node, f"{what} {tuple(found)} changes more than height and width")
    return tuple(every[2:])


def _resize(
    b: Builder,
    node: Node,
    scales: Sequence[Any] | None,
    sizes: Sequence[int] | None,
    attrs: dict[str, Any],
) -> None:
    x = b.movable(node, 0) if attrs["mode"] == "nearest" else b.real(node, 0)
    if x.dtype in ("s32", "s64", "bool"):
        raise unsupported(node, f"input '{x.name}' is {x.dtype}; use float32 or int8")
    if len(x.shape) != 4:
        raise unsupported(node, f"input of rank {len(x.shape)}; only images [N,C,H,W] work")
    if (scales is None) == (sizes is None):
        raise FormatError(f"{node.label()}: needs either scales or sizes")
    if sizes is not None:
        attrs["size"] = _spatial(node, x, sizes, x.shape, "sizes")
    elif scales is not None:
        attrs["scales"] = _spatial(node, x, scales, (1.0, 1.0, 1.0, 1.0), "scales")
        if not all(0 < scale < 1e6 for scale in attrs["scales"]):
            raise FormatError(f"{node.label()}: scales {tuple(scales)}")
    image = to_nhwc(b, node, x)
    name = b.unique(f"{node.outputs[0]}/nhwc")
    y = b.emit("Resize", node.name, [image.name], name, attrs)
    from_nhwc(b, node, y, 4, node.outputs[0])

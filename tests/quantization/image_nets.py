# SPDX-License-Identifier: Apache-2.0
"""A small network that takes images, and images for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import octavo
from octavo import ops
from octavo.ir import Graph, Node, Value, constant, verify
from octavo.quantization.preprocessing import Preprocessing


def net(batch: str | None = "N", fixed: int = 1) -> octavo.Model:
    """x [N,6,5,3] -> Conv -> y, NHWC."""
    rng = np.random.default_rng(1)
    values = {
        "x": Value("x", "f32", (fixed, 6, 5, 3)),
        "w": constant("w", rng.standard_normal((4, 3, 3, 3)).astype(np.float32)),
    }
    attrs = {"strides": (1, 1), "dilations": (1, 1), "pads": (1, 1, 1, 1), "groups": 1}
    node = Node("conv", "Conv", ("x", "w"), ("y",), attrs)
    (shape,) = ops.get(node).infer(node, [values["x"], values["w"]])
    values["y"] = Value("y", "f32", shape)
    graph = Graph("g", (node,), values, ("x",), ("y",))
    dynamic = {"x": (batch, None, None, None)} if batch else {}
    return octavo.Model(verify(graph.with_(dynamic=dynamic)))


def pictures(count: int, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, *size, 3), np.uint8)


def write_pictures(root: Path) -> Path:
    """Seven images in folders, of several kinds, and something else."""
    from PIL import Image

    endings = ["png", "bmp", "PNG", "png", "bmp", "png", "png"]
    for index, (pixels, ending) in enumerate(zip(pictures(7), endings, strict=True)):
        path = root / ("b" if index > 3 else "a") / f"{index}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (root / "a" / "labels.csv").write_text("not an image")
    return root


UNIT = Preprocessing(scale=1 / 255, layout="NHWC")

# SPDX-License-Identifier: Apache-2.0
"""What a layer's weights see: its input at each kernel element, as means and as sampled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Node
from octavo.ops.window import Window
from octavo.quantization.channels import groups_of

__all__ = ["sampled_rows", "tap_means"]

Array = NDArray[Any]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


def _grouped(found: Array, groups: int) -> Array:
    """[n, taps, C] to [groups, n, taps * C / groups], the order of a group's weights [.., I]."""
    n, taps, channels = found.shape
    split = found.reshape(n, taps, groups, channels // groups).transpose(2, 0, 1, 3)
    return np.asarray(split.reshape(groups, n, -1))


def tap_means(node: Node, x: Array, kernel: tuple[int, ...], zero: int = 0) -> F64:
    """Means over positions of a layer's input under each weight: [groups, n, K] for an input of n
    samples (its first axis). `zero` is what padding stores. A mean of outputs is these times the
    weights."""
    if node.op != "Conv":
        samples = len(x) if x.ndim > 1 else 1
        rows = x.reshape(samples, -1, x.shape[-1])
        return np.asarray(rows.mean(axis=1, dtype=np.float64))[None]
    window = Window.of(node, kernel)
    padded = window.pad(x, zero)
    height, width = (
        (padded.shape[1 + side] - window.extent(side)) // window.strides[side] + 1
        for side in (0, 1)
    )
    found = np.empty((len(x), kernel[0] * kernel[1], x.shape[3]))
    (sy, sx), (dy, dx) = window.strides, window.dilations
    for j in range(kernel[1]):
        columns = padded[:, :, j * dx : j * dx + (width - 1) * sx + 1 : sx]
        lines = columns.sum(axis=2, dtype=np.float32)
        for i in range(kernel[0]):
            rows = lines[:, i * dy : i * dy + (height - 1) * sy + 1 : sy]
            found[:, i * kernel[1] + j] = rows.sum(axis=1, dtype=np.float64)
    return np.asarray(_grouped(found / (height * width), groups_of(node)))


def sampled_rows(
    node: Node, chunks: list[Array], kernel: tuple[int, ...], limit: int, zero: int, seed: int
) -> Array:
    """Up to `limit` rows of what the weights are multiplied by, [groups, rows, K], drawn evenly
    from all `chunks` of a layer's input; stored numbers stay stored."""
    share = max(1, limit // len(chunks))
    rng = np.random.default_rng(seed)
    found = []
    for x in chunks:
        if node.op != "Conv":
            rows = x.reshape(-1, x.shape[-1])
            found.append(rows[_drawn(rng, len(rows), share)][None])
            continue
        window = Window.of(node, kernel)
        padded = window.pad(x, zero)
        taps = [tap for _, _, tap in window.taps(padded)]
        n, height, width, _ = taps[0].shape
        chosen = np.unravel_index(_drawn(rng, n * height * width, share), (n, height, width))
        found.append(_grouped(np.stack([tap[chosen] for tap in taps], axis=1), groups_of(node)))
    return np.concatenate(found, axis=1)


def _drawn(rng: np.random.Generator, count: int, share: int) -> NDArray[np.int64]:
    """`share` of `count` places, in order; all where there are no more."""
    if count <= share:
        return np.arange(count)
    return np.sort(rng.choice(count, share, replace=False))

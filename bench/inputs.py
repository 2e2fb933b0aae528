# SPDX-License-Identifier: Apache-2.0
"""Seeded inputs that look like data: 1/f noise for images and spectrograms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def natural_input(shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float32]:
    """Noise with the 1/f spectrum of natural images, float32 of `shape` (batch first).

    Channels share most of their content, samples differ in contrast and brightness, and values
    stay within the [-2.2, 2.7] of ImageNet-normalised photos. White noise would not do: it
    averages out in a few layers, so that every sample gives the same answer.
    """
    rng = np.random.default_rng(seed)
    spatial = shape[2:] if len(shape) > 2 else shape[1:]
    axes = tuple(range(len(shape) - len(spatial), len(shape)))
    grids = np.meshgrid(*(np.fft.fftfreq(n) * n for n in spatial), indexing="ij")
    radius = np.sqrt(np.sum([np.square(g) for g in grids], axis=0))
    # Radius 0 is the mean of a sample, which is drawn separately below as its brightness.
    amplitude = np.where(radius > 0, 1.0 / np.maximum(radius, 1.0), 0.0)
    white = rng.normal(size=shape)
    if len(shape) > 2:
        white = 0.5 * white + rng.normal(size=(shape[0], 1, *spatial))
    pink = np.fft.ifftn(np.fft.fftn(white, axes=axes) * amplitude, axes=axes).real
    pink /= np.maximum(pink.std(axis=axes, keepdims=True), 1e-6)
    per_sample = (shape[0], *(1,) * (len(shape) - 1))
    contrast = rng.uniform(0.6, 1.2, per_sample)
    brightness = rng.normal(0.0, 0.4, per_sample)
    return np.clip(contrast * pink + brightness, -2.2, 2.7).astype(np.float32)


def random_feed(
    shape: tuple[int, ...], dtype: np.dtype[np.generic], seed: int
) -> npt.NDArray[np.generic]:
    """`natural_input` for a graph input: floating, 8-bit integers over their whole range, or wider
    ones (token ids) from 0 to 99.

    Raises:
        TypeError: `dtype` is another one.
    """
    values = natural_input(shape, seed) if len(shape) > 1 else natural_input((1, *shape), seed)[0]
    if np.issubdtype(dtype, np.floating):
        return np.asarray(values, dtype)
    if dtype in (np.int32, np.int64):
        return np.random.default_rng(seed).integers(0, 100, shape, dtype)
    if dtype not in (np.uint8, np.int8):
        raise TypeError(f"no random input for dtype {dtype}")
    low, high = (-128, 127) if dtype == np.int8 else (0, 255)
    levels = np.rint((values + 2.2) / 4.9 * (high - low)) + low
    return np.asarray(np.clip(levels, low, high), dtype)

# SPDX-License-Identifier: Apache-2.0
"""Self-test cases of the float32 families: gemm_f32, dwconv_f32, pool_f32, softmax_f32, and of
what lies between them and 8 bits: dynamic_s8, gemm_s16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import _core, fma
from octavo.selftest_cases import Case, Rng, canary

__all__ = ["FLOAT_CASES"]

Array = NDArray[Any]
_SLACK = 15  # float32 past the end of an image that a kernel may read


def _reals(rng: Rng, *shape: int) -> Array:
    """float32 of many magnitudes; one in 16 is zero of either sign, infinite, NaN or subnormal."""
    x = np.ldexp(rng.normal(0, 1, shape), rng.integers(-4, 5, shape)).astype(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40], np.float32)
    return np.where(rng.random(shape) < 1 / 16, rng.choice(special, shape), x)


def _run_gemm_f32(kernel: str, layer: tuple[Any, ...], a: Array, k: int, shape: Any) -> Array:
    c, rows = canary(*shape), np.arange(shape[0])
    _core.GemmF32(kernel, *layer).run(a, rows * k * 4, c, rows * shape[1])
    return c


def _gemm_f32(rng: Rng) -> Iterator[Case]:
    for m, n, segments, length in ((1, 1, 1, 1), (1, 150, 1, 5), (2, 70, 3, 4), (17, 37, 1, 9)):
        k, gap = segments * length, 4
        weights, bias = _reals(rng, n, segments, length), _reals(rng, n)
        a = _reals(rng, m, k)
        want = canary(m, 4 * n + gap)
        y = fma.dot(a[:, None], weights.reshape(n, k), bias, -2, 3)
        want[:, : 4 * n] = y.view(np.uint8)
        offsets = np.arange(segments, dtype=np.int32) * length * 4
        layer = (weights, bias, offsets, -2.0, 3.0)
        yield Case(partial(_run_gemm_f32, layer=layer, a=a, k=k, shape=want.shape), want)


def _run_dwconv_f32(kernel: str, layer: tuple[Any, ...], x: Array, shape: Any) -> Array:
    rows, width, channels = x.shape
    data = np.append(x.ravel(), np.zeros(_SLACK, np.float32))
    out = canary(*shape)
    _core.DwconvF32(kernel, *layer).run(
        data, np.arange(rows) * width * channels * 4, channels * 4, out, shape[1], shape[0]
    )
    return out


def _dwconv_f32(rng: Rng) -> Iterator[Case]:
    for kh, kw, stride, dilation in ((3, 3, 1, 1), (3, 3, 2, 1), (5, 2, 1, 2)):
        for channels, out_w in ((1, 1), (19, 9), (33, 4)):
            x = _reals(rng, kh, (out_w - 1) * stride + (kw - 1) * dilation + 1, channels)
            weights, bias = _reals(rng, channels, kh, kw), _reals(rng, channels)
            taps = np.arange(out_w)[:, None] * stride + np.arange(kw) * dilation
            window = x[:, taps].transpose(1, 3, 0, 2).reshape(out_w, channels, kh * kw)
            want = canary(out_w, 4 * channels + 8)
            y = fma.dot(window, weights.reshape(channels, kh * kw), bias, 0, 6)
            want[:, : 4 * channels] = y.view(np.uint8)
            layer = (weights, bias, stride, dilation, 0.0, 6.0)
            yield Case(partial(_run_dwconv_f32, layer=layer, x=x, shape=want.shape), want)


def _run_pool_f32(kernel: str, x: Array, divisor: float) -> Array:
    rows, cols, channels = x.shape
    data = np.append(x.ravel(), np.zeros(_SLACK, np.float32))
    y = canary(4 * channels + 4)
    pixel = 4 * channels
    _core.pool_f32_run(kernel, data, cols * pixel, pixel, rows, cols, channels, y, divisor, -2, 3)
    return y


def _pool_f32(rng: Rng, *, average: bool) -> Iterator[Case]:
    for rows, cols, channels in ((1, 1, 1), (3, 2, 19), (2, 3, 70), (5, 5, 33)):
        x = _reals(rng, rows, cols, channels)
        pixels = x.reshape(-1, channels)
        best = pixels[0]
        with np.errstate(all="ignore"):
            for pixel in pixels[1:]:
                greater = (pixel > best) | np.isnan(pixel)
                best = best + pixel if average else np.where(greater, pixel, best)
            y = fma.clamp(best / np.float32(7) if average else best, -2, 3)
        want = canary(4 * channels + 4)
        want[: 4 * channels] = y.view(np.uint8)
        yield Case(partial(_run_pool_f32, x=x, divisor=7.0), want)


def _run_softmax_f32(kernel: str, x: Array) -> Array:
    y = canary(4 * x.size + 4)
    _core.softmax_f32_run(kernel, x, y, x.size)
    return y


def _softmax_f32(rng: Rng) -> Iterator[Case]:
    for count in (1, 7, 16, 35):
        for x in (rng.normal(0, 30, count).astype(np.float32), _reals(rng, count)):
            want = canary(4 * count + 4)
            want[: 4 * count] = fma.softmax(x).view(np.uint8)
            yield Case(partial(_run_softmax_f32, x=x), want)


def _run_range(kernel: str, x: Array) -> Array:
    return np.array(_core.dynamic_s8_range(kernel, x, x.size), np.float32)


def _run_scale_sums(kernel: str, sums: Array, options: dict[str, Any]) -> Array:
    rows, n = sums.shape
    out = canary(4 * (sums.size + 1)).view(np.float32)
    _core.dynamic_s8_scale_sums(
        kernel, sums, out, rows, n, sums_stride=n, out_stride=n, lo=-2, hi=3, **options
    )
    return out.view(np.uint8)


def _dynamic_s8(rng: Rng) -> Iterator[Case]:
    for count in (1, 7, 33, 130):
        x = _reals(rng, count)
        real = x[~np.isnan(x)]
        want = np.array([real.min(initial=0), real.max(initial=0)], np.float32)
        yield Case(partial(_run_range, x=x), want)
    for rows, n in ((1, 1), (2, 7), (3, 64), (1, 37)):
        sums = rng.integers(-(2**31), 2**31, (rows, n)).astype(np.int32)
        shift = rng.integers(-1000, 1000, n).astype(np.int32)
        scale = rng.uniform(1e-9, 1e-8, n).astype(np.float32)
        bias = _reals(rng, n)
        bias = np.where(np.isfinite(bias), bias, np.float32(0))
        options = {"zero_point": 77, "x_scale": 0.5, "weight_sums": shift}
        options |= {"weight_scales": scale, "bias": bias}
        acc = (sums.astype(np.int64) - 77 * shift.astype(np.int64)).astype(np.int32)
        y = np.clip(acc.astype(np.float32) * (np.float32(0.5) * scale) + bias, -2, 3)
        want = canary(4 * (sums.size + 1))
        want[:-4] = y.astype(np.float32).ravel().view(np.uint8)
        yield Case(partial(_run_scale_sums, sums=sums, options=options), want)


def _run_gemm_s16(kernel: str, a: Array, weights: Array, nr: dict[str, int]) -> Array:
    n, count = len(weights), weights.shape[1] // 2
    packed = np.zeros((count, nr[kernel], 2), np.int16)
    packed[:, :n] = weights.reshape(n, count, 2).transpose(1, 0, 2)
    offsets = np.arange(count, dtype=np.int32) * 2
    rows = np.arange(len(a)) * a.shape[1]
    sums = _core.gemm_s16_run(kernel, a.ravel(), rows, offsets, packed, 128)
    return np.asarray(sums)[:, :n]


def _gemm_s16(rng: Rng) -> Iterator[Case]:
    nr = {name: width for name, _, width, _ in _core.gemm_s16_rows()}
    for m, n, k in ((1, 1, 2), (5, 8, 34), (4, 7, 700)):
        a = rng.integers(-(2**15), 2**15, (m, k)).astype(np.int16)
        weights = rng.integers(-255, 256, (n, k)).astype(np.int16)
        a[0], weights[0] = -32768, -255  # 128 pairs are all that int32 holds
        want = a.astype(np.int64) @ weights.T.astype(np.int64)
        yield Case(partial(_run_gemm_s16, a=a, weights=weights, nr=nr), want)


#: Op of a kernel row -> its cases.
FLOAT_CASES: dict[str, Callable[[Rng], Iterator[Case]]] = {
    "gemm_f32": _gemm_f32,
    "dwconv_f32": _dwconv_f32,
    "max_f32": partial(_pool_f32, average=False),
    "average_f32": partial(_pool_f32, average=True),
    "softmax_f32": _softmax_f32,
    "dynamic_s8": _dynamic_s8,
    "gemm_s16": _gemm_s16,
}

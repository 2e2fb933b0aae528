# SPDX-License-Identifier: Apache-2.0
"""Self-test cases of the families that multiply: gemm_s8, dwconv_s8, matmul_s8, winograd_s8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import _core, quant
from octavo.selftest_cases import Case, Rng, canary, random_bytes

__all__ = ["LAYER_CASES"]

Array = NDArray[Any]
Shape = tuple[int, ...]


def _spread(rng: Rng, n: int, k: int) -> Array:
    """Multipliers that bring sums of k products of about 128 · 40 into 8 bits."""
    return np.asarray(rng.uniform(0.5, 2.0, n) * 60 / (128 * 40 * np.sqrt(k)), np.float32)


def _run_gemm(
    kernel: str, layer: tuple[Any, ...], a: Array, k: int, c_shape: tuple[int, int]
) -> Array:
    c, rows = canary(*c_shape), np.arange(c_shape[0])
    _core.GemmS8(kernel, *layer).run(a, rows * k, c, rows * c_shape[1])
    return c


def _gemm_case(rng: Rng, m: int, weights: Array, a: Array, qmin: int, qmax: int) -> Case:
    """weights [n, segments, length] int16; a: m rows of segments · length bytes, 7 of slack."""
    n, segments, length = weights.shape
    k, gap = segments * length, 3
    bias = rng.integers(-3000, 3000, n).astype(np.int32)
    multiplier = _spread(rng, n, k)
    za, zero_point = (int(z) for z in rng.integers(0, 256, 2))
    offsets = np.arange(segments, dtype=np.int32) * length
    layer = (weights, bias, multiplier, za, offsets, zero_point, qmin, qmax)
    x = a[: m * k].reshape(m, k).astype(np.int64) - za
    acc = x @ weights.reshape(n, k).astype(np.int64).T + bias
    want = canary(m, n + gap)
    want[:, :n] = quant.requantize(acc, multiplier, zero_point, qmin, qmax)
    return Case(partial(_run_gemm, layer=layer, a=a, k=k, c_shape=want.shape), want)


def _gemm(rng: Rng) -> Iterator[Case]:
    for m, n, segments, length in ((1, 1, 1, 1), (5, 19, 3, 7), (15, 65, 1, 40), (29, 33, 2, 12)):
        weights = rng.integers(-128, 128, (n, segments, length), np.int16)
        yield _gemm_case(rng, m, weights, random_bytes(rng, m * segments * length + 7), 0, 255)
    # (255, 255) · (127, 127) would saturate in vpmaddubsw; 9 bits come from u8 weights.
    for pair in ((127, 127), (-128, -128), (65, 64), (255, -255)):
        weights = np.resize(np.asarray(pair, np.int16), (35, 1, 26))
        a = np.full(6 * 26 + 7, 255, np.uint8)
        a[26:52] = 0  # -128 where activations are signed
        a[3 * 26 :] = random_bytes(rng, 3 * 26 + 7)
        yield _gemm_case(rng, 6, weights, a, 3, 250)


def _takes(kernel: str, kh: int, kw: int, stride: int, dilation: int, low: int, high: int) -> bool:
    for (
        name,
        _,
        kernel_h,
        kernel_w,
        kernel_stride,
        dilated,
        weight_min,
        weight_max,
        _,
    ) in _core.dwconv_s8_rows():
        if name == kernel:
            return bool(
                kernel_h in (0, kh)
                and kernel_w in (0, kw)
                and kernel_stride in (0, stride)
                and (dilation == 1 or dilated)
                and weight_min <= low
                and high <= weight_max
            )
    return False


def _run_dwconv(kernel: str, layer: dict[str, Any], x: Array, out_w: int, gap: int) -> Array:
    rows, width, channels = x.shape
    data = np.append(x.ravel(), np.zeros(64, np.uint8))  # what a kernel may read past the end
    out = canary(out_w, channels + gap)
    _core.DwconvS8(kernel, **layer).run(
        data, np.arange(rows) * width * channels, channels, out, 0, channels + gap, out_w
    )
    return out


#: (kh, kw, stride, dilation): each kernel takes some.
_DWCONV = ((3, 3, 1, 1), (3, 3, 2, 1), (5, 5, 1, 1), (5, 5, 2, 1), (5, 2, 1, 1), (3, 3, 1, 2))


def _dwconv_case(
    rng: Rng, weights: Array, out_w: int, stride: int, dilation: int, limits: tuple[int, int]
) -> Case:
    """weights [kh, kw, channels] int16, all in s8 or all beyond; limits: qmin, qmax."""
    kh, kw, channels = weights.shape
    x = random_bytes(rng, kh, (out_w - 1) * stride + (kw - 1) * dilation + 1, channels)
    x[:, : kw * dilation] = 255
    za, zero_point = (int(z) for z in rng.integers(0, 256, 2))
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    multiplier = _spread(rng, channels, kh * kw)
    taps = np.arange(out_w)[:, None] * stride + np.arange(kw) * dilation
    window = x[:, taps].astype(np.int64) - za
    acc = np.einsum("hxwc,hwc->xc", window, weights.astype(np.int64)) + bias
    want = canary(out_w, channels + 2)
    want[:, :channels] = quant.requantize(acc, multiplier, zero_point, *limits)
    layer = {
        "weights": weights, "bias": bias, "multiplier": multiplier, "in_zero_point": za,
        "out_zero_point": zero_point, "qmin": limits[0], "qmax": limits[1],
        "stride": stride, "dilation": dilation,
    }  # fmt: skip
    low, high = int(weights.min()), int(weights.max())
    fits = partial(_takes, kh=kh, kw=kw, stride=stride, dilation=dilation, low=low, high=high)
    return Case(partial(_run_dwconv, layer=layer, x=x, out_w=out_w, gap=2), want, fits)


def _dwconv(rng: Rng) -> Iterator[Case]:
    for kh, kw, stride, dilation in _DWCONV:
        for channels, out_w in ((1, 1), (19, 9), (65, 4), (130, 3)):
            for largest, limits in ((128, (2, 253)), (127, (0, 255)), (40, (0, 255))):
                weights = rng.integers(-largest, largest, (kh, kw, channels), np.int16)
                yield _dwconv_case(rng, weights, out_w, stride, dilation, limits)
        for extreme in (127, -128, 255, -255):
            weights = np.full((kh, kw, 35), extreme, np.int16)
            yield _dwconv_case(rng, weights, 5, stride, dilation, (2, 253))


def _run_matmul(kernel: str, a: Array, b: Array, sizes: tuple[int, int, int], **how: Any) -> Array:
    m, k, n = sizes
    c = canary(m, n + 2)
    _core.matmul_s8_run(kernel, a, b, c, m, k, n, a_stride=k, c_stride=n + 2, **how)
    return c


def _matmul(rng: Rng) -> Iterator[Case]:
    for m, k, n in ((1, 1, 1), (5, 33, 18), (9, 32, 65), (4, 128, 33)):
        for transposed in (False, True):
            a, b = random_bytes(rng, m * k + 15), random_bytes(rng, k, n)
            a[:k], b[:, 0] = 255, 255
            za, zb, zero_point = (int(z) for z in rng.integers(0, 256, 3))
            acc = (a[: m * k].reshape(m, k).astype(np.int64) - za) @ (b.astype(np.int64) - zb)
            scale = 60 / (74 * 74 * np.sqrt(k))
            want = canary(m, n + 2)
            want[:, :n] = quant.requantize(acc, scale, zero_point, 0, 255)
            stored = np.ascontiguousarray(b.T) if transposed else b
            how = {
                "b_stride": stored.shape[1], "b_transposed": transposed, "a_zero_point": za,
                "b_zero_point": zb, "scale": scale, "zero_point": zero_point,
            }  # fmt: skip
            yield Case(partial(_run_matmul, a=a, b=stored, sizes=(m, k, n), **how), want)


def _run_winograd(kernel: str, layer: tuple[Any, ...], x: Array, out_shape: Shape) -> Array:
    _, width, channels = x.shape
    data = np.append(x.ravel(), np.zeros(64, np.uint8))
    h, w, pixel = out_shape
    out = canary(h, w, pixel)
    _core.WinogradS8(kernel, *layer).run(
        data, 0, width * channels, channels, out, 0, w * pixel, pixel, h, w
    )
    return out


def _winograd_case(rng: Rng, x: Array, weights: Array) -> Case:
    """x [h + 2, w + 2, channels] u8, weights [n, 3, 3, channels] int16."""
    n, channels, gap = weights.shape[0], weights.shape[3], 2
    h, w = x.shape[0] - 2, x.shape[1] - 2
    za, zero_point = (int(z) for z in rng.integers(0, 256, 2))
    acc = np.zeros((h, w, n), np.int64) + rng.integers(-3000, 3000, n)
    bias, multiplier = acc[0, 0].astype(np.int32), _spread(rng, n, 9 * channels)
    for i, j in np.ndindex(3, 3):
        acc += (x[i : i + h, j : j + w].astype(np.int64) - za) @ weights[:, i, j].T.astype(np.int64)
    want = canary(h, w, n + gap)
    want[..., :n] = quant.requantize(acc, multiplier, zero_point, 2, 253)
    layer = (weights, bias, multiplier, za, zero_point, 2, 253, 7)
    return Case(partial(_run_winograd, layer=layer, x=x, out_shape=want.shape), want)


def _winograd(rng: Rng) -> Iterator[Case]:
    for h, w, channels, n in ((1, 1, 1, 1), (4, 4, 16, 16), (9, 14, 19, 35), (6, 7, 65, 5)):
        weights = rng.integers(-128, 128, (n, 3, 3, channels)).astype(np.int16)
        yield _winograd_case(rng, random_bytes(rng, h + 2, w + 2, channels), weights)
    # Sums of products far beyond int32, which the output transform must take back.
    for extreme in (127, -128):
        x = np.asarray(rng.choice([0, 255], (10, 10, 96)), np.uint8)
        yield _winograd_case(rng, x, np.full((20, 3, 3, 96), extreme, np.int16))


#: Op of a kernel row -> its cases.
LAYER_CASES: dict[str, Callable[[Rng], Iterator[Case]]] = {
    "gemm": _gemm,
    "dwconv": _dwconv,
    "matmul": _matmul,
    "winograd": _winograd,
}

# SPDX-License-Identifier: Apache-2.0
"""Cases of the self-test: what to run on a kernel, and the bytes that the norm gives for it.

Families with weights are in `selftest_layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import _core, quant

__all__ = ["CASES", "Case", "Rng", "canary", "guarded", "random_bytes"]

Array = NDArray[Any]
Rng = np.random.Generator

_CANARY = 0xCD  # bytes behind and between output rows, which no kernel may write
_TAILS = (1, 15, 31, 33, 63, 65, 130)


def _any_kernel(_: str) -> bool:
    return True


@dataclass(frozen=True)
class Case:
    """`run(kernel)` returns every byte that the kernel was given to write, `want` what must be
    there; `fits(kernel)` is False for a kernel that does not take such a layer."""

    run: Callable[[str], Array]
    want: Array
    fits: Callable[[str], bool] = _any_kernel


def random_bytes(rng: Rng, *shape: int) -> Array:
    """u8 over the whole range."""
    return rng.integers(0, 256, shape, np.uint8)


def canary(*shape: int) -> Array:
    """What a kernel is given to write, so that a byte too many shows."""
    return np.full(shape, _CANARY, np.uint8)


def guarded(values: Array) -> Array:
    """Expected bytes, followed by one that must stay as it was."""
    return np.append(values.astype(np.uint8).ravel(), np.uint8(_CANARY))


def _run_pool(kernel: str, x: Array, options: dict[str, Any]) -> Array:
    rows, cols, channels = x.shape
    y = canary(channels + 1)
    _core.pool_s8_run(
        kernel, x, 0, cols * channels, channels, rows, cols, channels, y, 0, **options
    )
    return y


def _pool(rng: Rng, op: str) -> Iterator[Case]:
    for rows, cols, channels in ((1, 1, 1), (2, 2, 31), (3, 3, 65), (3, 2, 130), (49, 31, 33)):
        x, za = random_bytes(rng, rows, cols, channels), int(rng.integers(0, 256))
        options: dict[str, Any] = {"qmin": 5, "qmax": 249}
        if op == "max":
            want = np.clip(x.max(axis=(0, 1)), 5, 249)
        else:
            count = rows * cols
            options |= {"zero_sum": count * za, "multiplier": 1.5 / count, "zero_point": 101}
            acc = x.sum(axis=(0, 1), dtype=np.int64) - count * za
            want = quant.requantize(acc, 1.5 / count, 101, 5, 249)
        yield Case(partial(_run_pool, x=x, options=options), guarded(want))


def _run_resize(kernel: str, x: Array, table: Array, options: dict[str, Any]) -> Array:
    """`table` [3, columns]: first and second input column, weight of the second."""
    _, width, channels = x.shape
    left, right, weight = table
    y = canary(len(left) * channels + 1)
    _core.resize_s8_run(
        kernel, x[0], x[1], width, channels, 777, left, right, weight, y, channels, **options
    )
    return y


def _resize(rng: Rng) -> Iterator[Case]:
    for channels in (1, 15, 16, 33, 64, 70):
        x, za = random_bytes(rng, 2, 6, channels), int(rng.integers(0, 256))
        left = rng.integers(0, 6, 9).astype(np.int32)
        right = np.minimum(left + 1, 5)
        weight = rng.choice([0, 1, 512, 1024, 2047, 2048], 9).astype(np.int32)
        m = float(np.float32(1.1) / np.float32(2**22))
        options = {"in_zero_point": za, "multiplier": m, "zero_point": 50, "qmin": 5, "qmax": 249}
        a = x.astype(np.int64) - za
        down = a[0] * (2048 - 777) + a[1] * 777
        acc = down[left] * (2048 - weight[:, None]) + down[right] * weight[:, None]
        want = quant.requantize(acc, m, 50, 5, 249)
        table = np.stack([left, right, weight])
        yield Case(partial(_run_resize, x=x, table=table, options=options), guarded(want))


def _run_eltwise(kernel: str, a: Array, b: Array, options: dict[str, Any]) -> Array:
    c = canary(a.size + 1)
    _core.eltwise_s8_run(kernel, a, b, c, a.size, **options)
    return c


def _eltwise_case(
    op: str, a: Array, b: Array, ka: float, kb: float, limits: tuple[int, ...]
) -> Case:
    za, zb, zero_point, qmin, qmax = limits
    da, db = a.astype(np.int64) - za, b.astype(np.int64) - zb
    if op == "add":
        want = quant.add(da, db, ka, kb, zero_point, qmin, qmax)
    else:
        want = quant.requantize(da * db, ka, zero_point, qmin, qmax)
    options = {
        "a_zero_point": za, "b_zero_point": zb, "ka": ka, "kb": kb,
        "zero_point": zero_point, "qmin": qmin, "qmax": qmax,
    }  # fmt: skip
    return Case(partial(_run_eltwise, a=a, b=b, options=options), guarded(want))


def _eltwise(rng: Rng, op: str) -> Iterator[Case]:
    a, b = (grid.ravel().astype(np.uint8) for grid in np.mgrid[0:256, 0:256])
    unit = 1.0 if op == "add" else 2.0**-7
    yield _eltwise_case(op, a, b, 0.731 * unit, 0.412, (128, 120, 127, 0, 255))
    yield _eltwise_case(op, a, b, 0.5 * unit, 0.5, (0, 255, 128, 20, 240))  # exact ties
    for n in _TAILS:
        yield _eltwise_case(
            op, random_bytes(rng, n), random_bytes(rng, n), 0.9 * unit, 1.3, (3, 250, 40, 40, 255)
        )


def _run_lut(kernel: str, x: Array, table: Array) -> Array:
    y = canary(x.size + 1)
    _core.lut_s8_run(kernel, x, y, x.size, table)
    return y


def _lut(rng: Rng) -> Iterator[Case]:
    for n in (256, *_TAILS):
        table, x = random_bytes(rng, 256), np.resize(rng.permutation(256).astype(np.uint8), n)
        yield Case(partial(_run_lut, x=x, table=table), guarded(table[x]))


def _run_softmax(kernel: str, x: Array, table: Array, zero_point: int) -> Array:
    y = canary(x.size + 1)
    _core.softmax_s8_run(kernel, x, y, x.size, table, out_scale=1 / 256, zero_point=zero_point)
    return y


def _softmax(rng: Rng) -> Iterator[Case]:
    for n, in_scale in ((1, 0.1), (12, 0.08), (97, 0.02), (1001, 0.05), (1001, 1e-4)):
        x, zero_point = random_bytes(rng, n), int(rng.integers(0, 100))
        want = quant.softmax(x, in_scale, 1 / 256, zero_point, 0, 255)
        table = quant.softmax_table(in_scale)
        yield Case(partial(_run_softmax, x=x, table=table, zero_point=zero_point), guarded(want))


def _run_layer_norm(
    kernel: str, x: Array, gain: Array, shift: Array, zeros: tuple[int, ...]
) -> Array:
    y = canary(x.size + 1)
    za, zero_point = zeros
    _core.layer_norm_s8_run(
        kernel, x, y, x.size, gain, shift, epsilon=0.01, in_zero_point=za, zero_point=zero_point
    )
    return y


def _layer_norm(rng: Rng) -> Iterator[Case]:
    for n in (1, 31, 97, 384, 1001):
        x, zeros = random_bytes(rng, n), tuple(int(z) for z in rng.integers(0, 256, 2))
        gain, shift = (rng.normal(0, 40, n).astype(np.float32) for _ in range(2))
        centred = x.astype(np.int64) - zeros[0]
        want = quant.layer_norm(centred, 0.01, gain, shift, zeros[1], 0, 255).astype(np.uint8)
        run = partial(_run_layer_norm, x=x, gain=gain, shift=shift, zeros=zeros)
        yield Case(run, guarded(want))


def _reals(rng: Rng, n: int, scale: float) -> Array:
    """Ordinary values, exact ties, and what no 8-bit number holds, NaN and infinities included."""
    x = (rng.normal(0, 60, n) * scale).astype(np.float32)
    special = np.array([0.5, 1.5, -2.5, 1e9, -1e9, np.inf, -np.inf, np.nan], np.float32)
    x[: special.size] = special[:n] * np.float32(scale)
    return x


def _run_quantize(kernel: str, x: Array, options: dict[str, Any]) -> Array:
    q = canary(x.size + 1)
    _core.convert_quantize(kernel, x, q, x.size, **options)
    return q


def _quantize(rng: Rng) -> Iterator[Case]:
    for n in _TAILS:
        x, zero_point, flip = _reals(rng, n, 0.25), int(rng.integers(0, 256)), 0x80 * (n % 2)
        options = {"scale": 0.25, "zero_point": zero_point, "flip": flip}
        want = quant.quantize(x, 0.25, zero_point, "u8") ^ np.uint8(flip)
        yield Case(partial(_run_quantize, x=x, options=options), guarded(want))


def _run_quantize_chw(kernel: str, planes: Array, pixel_stride: int) -> Array:
    channels, width = planes.shape
    q = canary(width, pixel_stride)
    _core.convert_quantize_chw(
        kernel, planes, width, q, pixel_stride, width, channels, scale=0.031, zero_point=114
    )
    return q


def _quantize_chw(rng: Rng) -> Iterator[Case]:
    for channels, width in ((1, 7), (3, 65), (3, 224), (4, 33), (17, 31)):
        planes = _reals(rng, channels * width, 0.031).reshape(channels, width)
        want = canary(width, channels + 2)
        want[:, :channels] = quant.quantize(planes.T, 0.031, 114, "u8")
        yield Case(partial(_run_quantize_chw, planes=planes, pixel_stride=channels + 2), want)


def _run_dequantize(kernel: str, q: Array, options: dict[str, Any]) -> Array:
    x = np.zeros(q.size + 1, np.float32)
    _core.convert_dequantize(kernel, q, x, q.size, **options)
    return x.view(np.uint8)


def _dequantize(rng: Rng) -> Iterator[Case]:
    for n in (256, *_TAILS):
        q, zero_point, flip = random_bytes(rng, n), int(rng.integers(0, 256)), 0x80 * (n % 2)
        options = {"scale": 0.0371, "zero_point": zero_point, "flip": flip}
        real = quant.dequantize(q ^ np.uint8(flip), 0.0371, zero_point)
        want = np.append(real, np.float32(0)).view(np.uint8)
        yield Case(partial(_run_dequantize, q=q, options=options), want)


def _run_flip(kernel: str, q: Array) -> Array:
    flipped = canary(q.size + 1)
    _core.convert_flip(kernel, q, flipped, q.size)
    return flipped


def _flip(rng: Rng) -> Iterator[Case]:
    for n in _TAILS:
        q = random_bytes(rng, n)
        yield Case(partial(_run_flip, q=q), guarded(q ^ np.uint8(0x80)))


#: Op of a kernel row -> its cases.
CASES: dict[str, Callable[[Rng], Iterator[Case]]] = {
    "max": partial(_pool, op="max"),
    "average": partial(_pool, op="average"),
    "linear": _resize,
    "add": partial(_eltwise, op="add"),
    "mul": partial(_eltwise, op="mul"),
    "lut": _lut,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "quantize": _quantize,
    "quantize_chw": _quantize_chw,
    "dequantize": _dequantize,
    "flip": _flip,
}

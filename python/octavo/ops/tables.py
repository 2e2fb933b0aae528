# SPDX-License-Identifier: Apache-2.0
"""8-bit unary functions as 256-entry tables: on stored values and as the plan's constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import quant
from octavo.ir import Value
from octavo.ops.base import Array, Lowering, Tensor

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def identity(x: NDArray[Any]) -> NDArray[Any]:
    """The function of a change of parameters."""
    return x


def apply(function: Function, q: Array, x: Value, y: Value) -> Array:
    """quantize(f(dequantize(q))) by table, in `y`'s 8-bit type."""
    table = quant.unary_table(
        function, x.scale, x.zero_point, x.dtype, y.scale, y.zero_point, y.dtype
    )
    return np.asarray(table[q.astype(np.int64) - quant.QRANGE[x.dtype][0]])


def lower(function: Function, ctx: Lowering, x: str, y: str, target: Tensor) -> None:
    """Emits the table step from value `x` to `target`, which has `y`'s parameters.

    Both are u8 in the plan. A table that changes no byte is a plain copy.
    """
    table = quant.unary_table(function, *ctx.quant(x), "u8", *ctx.quant(y), "u8")
    if np.array_equal(table, np.arange(256)):
        ctx.emit("copy", [ctx.tensor(x)], [target])
    else:
        ctx.emit("lut_s8", [ctx.tensor(x)], [target], consts=[table])

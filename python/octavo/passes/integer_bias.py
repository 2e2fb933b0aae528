# SPDX-License-Identifier: Apache-2.0
"""The s32 bias of an integer layer.

before: b f32, or DequantizeLinear(b s32);  after: b s32 with scale s_x * s_w[c], zero point 0
"""

from __future__ import annotations

import numpy as np

from octavo import quant
from octavo.ir import Affine, Array, Value, constant
from octavo.ops import weights
from octavo.ops.attrs import Clamp
from octavo.passes.editor import Editor

_INT32_MAX = 2**31 - 1
#: Writers compute s_x * s_w in float32 or float64; this much relative difference is theirs.
_TOLERANCE = 1e-6


def integer_bias(
    e: Editor, name: str, x: Value, w: Value, y: Value, clamp: Clamp | None
) -> Value | str:
    """The bias constant of y = clamp(layer(x, w [O, ...])), or the reason why there is none.

    Integers whose scale is s_x * s_w already are kept; any other bias is rounded to that scale:
    rint(b / float64(float32(s_x * s_w))).
    """
    stored = e.stored_constant(name)
    if stored is None or stored.data is None:
        return f"bias '{name}' is computed at run time; make it constant"
    channels = w.shape[0]
    scale = np.broadcast_to(np.float32(x.scale) * w.affine.scale.reshape(-1), (channels,))
    if np.any(scale < np.finfo(np.float32).tiny) or not np.all(np.isfinite(scale)):
        return f"input scale times weight scale of '{w.name}' is not a normal float32 number"
    if _fits(stored, scale):
        integers = stored.data
    else:
        with np.errstate(invalid="ignore"):
            rounded = np.rint(_real(stored) / scale.astype(np.float64))
        if not np.all(np.abs(rounded) <= _INT32_MAX):
            return (
                f"bias '{name}' divided by input scale times weight scale exceeds int32; "
                "use larger scales or a smaller bias"
            )
        integers = rounded.astype(np.int32)
    if "s16" not in (x.dtype, y.dtype):  # whose sums have 64 bits
        integers = _within_int32(integers, x, w, y, clamp)
    affine = Affine(scale.copy(), np.zeros(channels, np.int32), 0)
    return constant(f"{name}/s32", integers, affine)


def _within_int32(bias: Array, x: Value, w: Value, y: Value, clamp: Clamp | None) -> Array:
    """Pulls in a bias near the ends of int32 where that provably changes no output.

    Quantizers give channels whose weights died a scale near 0, and so a bias of -2^31: no sum fits
    beside it, but every sum means the same output. Such a bias becomes the largest that fits.
    """
    low, high = quant.QRANGE[x.dtype]
    largest = max(high - x.zero_point, x.zero_point - low)
    centred = np.abs(weights.centre(w, np.asarray(w.data))).reshape(w.shape[0], -1)
    bound = (centred.sum(axis=1) * largest).astype(np.int64)
    wide, room = bias.astype(np.int64), _INT32_MAX - bound
    over = (np.abs(wide) > room) & (room > 0)
    if not over.any():
        return bias
    pulled = np.clip(wide, -np.abs(room), np.abs(room))
    m = quant.multiplier(x.scale, w.affine.scale.reshape(-1), y.scale)
    bounds = quant.clamp_bounds(clamp, y.scale, y.zero_point, y.dtype)
    # requantize is monotone: equal outputs at both ends are equal outputs in between
    ends = [acc + side for acc in (wide, pulled) for side in (-bound, bound)]
    first, *rest = (quant.requantize(acc, m, y.zero_point, *bounds) for acc in ends)
    same = np.all([np.equal(first, other) for other in rest], axis=0)
    return np.where(over & same, pulled, wide).astype(np.int32)


def _fits(stored: Value, scale: Array) -> bool:
    if stored.dtype != "s32" or not isinstance(stored.quant, Affine):
        return False
    found = stored.quant
    return not np.any(found.zero_point) and np.allclose(
        found.scale, scale, rtol=_TOLERANCE, atol=0.0
    )


def _real(stored: Value) -> Array:
    """The bias as float64 numbers."""
    data = np.asarray(stored.data, np.float64)
    if not isinstance(stored.quant, Affine):
        return data
    return (data - stored.quant.zero_point) * stored.quant.scale.astype(np.float64)

# SPDX-License-Identifier: Apache-2.0
"""The s32 bias of an integer layer.

before: b f32, or DequantizeLinear(b s32);  after: b s32 with scale s_x * s_w[c], zero point 0
"""

from __future__ import annotations

import numpy as np

from octavo.ir import Affine, Array, Value, constant
from octavo.passes.editor import Editor

_INT32_MAX = 2**31 - 1
#: Writers compute s_x * s_w in float32 or float64; this much relative difference is theirs.
_TOLERANCE = 1e-6


def integer_bias(e: Editor, name: str, x: Value, w: Value) -> Value | str:
    """The bias constant for input `x` and weights `w` [O, ...], or the reason why there is none.

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
    affine = Affine(scale.copy(), np.zeros(channels, np.int32), 0)
    return constant(f"{name}/s32", integers, affine)


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

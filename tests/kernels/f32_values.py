# SPDX-License-Identifier: Apache-2.0
"""Float32 operands of the kernel tests, special values among them, and their bits."""

import numpy as np

F32 = np.float32
INF = F32(np.inf)
TINY = np.finfo(F32).smallest_subnormal
SPECIAL = np.array(
    [0.0, -0.0, INF, -INF, np.nan, TINY, -TINY, 1e-39, -1e-42, 3.4028235e38, -3.4028235e38, 1e-20,
     2.0**-126, 2.0**-75, -(2.0**-75), 1.0, -1.0, 1 + 2.0**-23, 2.0**24 + 2, 2.0**-24],
    F32,
)  # fmt: skip


def bits(x):
    return np.ascontiguousarray(x, F32).view(np.uint32)


def values(rng, *shape, special=0.0):
    """Normal values of many magnitudes; a share of them from SPECIAL, or NaN of any payload."""
    x = np.ldexp(rng.normal(0, 1, shape), rng.integers(-4, 5, shape)).astype(F32)
    odd = rng.random(shape) < special
    x[odd] = rng.choice(SPECIAL, odd.sum())
    nan = odd & (rng.random(shape) < 0.02)
    x.view(np.uint32)[nan] = 0x7F800001 | rng.integers(0, 2**32, nan.sum(), np.uint32)
    return x

# SPDX-License-Identifier: Apache-2.0
"""Every add and mul kernel against the norm in NumPy float32: all 65,536 operand pairs, exactly."""

import numpy as np
import pytest

from octavo import _core

F32 = np.float32
ROWS = _core.eltwise_s8_rows()
OP = {name: op for name, _, op, _ in ROWS}
every_row = pytest.mark.parametrize("kernel", ROWS, indirect=True, ids=lambda row: row[0])

# za, zb, ka, kb, zero point, qmin, qmax
PARAMETERS = {
    "plain": (128, 120, 0.731, 0.412, 127, 0, 255),
    "ties_half": (0, 0, 0.5, 0.5, 0, 0, 255),
    "ties_quarter_signed": (128, 129, 0.25, 0.25, 128, 0, 255),
    "ties_mul": (127, 128, 2.0**-7, 2.0**-7, 100, 0, 255),
    "relu6": (0, 3, 0.9, 1.3, 0, 0, 201),
    "relu_at_zero_point": (131, 90, 0.03, 0.8, 57, 57, 255),
    "narrow_clamp": (10, 250, 0.37, 0.11, 128, 120, 140),
    "zero_points_255": (255, 255, 0.6, 0.7, 255, 0, 255),
    "constant_output": (5, 6, 0.5, 0.5, 9, 9, 9),
    "beyond_int32": (128, 3, 1e30, 7e29, 128, 0, 255),
    "beyond_float32": (128, 128, 3e38, 3e38, 77, 3, 250),
    "subnormal": (0, 255, 1e-40, 1e-42, 1, 0, 255),
}


def norm(op, a, b, za, zb, ka, kb, zero_point, qmin, qmax):
    """docs/numerics.md in the stated order; NaN (inf - inf) clamps to qmax."""
    da, db = a.astype(np.int32) - za, b.astype(np.int32) - zb
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if op == "add":
            v = da.astype(F32) * F32(ka) + db.astype(F32) * F32(kb)
        else:
            v = (da * db).astype(F32) * F32(ka)
    assert v.dtype == F32
    hi = F32(qmax - zero_point)
    v = np.where(np.isnan(v), hi, np.clip(np.rint(v), F32(qmin - zero_point), hi))
    return (v.astype(np.int32) + zero_point).astype(np.uint8)


def run(kernel, a, b, c, n, parameters, **offsets):
    za, zb, ka, kb, zero_point, qmin, qmax = parameters
    _core.eltwise_s8_run(
        kernel, a, b, c, n, a_zero_point=za, b_zero_point=zb, ka=ka, kb=kb,
        zero_point=zero_point, qmin=qmin, qmax=qmax, **offsets,
    )  # fmt: skip


@every_row
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_all_pairs(kernel, parameters):
    a = np.repeat(np.arange(256, dtype=np.uint8), 256)
    b = np.tile(np.arange(256, dtype=np.uint8), 256)
    c = np.empty_like(a)
    run(kernel, a, b, c, a.size, parameters)
    np.testing.assert_array_equal(c, norm(OP[kernel], a, b, *parameters))


@every_row
def test_random_scales(kernel, rng):
    a = np.repeat(np.arange(256, dtype=np.uint8), 256)
    b = np.tile(np.arange(256, dtype=np.uint8), 256)
    c = np.empty_like(a)
    for _ in range(20):
        za, zb, zero_point = (int(z) for z in rng.integers(0, 256, 3))
        qmin, qmax = sorted(int(q) for q in rng.integers(0, 256, 2))
        ka, kb = (float(k) for k in np.exp2(rng.uniform(-10, 3, 2)).astype(F32))
        parameters = (za, zb, ka, kb, zero_point, qmin, qmax)
        run(kernel, a, b, c, a.size, parameters)
        np.testing.assert_array_equal(c, norm(OP[kernel], a, b, *parameters), str(parameters))


@every_row
def test_sizes_on_guard_pages(kernel, rng, guarded):
    parameters = PARAMETERS["plain"]
    for n in range(131):
        a = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        b = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        c = guarded(count=n)
        a_before, b_before = a.copy(), b.copy()
        run(kernel, a, b, c, n, parameters)
        np.testing.assert_array_equal(c, norm(OP[kernel], a, b, *parameters))
        np.testing.assert_array_equal(a, a_before)
        np.testing.assert_array_equal(b, b_before)


@every_row
def test_unaligned_and_untouched_surroundings(kernel, rng):
    parameters = PARAMETERS["narrow_clamp"]
    a, b = rng.integers(0, 256, (2, 256), dtype=np.uint8)
    for a_offset, b_offset, c_offset, n in [(1, 2, 3, 129), (7, 0, 31, 64), (63, 33, 1, 95)]:
        c = np.full(256, 0xCD, np.uint8)
        run(kernel, a, b, c, n, parameters,
            a_offset=a_offset, b_offset=b_offset, c_offset=c_offset)  # fmt: skip
        want = np.full(256, 0xCD, np.uint8)
        want[c_offset : c_offset + n] = norm(
            OP[kernel], a[a_offset : a_offset + n], b[b_offset : b_offset + n], *parameters
        )
        np.testing.assert_array_equal(c, want)


@every_row
@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 100, 129])
def test_in_place(kernel, rng, n):
    parameters = PARAMETERS["plain"]
    a, b = rng.integers(0, 256, (2, n), dtype=np.uint8)
    want = norm(OP[kernel], a, b, *parameters)
    over_a, over_b, both = a.copy(), b.copy(), a.copy()
    run(kernel, over_a, b, over_a, n, parameters)
    run(kernel, a, over_b, over_b, n, parameters)
    run(kernel, both, both, both, n, parameters)
    np.testing.assert_array_equal(over_a, want)
    np.testing.assert_array_equal(over_b, want)
    np.testing.assert_array_equal(both, norm(OP[kernel], a, a, *parameters))

# SPDX-License-Identifier: Apache-2.0
"""Every table lookup kernel against NumPy indexing."""

import numpy as np
import pytest

from octavo import _core

every_row = pytest.mark.parametrize(
    "kernel", _core.lut_s8_rows(), indirect=True, ids=lambda row: row[0]
)


@every_row
def test_all_inputs_many_tables(kernel, rng):
    values = np.arange(256, dtype=np.uint8)
    tables = [values, values[::-1].copy(), np.zeros(256, np.uint8), np.full(256, 255, np.uint8)]
    tables += [np.where(values == v, 0xA5, 0).astype(np.uint8) for v in range(256)]
    tables += list(rng.integers(0, 256, (50, 256), dtype=np.uint8))
    shuffled = rng.permutation(np.repeat(values, 4))
    out = np.empty_like(shuffled)
    for table in tables:
        _core.lut_s8_run(kernel, shuffled, out, out.size, table)
        np.testing.assert_array_equal(out, table[shuffled])


@every_row
def test_sizes_on_guard_pages(kernel, rng, guarded):
    table = guarded(rng.integers(0, 256, 256, dtype=np.uint8))
    for n in range(131):
        values = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        before = values.copy()
        out = guarded(count=n)
        _core.lut_s8_run(kernel, values, out, n, table)
        np.testing.assert_array_equal(out, table[before])
        np.testing.assert_array_equal(values, before)
        _core.lut_s8_run(kernel, values, values, n, table)
        np.testing.assert_array_equal(values, table[before])


@every_row
def test_unaligned_and_untouched_surroundings(kernel, rng):
    table, values = rng.integers(0, 256, (2, 256), dtype=np.uint8)
    for in_offset, out_offset, n in [(1, 3, 129), (7, 31, 64), (63, 1, 95)]:
        out = np.full(256, 0xCD, np.uint8)
        _core.lut_s8_run(kernel, values, out, n, table, in_offset=in_offset, out_offset=out_offset)
        want = np.full(256, 0xCD, np.uint8)
        want[out_offset : out_offset + n] = table[values[in_offset : in_offset + n]]
        np.testing.assert_array_equal(out, want)

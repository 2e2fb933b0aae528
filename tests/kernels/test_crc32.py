# SPDX-License-Identifier: Apache-2.0
"""Every CRC-32 kernel against zlib."""

import zlib

import numpy as np
import pytest

from octavo import _core
from octavo.errors import IsaError

every_row = pytest.mark.parametrize(
    "kernel", _core.crc32_rows(), indirect=True, ids=lambda row: row[0]
)


@every_row
def test_sizes_on_guard_pages(kernel, rng, guarded):
    for n in [*range(330), 1023, 1024, 4096, 65537]:
        data = guarded(rng.integers(0, 256, n, dtype=np.uint8))
        for crc in (0, 1, 0x80000000, 0xFFFFFFFF, int(rng.integers(0, 1 << 32))):
            assert _core.crc32(data, crc, kernel) == zlib.crc32(data, crc), (n, crc)


@every_row
def test_unaligned(kernel, rng):
    data = rng.integers(0, 256, 2000, dtype=np.uint8)
    for start in range(65):
        assert _core.crc32(data[start:], 0, kernel) == zlib.crc32(data[start:])


@every_row
@pytest.mark.parametrize("value", [0, 0xFF])
def test_constant_bytes(kernel, value):
    for n in range(0, 1000, 7):
        data = np.full(n, value, np.uint8)
        assert _core.crc32(data, 0, kernel) == zlib.crc32(data)


@every_row
def test_one_bit_changes_it(kernel, rng):
    data = rng.integers(0, 256, 300, dtype=np.uint8)
    before = _core.crc32(data, 0, kernel)
    for bit in range(0, 2400, 13):
        changed = data.copy()
        changed[bit // 8] ^= np.uint8(1 << bit % 8)
        assert _core.crc32(changed, 0, kernel) != before


def test_an_unknown_kernel_is_refused():
    with pytest.raises(IsaError, match="bogus"):
        _core.crc32(b"", 0, "bogus")

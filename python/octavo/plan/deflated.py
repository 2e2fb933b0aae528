# SPDX-License-Identifier: Apache-2.0
"""`.octavo` files for shipping: a container whose only section is another container, deflated.

Weights take a tenth less. Nothing can be mapped, and C++, which never inflates, refuses the file by
the section's name; Python unfolds it in memory.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from octavo.errors import FormatError
from octavo.plan.container import Section, pack_container

__all__ = ["deflate", "read_deflated"]

_NAME = "deflated"
_START = 128  # of the payload: header and one entry
_SIZE_AT = 16  # of the file size in a container's header
_MOST = 1032  # deflate's largest ratio


def deflate(data: bytes) -> bytes:
    """The shipping form of a container's bytes."""
    return pack_container([Section(_NAME, zlib.compress(data, 9), required=True)])


def _inflate(payload: bytes) -> bytes:
    stream = zlib.decompressobj()
    head = stream.decompress(payload, _SIZE_AT + 8)
    (size,) = struct.unpack_from("<Q", head, _SIZE_AT)
    if not len(head) < size <= _MOST * len(payload):
        raise FormatError(f"section '{_NAME}': {len(payload)} bytes cannot unfold to {size}")
    data = head + stream.decompress(stream.unconsumed_tail, size - len(head) + 1)
    if len(data) != size or not stream.eof or stream.unused_data:
        raise FormatError(f"section '{_NAME}' does not unfold to the {size} bytes it announces")
    return data


def read_deflated(path: str | os.PathLike[str]) -> bytes | None:
    """The container inside a file of the shipping form, None for any other file.

    Raises FormatError where the file is damaged. No more is unfolded than the container announces.
    """
    with Path(path).open("rb") as stream:
        head = stream.read(_START)
        if head[64:96] != _NAME.encode().ljust(32, b"\0"):
            return None
        payload = stream.read()
    if pack_container([Section(_NAME, payload, required=True)]) != head + payload:
        raise FormatError(f"section '{_NAME}' or the header before it is damaged")
    try:
        return _inflate(payload)
    except (zlib.error, struct.error) as error:
        raise FormatError(f"section '{_NAME}' is damaged: {error}") from error

# SPDX-License-Identifier: Apache-2.0
"""The `.octavo` container (docs/format.md): sections in one file."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Section", "pack_container"]

MAGIC = b"OCTAVO\x1a\n"
VERSION = 1
_HEADER = struct.Struct("<8sIIQI36x")
_ENTRY = struct.Struct("<32sQQII8x")
_ALIGN = 64
REQUIRED = 1


@dataclass(frozen=True)
class Section:
    """A named payload; `required` makes a reader that does not know it refuse the file."""

    name: str
    payload: bytes
    required: bool = False


def pack_container(sections: Sequence[Section]) -> bytes:
    """The bytes of a container with these sections in this order."""
    cursor = _HEADER.size + _ENTRY.size * len(sections)
    table, body = b"", bytearray()
    base = cursor
    for section in sections:
        start = -(-cursor // _ALIGN) * _ALIGN
        body += b"\0" * (start - cursor) + section.payload
        cursor = start + len(section.payload)
        table += _ENTRY.pack(
            section.name.encode("ascii"),
            start,
            len(section.payload),
            zlib.crc32(section.payload),
            REQUIRED if section.required else 0,
        )
    assert base + len(body) == cursor
    crc = zlib.crc32(_HEADER.pack(MAGIC, VERSION, len(sections), cursor, 0) + table)
    return _HEADER.pack(MAGIC, VERSION, len(sections), cursor, crc) + table + bytes(body)

# SPDX-License-Identifier: Apache-2.0
"""The `.octavo` container (docs/format.md): sections in one file, written atomically."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from octavo.errors import InvalidArgumentError

__all__ = ["Section", "pack_container", "write_atomic"]

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


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path` so that a crash leaves the old file or the new one, never a torn one:
    temporary file in the same folder, write, fsync, rename, fsync of the folder.

    Raises InvalidArgumentError when the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{target.name}.{os.getpid()}.", suffix=".tmp", dir=target.parent
        )
    except OSError as error:
        raise InvalidArgumentError(f"cannot write '{target}': {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        raise InvalidArgumentError(f"cannot write '{target}': {error.strerror}") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

# SPDX-License-Identifier: Apache-2.0
"""Packed weights in a file, for `Model.compile(cache=...)`: a model compiled before on this CPU is
ready as soon as the file is mapped (docs/format.md, "Packed weights")."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from octavo import _core
from octavo.errors import FormatError, InvalidArgumentError
from octavo.files import write_atomic
from octavo.plan.container import Section, pack_container

__all__ = ["prepare"]

_HEADER = struct.Struct("<II120s")
_ENTRY = struct.Struct("<112sQQ")
_ALIGN = 64


def prepare(
    plan: Any, isa: str | None, threads: int, kernels: list[str], folder: str | os.PathLike[str]
) -> Any:
    """A `_core.Session` whose packed weights come from a file in `folder`, where they are put if
    there is none.

    The file's name depends on the plan's content, the ISA, the kernels and this build. One that is
    damaged is packed anew and replaced. Writers replace files whole, so any number of processes
    may share a folder. Raises InvalidArgumentError when the folder cannot be written.
    """
    if not (_is_path(folder) and Path(folder).is_dir()):
        raise InvalidArgumentError(f"cache={folder!r}: pass the path of a folder that exists")
    key = _core.pack_key(plan, isa)
    name = hashlib.sha256("\n".join([key, *kernels]).encode()).hexdigest()[:32]
    path = Path(folder) / f"{name}.packed"
    session = None
    if path.is_file():
        try:
            session = _core.Session(plan, isa, threads, kernels, str(path))
        except FormatError:
            session = None  # replaced below
    if session is None:
        session = _core.Session(plan, isa, threads, kernels, "")
    if not session.packed_complete:
        write_atomic(path, _file(key, session.packed_parts()))
    return session


def _is_path(value: object) -> bool:
    return isinstance(value, (str, os.PathLike))


def _file(key: str, parts: Sequence[tuple[str, bytes]]) -> bytes:
    index = _HEADER.pack(1, len(parts), key.encode())
    data = bytearray()
    for tag, payload in parts:
        data += b"\0" * (-len(data) % _ALIGN)
        index += _ENTRY.pack(tag.encode(), len(data), len(payload))
        data += payload
    sections = [Section("packed:index", index), Section("packed:data", bytes(data))]
    return pack_container(sections)

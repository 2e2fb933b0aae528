# SPDX-License-Identifier: Apache-2.0
"""Writing files so that a crash never costs data."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from octavo.errors import InvalidArgumentError

__all__ = ["write_atomic"]


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

# SPDX-License-Identifier: Apache-2.0
"""A file of finished trials, one JSON object per line, from which a stopped run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from octavo.errors import FormatError, InvalidArgumentError

__all__ = ["Journal"]

_FORMAT, _VERSION = "octavo-journal", 1


class Journal:
    """Results by key. With a path, each is on disk before `record` returns; what a kill left half
    written at the end of the file is dropped when it is opened again.

    The first line holds a digest of model, data and settings: results of other ones are refused.
    """

    def __init__(self, path: str | os.PathLike[str] | None, digest: str) -> None:
        self.path = None if path is None else Path(path)
        self.results: dict[str, Any] = {}
        self.resumed = 0
        self._stream: Any = None
        if self.path is None:
            return
        try:
            self._stream = open(self.path, "a+b")  # noqa: SIM115 (closed by `close`)
        except OSError as error:
            raise InvalidArgumentError(f"journal '{path}': {error.strerror}") from error
        self._stream.seek(0)
        content: bytes = self._stream.read()
        try:
            self._read(content, digest)
        except (FormatError, InvalidArgumentError):
            self.close()
            raise

    def _read(self, content: bytes, digest: str) -> None:
        whole = content.rfind(b"\n") + 1
        lines = content[:whole].splitlines()
        if not lines:
            if not b'{"format": '.startswith(content[:11]):  # a torn first line is none
                raise FormatError(f"'{self.path}' is not a journal; choose another file")
            self._stream.truncate(0)
            self._append({"format": _FORMAT, "version": _VERSION, "digest": digest})
            return
        try:
            header, *entries = [json.loads(line) for line in lines]
            if header["format"] != _FORMAT or header["version"] != _VERSION:
                raise KeyError("format")
            self.results = {entry["key"]: entry["value"] for entry in entries}
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"'{self.path}' is not a journal of this version") from error
        if header.get("digest") != digest:
            raise InvalidArgumentError(
                f"journal '{self.path}' is of another model, other data or other settings; delete "
                "it or choose another file"
            )
        self._stream.truncate(whole)
        self.resumed = len(self.results)

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._stream.write((json.dumps(entry) + "\n").encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def __contains__(self, key: str) -> bool:
        return key in self.results

    def __getitem__(self, key: str) -> Any:
        return self.results[key]

    def record(self, key: str, value: Any) -> Any:
        """Keeps a result (plain data); returns it as it will be read back."""
        self.results[key] = json.loads(json.dumps(value))
        if self._stream is not None:
            self._append({"key": key, "value": value})
        return self.results[key]

    def close(self) -> None:
        """Closes the file; results stay."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

# SPDX-License-Identifier: Apache-2.0
"""Calibration that survives a kill: its statistics in a file, written atomically now and then."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np

from octavo.errors import FormatError, InvalidArgumentError
from octavo.files import write_atomic
from octavo.quantization.observers import Statistics

__all__ = ["Checkpoint"]

_FORMAT = "octavo-calibration 2"
#: Seconds between two writes; more where writing takes more than a twentieth of the time.
INTERVAL = 5.0


class Checkpoint:
    """The file `path`, for the work that `identity` describes (what → digest), e.g. the model and
    the recipe: a file of other work is refused, naming what differs."""

    def __init__(self, path: str | os.PathLike[str], identity: Mapping[str, str]) -> None:
        self.path = Path(path)
        self._identity = dict(identity)
        self._next = time.monotonic() + INTERVAL

    def due(self) -> bool:
        """Is it time to write?"""
        return time.monotonic() >= self._next

    def save(self, samples: int, digest: str, statistics: Mapping[str, Statistics]) -> None:
        """Writes the state after `samples` samples, whose data has the `digest`."""
        began = time.monotonic()
        about = {
            "format": _FORMAT,
            "identity": self._identity,
            "samples": samples,
            "digest": digest,
            "tensors": list(statistics),
        }
        arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
        for index, entry in enumerate(statistics.values()):
            arrays |= {f"{index}/{key}": array for key, array in entry.state().items()}
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type]
        write_atomic(self.path, stream.getvalue())
        now = time.monotonic()
        self._next = now + max(INTERVAL, 20.0 * (now - began))

    def load(self, tensors: Collection[str]) -> tuple[int, str, dict[str, Statistics]] | None:
        """(samples, digest of their data, statistics) of the file, None where there is none.

        Raises InvalidArgumentError where it is of other work, FormatError where it is damaged.
        """
        if not self.path.exists():
            return None
        try:
            with np.load(self.path, allow_pickle=False) as found:
                about = json.loads(bytes(found["about"]))
                if about["format"] != _FORMAT:
                    raise FormatError(f"'{self.path}' was written by another version: delete it")
                for what, digest in self._identity.items():
                    if about["identity"].get(what) != digest:
                        self.refuse(f"another {what}")
                if about["tensors"] != list(tensors):
                    self.refuse("other tensors")
                statistics = {
                    name: Statistics.restore(
                        name,
                        {
                            key.partition("/")[2]: found[key]
                            for key in found.files
                            if key.startswith(f"{index}/")
                        },
                    )
                    for index, name in enumerate(about["tensors"])
                }
                return int(about["samples"]), str(about["digest"]), statistics
        except (InvalidArgumentError, FormatError):
            raise
        except (
            *(OSError, ValueError, KeyError, TypeError, EOFError, AttributeError),
            *(zipfile.BadZipFile, zlib.error),
        ) as error:
            raise FormatError(
                f"checkpoint '{self.path}' is damaged ({error}): delete it to begin anew"
            ) from error

    def refuse(self, why: str) -> NoReturn:
        """Raises the InvalidArgumentError that the checkpoint is of other work."""
        raise InvalidArgumentError(
            f"checkpoint '{self.path}' is of {why}: delete it to begin anew, or name another file"
        )

    def remove(self) -> None:
        """Deletes the file and what killed writers left behind."""
        self.path.unlink(missing_ok=True)
        for rest in self.path.parent.glob(f".{self.path.name}.*.tmp"):
            rest.unlink(missing_ok=True)

# SPDX-License-Identifier: Apache-2.0
"""The container's bytes, read back with nothing but the specification."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path

import pytest

from octavo.errors import InvalidArgumentError
from octavo.files import write_atomic
from octavo.plan.container import Section, pack_container


def test_layout_follows_the_specification() -> None:
    sections = [
        Section("plan", b"x" * 100, True),
        Section("constants", b"y" * 64, True),
        Section("graph", b"z"),
    ]
    data = pack_container(sections)
    magic, version, count, size, crc = struct.unpack_from("<8sIIQI", data)
    assert (magic, version, count, size) == (b"OCTAVO\x1a\n", 1, 3, len(data))
    header = data[:24] + b"\0" * 4 + data[28 : 64 + 64 * count]
    assert zlib.crc32(header) == crc
    end = 64 + 64 * count
    for index, section in enumerate(sections):
        name, offset, length, check, flags = struct.unpack_from("<32sQQII", data, 64 + 64 * index)
        assert name.rstrip(b"\0").decode() == section.name
        assert offset == -(-end // 64) * 64 and not any(data[end:offset])
        assert data[offset : offset + length] == section.payload
        assert check == zlib.crc32(section.payload)
        assert flags == int(section.required)
        end = offset + length
    assert end == len(data)


def test_write_atomic_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "m.octavo"
    target.write_bytes(b"old")
    write_atomic(target, b"new")
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["m.octavo"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "m.octavo"
    target.write_bytes(b"old")

    def broken(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(InvalidArgumentError, match="No space left"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.octavo"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"nowhere/m\.octavo"):
        write_atomic(tmp_path / "nowhere" / "m.octavo", b"")

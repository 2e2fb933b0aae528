# SPDX-License-Identifier: Apache-2.0
"""Every rule of the container in docs/format.md, one refusal each."""

import struct

import numpy as np
import pytest
from networks import run, small_net, small_net_inputs
from plan_bytes import container

from octavo import _core
from octavo.errors import FormatError, InvalidArgumentError, UnsupportedError


@pytest.fixture
def parts(rng):
    builder = small_net(rng)
    return builder.plan(), bytes(builder.payload)


def sections(parts, **entry):
    plan, constants = parts
    return [("plan", plan, 1), ("constants", constants, 1, entry)]


CASES = {
    "magic": ({"magic": b"OCTAVO\x1a\r"}, {}, "magic"),
    "future version": ({"version": 2}, {}, "version 2"),
    "version 0": ({"version": 0}, {}, "version 0"),
    "no sections": ({"count": 0}, {}, "0 sections"),
    "too many sections": ({"count": 65}, {}, "65 sections"),
    "more sections than table": ({"count": 64}, {}, "CRC|too short"),
    "size too small": ({"size": 100}, {}, "size"),
    "size too large": ({"size": 2**63}, {}, "size"),
    "header CRC": ({"crc": 1}, {}, "CRC"),
    "reserved": ({"reserved": b"\0" * 35 + b"\1"}, {}, "reserved"),
    "entry reserved": ({}, {"reserved": 1}, "reserved"),
    "entry flags": ({}, {"flags": 2}, "reserved bits"),
    "offset too small": ({}, {"offset": 128}, "starts at"),
    "offset unaligned": ({}, {"offset": 2**40 + 1}, "starts at"),
    "section beyond the file": ({}, {"size": 2**62}, "leaves the file"),
    "section size 2^64-1": ({}, {"size": 2**64 - 1}, "leaves the file"),
    "section too short": ({}, {"size": 10}, "CRC|end of the last"),
    "section CRC": ({}, {"crc": 7}, "CRC"),
    "name empty": ({}, {"name": b""}, "name"),
    "name not ASCII": ({}, {"name": "plän".encode()}, "name"),
    "name after NUL": ({}, {"name": b"constants\0x"}, "name"),
    "name twice": ({}, {"name": b"plan"}, "twice"),
    "constants missing": ({}, {"name": b"graph"}, "'constants' is missing"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(parts, case):
    header, entry, message = CASES[case]
    with pytest.raises(FormatError, match=message):
        _core.Plan.from_bytes(container(sections(parts, **entry), **header))


def test_unknown_required_section(parts):
    extra = [*sections(parts), ("future", b"x", 1)]
    with pytest.raises(UnsupportedError, match="'future' is required"):
        _core.Plan.from_bytes(container(extra))


def test_unknown_optional_section_is_skipped(parts, rng):
    plain = container(sections(parts))
    extra = container([*sections(parts), ("future", b"anything", 0)])
    inputs = small_net_inputs(rng)
    for a, b in zip(run(plain, inputs), run(extra, inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def test_padding_must_be_zero(parts):
    data = bytearray(container([("constants", b"\0" * 65, 1), ("plan", parts[0], 1)]))
    data[64 + 128 + 70] = 1
    with pytest.raises(FormatError, match="padding"):
        _core.Plan.from_bytes(bytes(data))


def test_trailing_bytes(parts):
    data = container(sections(parts))
    size = len(data) + 64
    with pytest.raises(FormatError, match="end of the last section"):
        _core.Plan.from_bytes(container(sections(parts), size=size) + b"\0" * 64)


@pytest.mark.parametrize("data", [b"", b"OCTAVO\x1a\n", b"\0" * 64, b"PK\x03\x04" * 99])
def test_other_files(data):
    with pytest.raises(FormatError):
        _core.Plan.from_bytes(data)


def test_sections_are_views_that_outlive_the_plan(parts):
    extra = container([*sections(parts), ("graph", b'{"a": 1}', 0)])
    plan = _core.Plan.from_bytes(extra)
    assert plan.sections == ["plan", "constants", "graph"]
    view = plan.section("graph")
    assert plan.section("missing") is None
    del plan, extra
    assert bytes(view) == b'{"a": 1}'
    assert view.readonly


def test_bytearray_is_copied(parts, rng):
    data = bytearray(container(sections(parts)))
    inputs = small_net_inputs(rng)
    want = run(bytes(data), inputs)
    plan = _core.Plan.from_bytes(data)
    data[:] = b"\xff" * len(data)
    session = _core.Session(plan)
    got = [np.zeros_like(a) for a in want]
    session.run(inputs, got)
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_not_bytes():
    strided = memoryview(b"abcdef")[::2]
    with pytest.raises((InvalidArgumentError, BufferError)):
        _core.Plan.from_bytes(strided)
    with pytest.raises(InvalidArgumentError):
        _core.Plan.from_bytes(np.zeros(100, np.float64))


@pytest.mark.parametrize("mmap", [True, False])
class TestFiles:
    def test_equal_to_memory(self, parts, rng, tmp_path, mmap):
        data = container(sections(parts))
        path = tmp_path / "mödel file.octavo"
        path.write_bytes(data)
        inputs = small_net_inputs(rng)
        want = run(data, inputs)
        session = _core.Session(_core.Plan.open(path, mmap=mmap))
        got = [np.zeros_like(a) for a in want]
        session.run(inputs, got)
        for a, b in zip(want, got, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_missing(self, tmp_path, mmap):
        with pytest.raises(InvalidArgumentError, match=r"No such file"):
            _core.Plan.open(str(tmp_path / "none.octavo"), mmap=mmap)

    def test_directory(self, tmp_path, mmap):
        with pytest.raises(InvalidArgumentError, match="not a regular file"):
            _core.Plan.open(str(tmp_path), mmap=mmap)

    def test_device_and_fifo(self, tmp_path, mmap):
        import os

        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        for path in ("/dev/zero", str(fifo)):
            with pytest.raises(InvalidArgumentError, match="not a regular file"):
                _core.Plan.open(path, mmap=mmap)

    def test_empty(self, tmp_path, mmap):
        path = tmp_path / "empty.octavo"
        path.write_bytes(b"")
        with pytest.raises(FormatError, match="empty"):
            _core.Plan.open(path, mmap=mmap)

    def test_nul_in_path(self, mmap):
        with pytest.raises(InvalidArgumentError, match="NUL"):
            _core.Plan.open("a\0b", mmap=mmap)


def test_every_field_is_little_endian(parts):
    data = container(sections(parts))
    assert struct.unpack_from("<I", data, 8) == (1,)

# SPDX-License-Identifier: Apache-2.0
"""Packed weights in a file: used when everything fits, packed anew otherwise, never wrong."""

import platform
import struct
import subprocess
import sys

import numpy as np
import pytest
from networks import ISAS, allocate, run, small_net, small_net_inputs

from octavo import _core
from octavo.errors import FormatError, InvalidArgumentError
from octavo.plan import packed
from octavo.plan.container import Section, pack_container

isas = pytest.mark.parametrize("isa", ISAS)


@pytest.fixture
def net(rng):
    return small_net(rng, size=24).build(), small_net_inputs(rng, size=24)


def outputs_of(core, data, inputs):
    outputs = allocate(_core.Plan.from_bytes(data).outputs)
    core.run(inputs, outputs)
    return outputs


def prepared(data, folder, isa=None, kernels=()):
    return packed.prepare(_core.Plan.from_bytes(data), isa, 1, list(kernels), folder)


def the_file(folder):
    (file,) = folder.iterdir()  # and no temporary one
    return file


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


@isas
def test_the_second_time_nothing_is_packed(net, tmp_path, isa):
    data, inputs = net
    first = prepared(data, tmp_path, isa)
    before = the_file(tmp_path).read_bytes()
    assert first.packed_parts() and not first.packed_complete
    second = prepared(data, tmp_path, isa)
    assert second.packed_complete
    assert second.packed_parts() == first.packed_parts()
    assert the_file(tmp_path).read_bytes() == before
    same(outputs_of(second, data, inputs), run(data, inputs, isa="scalar"))


def test_every_isa_has_its_file(net, tmp_path):
    for isa in ISAS:
        prepared(net[0], tmp_path, isa)
    assert len(list(tmp_path.iterdir())) == len(ISAS)


def test_another_model_of_the_same_shape_has_its_file(rng, tmp_path):
    for _ in range(2):
        prepared(small_net(rng, size=24).build(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_of_another_key_counts_as_empty(net, tmp_path):
    prepared(net[0], tmp_path, "scalar")
    plan = _core.Plan.from_bytes(net[0])
    other = [isa for isa in ISAS if isa != "scalar"]
    for isa in other:
        session = _core.Session(plan, isa, 1, [], str(the_file(tmp_path)))
        assert not session.packed_complete
        same(outputs_of(session, *net), run(*net, isa="scalar"))


def test_the_key_says_how_activations_are_stored(net):
    """Biases are folded for them: a folder shared by x86 and Arm holds one scalar file for each."""
    stored = "s8" if platform.machine() in ("aarch64", "arm64") else "u8"
    key = _core.pack_key(_core.Plan.from_bytes(net[0]), "scalar")
    assert f" {stored} scalar " in key


def test_damaged_files_are_packed_anew(net, tmp_path, rng):
    data, inputs = net
    prepared(data, tmp_path)
    file = the_file(tmp_path)
    good = file.read_bytes()
    expected = run(data, inputs, isa="scalar")
    damaged = [b"", good[:63], good[:-1], good[: len(good) // 2], good + b"\0"]
    for _ in range(40):
        changed = bytearray(good)
        changed[int(rng.integers(len(good)))] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(changed))
    for content in damaged:
        file.write_bytes(content)
        session = prepared(data, tmp_path)
        assert not session.packed_complete
        same(outputs_of(session, data, inputs), expected)
        assert the_file(tmp_path).read_bytes() == good


def with_index(good, change):
    """The file with some bytes of its index changed and all checksums right."""
    entry = struct.Struct("<32sQQII8x")
    sections = []
    for i in range(2):
        name, offset, size, _, _ = entry.unpack_from(good, 64 + 64 * i)
        payload = bytearray(good[offset : offset + size])
        if i == 0:
            change(payload)
        sections.append(Section(name.rstrip(b"\0").decode(), bytes(payload)))
    return pack_container(sections)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (4, 0),  # no entries
        (4, 2**32 - 1),  # more entries than there are bytes for
        (128 + 112, 2**40),  # the first one starts behind the data
        (128 + 112, 1),  # or unaligned
        (128 + 120, 2**63),  # or is too long
    ],
)
def test_an_index_that_lies_is_refused(net, tmp_path, at, value):
    prepared(net[0], tmp_path)
    file = the_file(tmp_path)
    form = "<I" if at == 4 else "<Q"
    file.write_bytes(
        with_index(file.read_bytes(), lambda index: struct.pack_into(form, index, at, value))
    )
    with pytest.raises(FormatError, match="packed weights"):
        _core.Session(_core.Plan.from_bytes(net[0]), None, 1, [], str(file))


def test_parts_that_lie_never_crash(net, tmp_path, rng):
    """Right checksums, wrong bytes: results may be wrong, memory may not be touched outside."""
    data, inputs = net
    prepared(data, tmp_path)
    file = the_file(tmp_path)
    good = file.read_bytes()
    plan = _core.Plan.from_bytes(data)
    for _ in range(200):
        session = None
        sizes = struct.unpack_from("<QQII", good, 64 + 64 + 32)
        payload = bytearray(good[sizes[0] : sizes[0] + sizes[1]])
        index_at, index_size = struct.unpack_from("<QQ", good, 64 + 32)
        parts = list(struct.iter_unpack("<112sQQ", good[index_at + 128 : index_at + index_size]))
        for _ in range(int(rng.integers(1, 20))):
            payload[int(rng.integers(len(payload)))] = int(rng.choice([0, 1, 127, 128, 255]))
        # A part of a GEMM begins with the records of its blocks: offsets and counts.
        _, start, size = parts[int(rng.integers(len(parts)))]
        for _ in range(int(rng.integers(3))):
            word = start + 4 * int(rng.integers(min(size, 256) // 4))
            struct.pack_into("<I", payload, word, int(rng.choice([0, 1, 64, 2**31, 2**32 - 64])))
        sections = [
            Section("packed:index", good[index_at : index_at + index_size]),
            Section("packed:data", bytes(payload)),
        ]
        file.write_bytes(pack_container(sections))
        session = _core.Session(plan, None, 1, [], str(file))
        outputs_of(session, data, inputs)


COMPILE = """
import sys
from pathlib import Path
from octavo import _core
from octavo.plan import packed
plan = _core.Plan.from_bytes(Path(sys.argv[1]).read_bytes())
packed.prepare(plan, None, 1, [], Path(sys.argv[2]))
"""


def test_many_processes_share_a_folder(net, tmp_path):
    plan, folder = tmp_path / "net.octavo", tmp_path / "packed"
    plan.write_bytes(net[0])
    folder.mkdir()
    command = [sys.executable, "-c", COMPILE, str(plan), str(folder)]
    workers = [subprocess.Popen(command) for _ in range(4)]
    assert [worker.wait(120) for worker in workers] == [0] * 4
    assert prepared(net[0], folder).packed_complete


@pytest.mark.parametrize("folder", ["missing", "file", 3, b"x"])
def test_a_folder_that_is_none_is_refused(net, tmp_path, folder):
    (tmp_path / "file").write_bytes(b"")
    wanted = tmp_path / folder if isinstance(folder, str) else folder
    with pytest.raises(InvalidArgumentError, match="cache="):
        prepared(net[0], wanted)

# SPDX-License-Identifier: Apache-2.0
"""Damaged files: refused with a documented error. Never a crash, and never an answer from a file
that fails a checksum."""

import random
import struct
import zlib

import numpy as np
import pytest
from encoder_net import encoder_inputs, encoder_net
from networks import ISAS, run, small_net, small_net_inputs
from plan_bytes import container

from octavo import _core
from octavo.errors import OctavoError

MUTANTS = 6000
NETS = {
    "small": (lambda rng: small_net(rng, size=5), lambda rng: small_net_inputs(rng, size=5)),
    "encoder": (encoder_net, encoder_inputs),
}
nets = pytest.mark.parametrize("net", NETS)
both_ends = pytest.mark.parametrize("isa", sorted({ISAS[0], ISAS[-1]}))


@pytest.fixture
def file(rng):
    builder = small_net(rng, size=5)
    return builder.build(), small_net_inputs(rng, size=5)


def outcome(data, inputs, isa):
    """Outputs, or None when the file was refused."""
    try:
        return run(data, inputs, isa=isa)
    except OctavoError:
        return None


def equal(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def test_truncation_at_every_length(file):
    data, _ = file
    for length in range(len(data)):
        with pytest.raises(OctavoError):
            _core.Plan.from_bytes(data[:length])


def test_every_bit_of_header_and_plan(file):
    """A checksum covers each of them."""
    data, _ = file
    plan_end = 64 + 128 + struct.unpack_from("<Q", data, 64 + 40)[0]
    for bit in range(plan_end * 8):
        bent = bytearray(data)
        bent[bit // 8] ^= 1 << bit % 8
        with pytest.raises(OctavoError):
            _core.Plan.from_bytes(bytes(bent))


def test_bits_of_constants(file):
    data, _ = file
    for byte in range(len(data) - 4000, len(data), 7):
        bent = bytearray(data)
        bent[byte] ^= 0x10
        with pytest.raises(OctavoError):
            _core.Plan.from_bytes(bytes(bent))


def test_splices_of_two_files(file, rng):
    first, _ = file
    second = small_net(rng, size=6).build()
    for cut in range(1, min(len(first), len(second)), 61):
        spliced = first[:cut] + second[cut:]
        if spliced in (first, second):
            continue
        with pytest.raises(OctavoError):
            _core.Plan.from_bytes(spliced)


INTERESTING = [0, 1, 2, 7, 63, 64, 65, 127, 128, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31]
INTERESTING += [2**32 - 1, 2**32 - 64]


def mutate(plan, random_):
    """Changes one to three fields of the plan section: words, halves, bits, copies of words."""
    bent = bytearray(plan)
    for _ in range(random_.randint(1, 3)):
        at = random_.randrange(0, len(bent) - 4)
        kind = random_.randrange(6)
        word = struct.unpack_from("<I", bent, at & ~3)[0]
        if kind == 0:
            struct.pack_into("<I", bent, at & ~3, random_.choice(INTERESTING))
        elif kind == 1:
            struct.pack_into(
                "<I", bent, at & ~3, (word + random_.choice([-64, -2, -1, 1, 2, 64])) % 2**32
            )
        elif kind == 2:
            bent[at] ^= 1 << random_.randrange(8)
        elif kind == 3:
            other = random_.randrange(0, len(bent) - 4) & ~3
            struct.pack_into("<I", bent, at & ~3, struct.unpack_from("<I", bent, other)[0])
        elif kind == 4:
            struct.pack_into("<H", bent, at & ~1, random_.choice(INTERESTING) & 0xFFFF)
        else:
            struct.pack_into("<I", bent, at & ~3, random_.getrandbits(32))
    return bytes(bent)


@both_ends
@nets
def test_mutants_with_correct_checksums(rng, net, isa):
    """The checksum does not help here: only validation keeps these from reading or writing outside
    their memory. Each is loaded, prepared and run."""
    build, make_inputs = NETS[net]
    builder, inputs = build(rng), make_inputs(rng)
    plan, constants = builder.plan(), bytes(builder.payload)
    random_ = random.Random(20240711)
    print("seed 20240711")
    accepted = 0
    for _ in range(MUTANTS):
        data = container([("plan", mutate(plan, random_), 1), ("constants", constants, 1)])
        accepted += outcome(data, inputs, isa) is not None
    # The mutants must reach past the reader for the test to mean anything.
    print(f"{accepted} of {MUTANTS} mutants ran")
    assert accepted > MUTANTS // 50


@both_ends
@nets
def test_mutated_constants_run(rng, net, isa):
    """Weights, tables and multipliers are data: whatever they hold, nothing crashes."""
    build, make_inputs = NETS[net]
    builder, inputs = build(rng), make_inputs(rng)
    plan = builder.plan()
    random_ = random.Random(7)
    for _ in range(500):
        payload = bytearray(builder.payload)
        for _ in range(8):
            payload[random_.randrange(len(payload))] = random_.choice([0, 1, 127, 128, 255])
        outcome(container([("plan", plan, 1), ("constants", bytes(payload), 1)]), inputs, isa)


def test_reserved_header_bytes_are_covered(file):
    data = bytearray(file[0])
    data[40] = 1
    blank = bytes(data[:24]) + b"\0\0\0\0" + bytes(data[28:64])
    struct.pack_into("<I", data, 24, zlib.crc32(blank + bytes(data[64:192])))
    with pytest.raises(OctavoError, match="reserved"):
        _core.Plan.from_bytes(bytes(data))

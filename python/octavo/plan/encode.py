# SPDX-License-Identifier: Apache-2.0
"""Lowered steps to the bytes of the `plan` and `constants` sections (docs/format.md)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import LimitError
from octavo.ir import DTYPE_NAMES
from octavo.plan.lowering import Lowered, Step
from octavo.plan.memory import Block, Placement, place
from octavo.plan.tensor import ARENA, Storage, TensorRef

__all__ = ["ConstantPool", "assign_offsets", "encode_plan"]

Array = NDArray[Any]
VERSION = 1
DTYPE_CODES = {"f32": 1, "u8": 2, "s8": 3, "s16": 4, "s32": 5, "s64": 6, "u32": 7, "bool": 8}
MAX_RANK = 8
MAX_COUNT = 65_536
MAX_DIM = 2**31 - 1
MAX_HALO = 2**16 - 1
_HEADER = struct.Struct("<10IQQ8x")
_TENSOR = struct.Struct("<BBBBIQ8i8q4Hfi")
_STEP = struct.Struct("<14I")
_CONST = struct.Struct("<QQII")


class ConstantPool:
    """The `constants` section: arrays, 64-byte aligned, equal bytes stored once."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._entries: list[tuple[int, int, str]] = []
        self._found: dict[tuple[str, bytes], int] = {}

    def add(self, array: Array) -> int:
        """Index of the array's bytes in the pool."""
        dtype = DTYPE_NAMES[array.dtype]
        payload = np.ascontiguousarray(array).tobytes()
        index = self._found.get((dtype, payload))
        if index is None:
            self._data += b"\0" * (-len(self._data) % 64)
            index = len(self._entries)
            self._entries.append((len(self._data), len(payload), dtype))
            self._data += payload
            self._found[(dtype, payload)] = index
        return index

    def entry(self, index: int) -> tuple[int, int, str]:
        """(offset, bytes, dtype) of a constant."""
        return self._entries[index]

    def find(self, array: Array) -> int | None:
        """Index of the array's bytes if the pool has them."""
        key = (DTYPE_NAMES[array.dtype], np.ascontiguousarray(array).tobytes())
        return self._found.get(key)

    def bytes_of(self, index: int) -> bytes:
        """The bytes of a constant."""
        offset, size, _ = self._entries[index]
        return bytes(self._data[offset : offset + size])

    def __len__(self) -> int:
        return len(self._entries)

    def records(self) -> bytes:
        """The plan's constant records."""
        return b"".join(
            _CONST.pack(offset, size, DTYPE_CODES[dtype], 0)
            for offset, size, dtype in self._entries
        )

    def payload(self) -> bytes:
        """The section's bytes."""
        return bytes(self._data)


class _Strings:
    def __init__(self) -> None:
        self._data = bytearray()
        self._found: dict[str, int] = {}

    def add(self, text: str) -> int:
        if text not in self._found:
            encoded = text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace")
            if len(encoded) > 1024:
                raise LimitError(f"name '{text[:64]}…' is longer than 1,024 bytes")
            self._found[text] = len(self._data)
            self._data += encoded + b"\0"
        return self._found[text]

    def payload(self) -> bytes:
        return bytes(self._data)


def _storages(steps: Iterable[Step]) -> list[Storage]:
    found: dict[int, Storage] = {}
    for step in steps:
        for ref in (*step.inputs, *step.outputs):
            if ref.storage.location == ARENA:
                found.setdefault(id(ref.storage), ref.storage)
    return list(found.values())


def assign_offsets(lowered: Lowered, keep_all: bool) -> Placement:
    """Places every storage of the plan in the arena; `keep_all` lets no two share bytes.

    The offset of a storage is left in its `index`.
    """
    storages = _storages(lowered.steps)
    last = len(lowered.steps)
    blocks = [
        Block(s.size, 0, last) if keep_all else Block(s.size, s.first, s.last) for s in storages
    ]
    placement = place(blocks)
    for storage, offset in zip(storages, placement.offsets, strict=True):
        storage.index = offset
    return placement


def _tensor_record(ref: TensorRef, strings: _Strings) -> bytes:
    if len(ref.dims) > MAX_RANK:
        raise LimitError(f"tensor '{ref.name}': rank {len(ref.dims)} is above {MAX_RANK}")
    if max((*ref.dims, 0)) > MAX_DIM or max(ref.halo) > MAX_HALO:
        raise LimitError(
            f"tensor '{ref.name}': dims {ref.dims} and padding {ref.halo} are above the file's "
            f"limits of {MAX_DIM:,} and {MAX_HALO:,}"
        )
    pad = MAX_RANK - len(ref.dims)
    dims = (*ref.dims, *([1] * pad))
    strides = (*ref.strides, *([0] * pad))
    storage = ref.storage
    offset = storage.index + ref.offset if storage.location == ARENA else storage.index
    return _TENSOR.pack(
        DTYPE_CODES[ref.dtype],
        storage.location,
        len(ref.dims),
        0,
        strings.add(ref.name),
        offset,
        *dims,
        *strides,
        *ref.halo,
        ref.scale,
        ref.zero_point,
    )


class _Encoder:
    def __init__(self, pool: ConstantPool) -> None:
        self.strings = _Strings()
        self.pool = pool
        self.tensors: list[bytes] = []
        self.index: dict[int, int] = {}
        self.alive: list[TensorRef] = []  # keeps ids unique while encoding
        self.ints: list[int] = []
        self.floats: list[float] = []
        self.refs: list[int] = []
        self.steps: list[bytes] = []

    def tensor(self, ref: TensorRef) -> int:
        if id(ref) not in self.index:
            self.index[id(ref)] = len(self.tensors)
            self.tensors.append(_tensor_record(ref, self.strings))
            self.alive.append(ref)
        return self.index[id(ref)]

    def span(self, ids: Sequence[int]) -> tuple[int, int]:
        first = len(self.refs)
        self.refs.extend(ids)
        return first, len(ids)

    def step(self, step: Step) -> None:
        inputs = self.span([self.tensor(ref) for ref in step.inputs])
        outputs = self.span([self.tensor(ref) for ref in step.outputs])
        ints = (len(self.ints), len(step.ints))
        self.ints.extend(step.ints)
        floats = (len(self.floats), len(step.floats))
        self.floats.extend(step.floats)
        consts = self.span([self.pool.add(array) for array in step.consts])
        name = self.strings.add(step.name)
        kind = self.strings.add(step.kind)
        macs = (step.macs & 0xFFFFFFFF, step.macs >> 32)
        self.steps.append(_STEP.pack(kind, name, *inputs, *outputs, *ints, *floats, *consts, *macs))


def encode_plan(
    lowered: Lowered, placement: Placement, pool: ConstantPool, keep: Iterable[TensorRef] = ()
) -> bytes:
    """The `plan` section. Constants are added to `pool`; `keep` are tensors to record although no
    step may name them (views read after a run). Raises LimitError beyond the limits."""
    encoder = _Encoder(pool)
    inputs = [encoder.tensor(ref) for ref in lowered.inputs]
    outputs = [encoder.tensor(ref) for ref in lowered.outputs]
    for step in lowered.steps:
        encoder.step(step)
    for ref in keep:
        encoder.tensor(ref)
    counts = (len(encoder.tensors), len(encoder.steps), len(pool))
    if max(counts) > MAX_COUNT:
        raise LimitError(f"{max(counts)} records in the plan; the limit is {MAX_COUNT}")
    strings = encoder.strings.payload()
    body = bytearray(
        _HEADER.pack(
            VERSION,
            *counts,
            len(inputs),
            len(outputs),
            len(encoder.ints),
            len(encoder.floats),
            len(encoder.refs),
            len(strings),
            placement.arena_bytes,
            placement.lower_bound,
        )
    )
    arrays = (
        b"".join(encoder.tensors),
        b"".join(encoder.steps),
        pool.records(),
        np.asarray(inputs, "<u4").tobytes(),
        np.asarray(outputs, "<u4").tobytes(),
        np.asarray(encoder.ints, "<i4").tobytes(),
        np.asarray(encoder.floats, "<f4").tobytes(),
        np.asarray(encoder.refs, "<u4").tobytes(),
        strings,
    )
    for payload in arrays:
        body += b"\0" * (-len(body) % 8) + payload
    return bytes(body)

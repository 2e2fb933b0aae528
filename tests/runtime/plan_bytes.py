# SPDX-License-Identifier: Apache-2.0
"""A tiny writer of `.octavo` files for the tests, field by field from docs/format.md.

Independent of `octavo.plan` on purpose: a shared mistake would hide, and every record can be bent
before it is written.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ARENA, INPUT, OUTPUT = 0, 1, 2
CODES = {"f32": 1, "u8": 2, "s8": 3, "s16": 4, "s32": 5, "s64": 6, "u32": 7, "bool": 8}
NUMPY = {
    "f32": np.float32,
    "u8": np.uint8,
    "s8": np.int8,
    "s16": np.int16,
    "s32": np.int32,
    "s64": np.int64,
    "u32": np.uint32,
    "bool": np.bool_,
}
MAGIC = b"OCTAVO\x1a\n"


def dense_strides(dims, item):
    strides = []
    for dim in reversed(dims):
        strides.append(item)
        item *= dim
    return list(reversed(strides))


def padded(data: bytes, unit: int) -> bytes:
    return data + b"\0" * (-len(data) % unit)


def container(sections, **fields) -> bytes:
    """`sections`: (name, payload, flags[, entry overrides]). `fields` override the header's."""
    table, body = b"", b""
    start = 64 + 64 * len(sections)
    for name, payload, flags, *rest in sections:
        entry = {
            "name": name.encode(),
            "offset": start + len(padded(body, 64)),
            "size": len(payload),
            "crc": zlib.crc32(payload),
            "flags": flags,
            "reserved": 0,
        }
        entry.update(rest[0] if rest else {})
        table += struct.pack("<32sQQIIQ", *entry.values())
        body = padded(body, 64) + payload
    header = {
        "magic": MAGIC,
        "version": 1,
        "count": len(sections),
        "size": start + len(body),
        "crc": None,
        "reserved": b"\0" * 36,
    }
    header.update(fields)
    if header["crc"] is None:
        blank = struct.pack("<8sIIQI36s", *{**header, "crc": 0}.values())
        header["crc"] = zlib.crc32(blank + table)
    return struct.pack("<8sIIQI36s", *header.values()) + table + body


@dataclass
class Builder:
    """Records as dicts; tests change them before `build`."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    consts: list[dict[str, Any]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    ints: list[int] = field(default_factory=list)
    floats: list[float] = field(default_factory=list)
    refs: list[int] = field(default_factory=list)
    strings: bytearray = field(default_factory=bytearray)
    payload: bytearray = field(default_factory=bytearray)
    arena: int = 0
    header: dict[str, Any] = field(default_factory=dict)

    def string(self, text: str | bytes) -> int:
        at = len(self.strings)
        self.strings += (text.encode() if isinstance(text, str) else text) + b"\0"
        return at

    def tensor(self, name, dtype, dims, *, halo=(0, 0, 0, 0), scale=1.0, zero_point=0) -> int:
        """An arena tensor with bytes of its own, its halo around it."""
        item = np.dtype(NUMPY[dtype]).itemsize
        storage = list(dims)
        if any(halo):
            storage[1] += halo[0] + halo[2]
            storage[2] += halo[1] + halo[3]
        strides = dense_strides(storage, item)
        offset = self.arena
        if any(halo):
            offset += halo[0] * strides[1] + halo[1] * strides[2]
        self.arena += -(-(math.prod(storage) * item + 64) // 64) * 64
        return self.record(name, dtype, dims, ARENA, offset, strides, halo, scale, zero_point)

    def record(
        self,
        name,
        dtype,
        dims,
        location,
        offset,
        strides,
        halo=(0, 0, 0, 0),
        scale=1.0,
        zero_point=0,
    ) -> int:
        """Any tensor record: views, inputs, outputs."""
        self.tensors.append(
            {
                "dtype": CODES[dtype],
                "location": location,
                "rank": len(dims),
                "flags": 0,
                "name": self.string(name),
                "offset": offset,
                "dims": [*dims, *[1] * (8 - len(dims))],
                "strides": [*strides, *[0] * (8 - len(dims))],
                "halo": list(halo),
                "scale": scale,
                "zero_point": zero_point,
            }
        )
        return len(self.tensors) - 1

    def view(self, base: int, name, dims, strides, offset=0, **changes) -> int:
        """A record that shares the bytes of another; `offset` counts from its first element."""
        record = {**self.tensors[base], "name": self.string(name), "rank": len(dims)}
        record["offset"] += offset
        record["dims"] = [*dims, *[1] * (8 - len(dims))]
        record["strides"] = [*strides, *[0] * (8 - len(dims))]
        record["halo"] = [0, 0, 0, 0]
        record.update(changes)
        self.tensors.append(record)
        return len(self.tensors) - 1

    def _edge(self, edges, location, name, dtype, dims, scale, zero_point) -> int:
        strides = dense_strides(dims, np.dtype(NUMPY[dtype]).itemsize)
        index = len(edges)
        tensor = self.record(
            name, dtype, dims, location, index, strides, scale=scale, zero_point=zero_point
        )
        edges.append(tensor)
        return tensor

    def input(self, name, dtype, dims, scale=1.0, zero_point=0) -> int:
        return self._edge(self.inputs, INPUT, name, dtype, dims, scale, zero_point)

    def output(self, name, dtype, dims, scale=1.0, zero_point=0) -> int:
        return self._edge(self.outputs, OUTPUT, name, dtype, dims, scale, zero_point)

    def const(self, array: np.ndarray) -> int:
        code = {np.dtype(t): CODES[name] for name, t in NUMPY.items()}[array.dtype]
        self.payload += b"\0" * (-len(self.payload) % 64)
        self.consts.append(
            {"offset": len(self.payload), "size": array.nbytes, "dtype": code, "reserved": 0}
        )
        self.payload += array.tobytes()
        return len(self.consts) - 1

    def step(self, kind, inputs, outputs, ints=(), floats=(), consts=(), macs=0, name=None) -> int:
        def span(target, values):
            first = len(target)
            target.extend(values)
            return [first, len(values)]

        self.steps.append(
            {
                "kind": self.string(kind),
                "name": self.string(name or f"{kind}{len(self.steps)}"),
                "inputs": span(self.refs, inputs),
                "outputs": span(self.refs, outputs),
                "ints": span(self.ints, ints),
                "floats": span(self.floats, floats),
                "consts": span(self.refs, [self.const(np.asarray(c)) for c in consts]),
                "macs": [macs & 0xFFFFFFFF, macs >> 32],
            }
        )
        return len(self.steps) - 1

    def plan(self) -> bytes:
        header = {
            "version": 1,
            "tensors": len(self.tensors),
            "steps": len(self.steps),
            "consts": len(self.consts),
            "inputs": len(self.inputs),
            "outputs": len(self.outputs),
            "ints": len(self.ints),
            "floats": len(self.floats),
            "refs": len(self.refs),
            "strings": len(self.strings),
            "arena": self.arena,
            "lower_bound": 0,
            "reserved": 0,
        }
        header.update(self.header)
        out = bytearray(struct.pack("<10IQQQ", *header.values()))
        arrays = [
            b"".join(
                struct.pack(
                    "<BBBBIQ8i8q4Hfi",
                    *(t[key] for key in ("dtype", "location", "rank", "flags", "name", "offset")),
                    *t["dims"],
                    *t["strides"],
                    *t["halo"],
                    t["scale"],
                    t["zero_point"],
                )
                for t in self.tensors
            ),
            b"".join(
                struct.pack(
                    "<14I",
                    s["kind"],
                    s["name"],
                    *(n for k in ("inputs", "outputs", "ints", "floats", "consts") for n in s[k]),
                    *s["macs"],
                )
                for s in self.steps
            ),
            b"".join(struct.pack("<QQII", *c.values()) for c in self.consts),
            struct.pack(f"<{len(self.inputs)}I", *self.inputs),
            struct.pack(f"<{len(self.outputs)}I", *self.outputs),
            struct.pack(f"<{len(self.ints)}i", *self.ints),
            struct.pack(f"<{len(self.floats)}f", *self.floats),
            struct.pack(f"<{len(self.refs)}I", *self.refs),
            bytes(self.strings),
        ]
        for array in arrays:
            out += b"\0" * (-len(out) % 8) + array
        return bytes(out)

    def build(self) -> bytes:
        return container([("plan", self.plan(), 1), ("constants", bytes(self.payload), 1)])

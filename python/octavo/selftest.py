# SPDX-License-Identifier: Apache-2.0
"""Every kernel row of every family against the norm in NumPy, byte for byte, in under a second.

Scalar rows run the same cases: a row that equals the norm equals the scalar row of its family.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from octavo import _core
from octavo.selftest_cases import CASES, Case
from octavo.selftest_float import FLOAT_CASES
from octavo.selftest_layers import LAYER_CASES

__all__ = ["SelfTestRow", "run_selftest"]

FAILED, NOT_RUN, OK = "FAILED", "NOT RUN", "ok"
_ALL = CASES | LAYER_CASES | FLOAT_CASES


@dataclass(frozen=True)
class SelfTestRow:
    """`status` is "ok", "FAILED", or "NOT RUN" where this CPU lacks the kernel's ISA."""

    kernel: str
    isa: str
    cases: int
    status: str


@dataclass(frozen=True)
class _Kernel:
    name: str
    isa: str
    op: str  # key of _ALL
    supported: bool


def _kernels() -> Iterator[_Kernel]:
    """All rows that were built, best ISA first within a family."""
    for row in _core.gemm_s8_rows():
        yield _Kernel(row["name"], row["isa"], "gemm", row["supported"])
    for name, isa, *_, supported in _core.dwconv_s8_rows():
        yield _Kernel(name, isa, "dwconv", supported)
    for op, weighted in (("gemm_f32", _core.gemm_f32_rows), ("dwconv_f32", _core.dwconv_f32_rows)):
        for name, isa, *_, supported in weighted():
            yield _Kernel(name, isa, op, supported)
    for name, isa, op, supported in _core.pool_f32_rows():
        yield _Kernel(name, isa, f"{op}_f32", supported)
    for name, isa, *_, supported in _core.winograd_s8_rows():
        yield _Kernel(name, isa, "winograd", supported)
    for name, isa, supported in _core.softmax_f32_rows():
        yield _Kernel(name, isa, "softmax_f32", supported)
    for name, isa, _, supported in _core.gemm_s16_rows():
        yield _Kernel(name, isa, "gemm_s16", supported)
    for name, isa, supported in _core.dynamic_s8_rows():
        yield _Kernel(name, isa, "dynamic_s8", supported)
    for rows in (
        _core.pool_s8_rows,
        _core.resize_s8_rows,
        _core.eltwise_s8_rows,
        _core.lut_s8_rows,
        _core.softmax_s8_rows,
        _core.layer_norm_s8_rows,
        _core.matmul_s8_rows,
        _core.convert_rows,
    ):
        for name, isa, op, supported in rows():
            yield _Kernel(name, isa, op, supported)


def _cases(op: str, seed: int) -> list[Case]:
    """The cases of an op; they do not depend on which other ops were tested before."""
    return list(_ALL[op](np.random.default_rng((seed, zlib.crc32(op.encode())))))


def _merged(rows: list[SelfTestRow]) -> list[SelfTestRow]:
    """One row per kernel name: a set of convert kernels is several ops under one name."""
    found: dict[str, SelfTestRow] = {}
    for row in rows:
        before = found.get(row.kernel, row)
        status = FAILED if FAILED in (before.status, row.status) else row.status
        cases = row.cases + (before.cases if before is not row else 0)
        found[row.kernel] = SelfTestRow(row.kernel, row.isa, cases, status)
    return list(found.values())


def run_selftest(seed: int = 0) -> list[SelfTestRow]:
    """Runs every usable kernel on seeded cases of its op: tails around the vector widths, the worst
    weight pairs, ties, saturation. Rows in the order of the kernel lists, scalar last in a family.
    """
    cases: dict[str, list[Case]] = {}
    rows = []
    for kernel in _kernels():
        if not kernel.supported:
            rows.append(SelfTestRow(kernel.name, kernel.isa, 0, NOT_RUN))
            continue
        if kernel.op not in cases:
            cases[kernel.op] = _cases(kernel.op, seed)
        fitting = [case for case in cases[kernel.op] if case.fits(kernel.name)]
        equal = all(np.array_equal(case.run(kernel.name), case.want) for case in fitting)
        rows.append(SelfTestRow(kernel.name, kernel.isa, len(fitting), OK if equal else FAILED))
    return _merged(rows)

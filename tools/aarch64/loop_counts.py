# SPDX-License-Identifier: Apache-2.0
"""The inner loops of the Arm kernels of a build, and what their instructions do: products, bytes
read and written, accesses to the stack."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import check_disasm
from loops import AARCH64 as SYNTAX
from loops import innermost_loops
from objects import AARCH64, Instruction, build_objects, disassemble, isa_of, machine_of

ARM_ISAS = ("neon", "neondot", "neoni8mm")
#: Families whose multiplications are the convolution's or product's own; elsewhere they compute
#: positions, exponentials and the like.
PRODUCTS = (
    "dwconv_f32", "dwconv_s8", "gemm_f32", "gemm_s8", "matmul_s8", "peak", "winograd_s8",
)  # fmt: skip

_ARRANGEMENT = re.compile(r"v\d+\.(?P<lanes>\d+)(?P<type>[bhsd])\b")
_REGISTERS = re.compile(r"\b(?P<kind>[bhsdqxw])\d+\b|\b(?P<zero>[wx])zr\b")
_LIST = re.compile(r"\{(?P<list>[^}]*)\}")
_MEMORY = re.compile(r"\[(?:x\d+|sp)\b")
_SIZES = {"b": 1, "h": 2, "s": 4, "w": 4, "d": 8, "x": 8, "q": 16}
_WHOLE_LANES = {"b": 16, "h": 8, "s": 4, "d": 2}


@dataclass(frozen=True)
class KernelLoop:
    """An innermost loop: family/file without suffix, ISA, function as check_disasm names it."""

    path: str
    isa: str
    symbol: str
    body: tuple[Instruction, ...]
    spills: int

    @property
    def family(self) -> str:
        return self.path.split("/")[0]

    @property
    def macs(self) -> int:
        """Multiply-accumulates per iteration; 0 outside of PRODUCTS."""
        return sum(map(macs_of, self.body)) if self.family in PRODUCTS else 0

    @property
    def single_row(self) -> bool:
        """Is it a matrix product that uses each weight once?"""
        size = 4 if self.family == "gemm_f32" else 1
        gemm = self.family in ("gemm_f32", "gemm_s8", "matmul_s8")
        return gemm and 0 < size * self.row_macs <= self.loaded

    @property
    def row_macs(self) -> int:
        """Products that count when there is one row: smmla makes two rows, one of them twice."""
        return self.macs // 2 if self.kind == "smmla" else self.macs

    @property
    def kind(self) -> str:
        """The instruction that does most of the products: a key of mca.LIMITS, or ''."""
        done = dict.fromkeys(("smmla", "sdot", "fmla", "smlal", "smlal16"), 0)
        for instruction in self.body:
            done[kind_of(instruction)] += macs_of(instruction)
        return max(done, key=lambda kind: done[kind]) if self.macs else ""

    @property
    def loaded(self) -> int:
        return sum(bytes_of(i) for i in self.body if i.mnemonic.startswith("ld"))

    @property
    def stored(self) -> int:
        return sum(bytes_of(i) for i in self.body if i.mnemonic.startswith("st"))

    @property
    def calls(self) -> bool:
        return any(check_disasm.RULES[AARCH64].call.match(i.text) for i in self.body)

    @property
    def branches(self) -> int:
        """Jumps beside the one that closes the loop: with any, an iteration may be shorter."""
        return sum(1 for i in self.body if SYNTAX.jump.match(i.text)) - 1


def kind_of(instruction: Instruction) -> str:
    name = instruction.mnemonic
    if name.endswith("mmla"):
        return "smmla"
    if name.endswith("dot"):
        return "sdot"
    if name.startswith("f"):
        return "fmla"
    return "smlal16" if re.search(r"v\d+\.4s", instruction.text) else "smlal"


def macs_of(instruction: Instruction) -> int:
    """Multiply-accumulates of one instruction, by the arrangement of its result.

    >>> macs_of(Instruction(0, "sdot v0.4s, v1.16b, v2.4b[1]"))
    16
    """
    name = instruction.mnemonic
    result = _ARRANGEMENT.search(instruction.text)
    if result is None:
        return 1 if name in ("fmadd", "fmsub") else 0
    lanes = int(result["lanes"])
    if re.match(r"(?:[us]|us)mmla$", name):
        return 8 * lanes
    if re.match(r"(?:[us]|us|su)dot$", name):
        return 4 * lanes
    if re.match(r"[us]m(?:ul|la|ls)l2?$|mla$|mls$|fml[as]$", name):
        return lanes
    return 0


def bytes_of(instruction: Instruction) -> int:
    """Bytes that a load or store moves; 0 for other instructions.

    >>> bytes_of(Instruction(0, "ldp q0, q1, [x1, #32]"))
    32
    """
    name, text = instruction.mnemonic, instruction.text
    if not re.match(r"ld|st", name) or not _MEMORY.search(text):
        return 0
    if registers := _LIST.search(text):
        return _structure_bytes(name, registers["list"], text)
    if size := re.search(r"(?<=r)s?([bh])$|sw$", name):  # ldrb, strh, ldursb, ldrsw
        return _SIZES[size[1] or "w"]
    operands = text.split("[")[0]
    sizes = [_SIZES[match["kind"] or match["zero"]] for match in _REGISTERS.finditer(operands)]
    return sum(sizes)


def _structure_bytes(name: str, registers: str, text: str) -> int:
    """ld1 to ld4 and st1 to st4: whole registers, one lane of each, or one value to all lanes."""
    kinds = re.findall(r"v\d+\.(\d*)([bhsd])", registers)
    count = len(kinds)
    if "-" in registers:
        first, last = re.findall(r"v(\d+)", registers)
        count = (int(last) - int(first)) % 32 + 1
    lanes, kind = kinds[0]
    if name.endswith("r") or re.search(r"\}\[\d+\]", text):
        return count * _SIZES[kind]
    return count * _SIZES[kind] * (int(lanes) if lanes else _WHOLE_LANES[kind])


def loops_of_object(path: Path) -> Iterator[KernelLoop]:
    rules = check_disasm.RULES[AARCH64]
    label, isa = f"{path.parent.name}/{path.name.removesuffix('.cc.o')}", isa_of(path)
    assert isa is not None
    for symbol, body in disassemble(path):
        frame = any(rules.saves_frame.match(i.text) for i in body)
        stack = rules.frame if frame else rules.stack
        for loop in innermost_loops(body, SYNTAX):
            dots = sum(1 for i in loop if rules.dot.match(i.text))
            spills = check_disasm.spills(loop, stack, rules, dots)
            name = check_disasm.short_name(symbol)
            yield KernelLoop(label, isa, name, tuple(loop), spills)


def kernel_loops(build: Path) -> list[KernelLoop]:
    """Every inner loop of the Arm kernel objects in a build directory."""
    objects = [p for p in build_objects(build) if isa_of(p) in ARM_ISAS]
    if not objects or machine_of(objects[0]) != AARCH64:
        raise SystemExit(f"{build}: no Arm kernels; build it for aarch64 first")
    return [loop for path in objects for loop in loops_of_object(path)]

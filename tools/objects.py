# SPDX-License-Identifier: Apache-2.0
"""Reads object files through binutils: symbols (nm) and instructions (objdump).

Objects of the other architecture go to its cross tools (Debian's aarch64-linux-gnu-objdump)."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ISAS = ("scalar", "avx2", "avxvnni", "avx512vnni", "neon", "neondot", "neoni8mm")

X86_64, AARCH64 = "x86_64", "aarch64"
_MACHINES = {62: X86_64, 183: AARCH64}  # e_machine of the ELF header

_FUNCTION = re.compile(r"^[0-9a-f]+ <(?P<name>.*)>:$")
_INSTRUCTION = re.compile(r"^\s*(?P<address>[0-9a-f]+):\s+(?P<text>\S.*?)\s*$")


@dataclass(frozen=True)
class Symbol:
    """One line of nm: its type letter and mangled name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Instruction:
    """Address within the section, and text such as `vpdpbusd %zmm1,%zmm2,%zmm3`."""

    address: int
    text: str

    @property
    def mnemonic(self) -> str:
        return self.text.split(None, 1)[0]


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def machine_of(path: Path) -> str:
    """The architecture that an ELF file is for. Raises SystemExit for anything else."""
    with path.open("rb") as file:
        header = file.read(20)
    number = int.from_bytes(header[18:20], "little")
    if header[:4] != b"\x7fELF" or number not in _MACHINES:
        raise SystemExit(f"{path}: not an ELF file for x86-64 or AArch64")
    return _MACHINES[number]


def tool(name: str, path: Path) -> str:
    """The binutils program for the architecture of `path`, which may be a cross program."""
    machine = machine_of(path)
    return name if machine == platform.machine() else f"{machine}-linux-gnu-{name}"


def symbols(path: Path, *options: str) -> list[Symbol]:
    rows = []
    for line in run(tool("nm", path), "-P", *options, str(path)).splitlines():
        name, kind, *_ = line.split()
        rows.append(Symbol(kind, name))
    return rows


def parse_disassembly(text: str) -> Iterator[tuple[str, list[Instruction]]]:
    """(demangled function name, instructions) for each function of `objdump -d`."""
    name = ""
    body: list[Instruction] = []
    for line in text.splitlines():
        if function := _FUNCTION.match(line):
            if body:
                yield name, body
            name, body = function["name"], []
        elif instruction := _INSTRUCTION.match(line):
            body.append(Instruction(int(instruction["address"], 16), instruction["text"]))
    if body:
        yield name, body


def disassemble(path: Path) -> list[tuple[str, list[Instruction]]]:
    objdump = tool("objdump", path)
    text = run(objdump, "-d", "-C", "--no-show-raw-insn", "-j", ".text", "-w", str(path))
    return list(parse_disassembly(text))


def isa_of(path: Path) -> str | None:
    """The ISA that a file of csrc/kernels/<family>/ is named after; None for baseline files.

    >>> isa_of(Path("csrc/kernels/gemm_s8/avx2_wide.cc.o"))
    'avx2'
    """
    prefix = re.split(r"[._]", path.name, maxsplit=1)[0]
    return prefix if prefix in ISAS and "kernels" in path.parts else None


def build_objects(build: Path) -> list[Path]:
    """Every object file of the extension in a CMake build directory."""
    objects = [
        path
        for path in sorted(build.glob("CMakeFiles/*.dir/**/*.o"))
        if "csrc" in path.relative_to(build).parts
    ]
    if not objects:
        raise SystemExit(f"{build}: no object files; build it first (tools/build_dev.sh)")
    return objects

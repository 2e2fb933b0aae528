# SPDX-License-Identifier: Apache-2.0
"""What the Arm kernels cost per product, output or byte on the cores of predict.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from loop_counts import KernelLoop, bytes_of
from mca import Analysis, analyze, assembly, has_cpu, run_mca
from objects import Instruction

KERNELS = Path(__file__).resolve().parents[2] / "csrc" / "kernels"


@dataclass(frozen=True)
class Core:
    """`cpu` is the llvm-mca model, `bandwidth` bytes per second from memory on one core."""

    name: str
    title: str
    cpu: str
    hertz: float
    bandwidth: float
    cache_bytes: int  # the last level
    instructions_per_cycle: float
    in_order: bool
    says: str


CORES = (
    Core(
        "a53", "A53 1.4 GHz", "cortex-a53", 1.4e9, 2.0e9, 512 << 10, 1.0, True,
        "Raspberry Pi 3B+; 2 GB/s, 512 KB. LLVM's model of the A53 lets a 128-bit load issue "
        "beside arithmetic, which the core does not; so the larger of that model and a count: one "
        "cycle per vector instruction, two per 16 bytes loaded or stored, other instructions in "
        "pairs with these.",
    ),
    Core(
        "a72", "A72 1.8 GHz", "cortex-a72", 1.8e9, 4.0e9, 1 << 20, 1.5, False,
        "Raspberry Pi 4; 4 GB/s, 1 MB. LLVM has the model of the A57 only: three instructions per "
        "cycle, one multiplier for smull and smlal, sadalp on the other pipe, one load.",
    ),
    Core(
        "a76", "A76 2.4 GHz", "neoverse-n1", 2.4e9, 8.0e9, 2 << 20, 2.5, False,
        "Raspberry Pi 5; 8 GB/s, 2 MB of L3. LLVM's Neoverse N1, the server form of the same core.",
    ),
    Core(
        "v1", "Neoverse V1 2.6 GHz", "neoverse-v1", 2.6e9, 20.0e9, 32 << 20, 4.0, False,
        "Graviton 3; 20 GB/s, 32 MB shared. LLVM's Neoverse V1.",
    ),
)  # fmt: skip

# FloatRneNeon on 16 accumulators (csrc/kernels/simd/requant_neon.h), bias in the accumulators.
EPILOGUE = "\n".join(
    [f"ldp q{16 + 2 * i}, q{17 + 2 * i}, [x0, #{32 * i}]" for i in range(2)]
    + [f"{op} v{i}.4s, v{i}.4s" for op in ("scvtf", "fcvtns") for i in range(4)]
    + [f"fmul v{i}.4s, v{i}.4s, v{16 + i}.4s" for i in range(4)]
    + [f"sqxtn v{4 + i}.4h, v{2 * i}.4s" for i in range(2)]
    + [f"sqxtn2 v{4 + i}.8h, v{2 * i + 1}.4s" for i in range(2)]
    + [f"sqadd v{4 + i}.8h, v{4 + i}.8h, v30.8h" for i in range(2)]
    + ["sqxtn v6.8b, v4.8h", "sqxtn2 v6.16b, v5.8h", "smax v6.16b, v6.16b, v28.16b"]
    + ["smin v6.16b, v6.16b, v29.16b", "str q6, [x1], #16", "add x0, x0, #64"]
    + [f"ldp q{2 * i}, q{2 * i + 1}, [x2, #{32 * i}]" for i in range(2)]
)

#: Step kind -> family, function names, what counts an element of the loop, bytes per element.
ELEMENTWISE: dict[str, tuple[str, str, str, int]] = {
    "quantize": ("convert", r"^quantize", "stored", 1),
    "dequantize": ("convert", r"^dequantize", "stored", 4),
    "add_s8": ("eltwise_s8", r"Add|^add", "stored", 1),
    "mul_s8": ("eltwise_s8", r"Mul|^mul", "stored", 1),
    "lut_s8": ("lut_s8", r"", "stored", 1),
    "maxpool_s8": ("pool_s8", r"max", "loaded", 1),
    "avgpool_s8": ("pool_s8", r"average|^avg", "loaded", 1),
    "softmax_s8": ("softmax_s8", r"", "stored", 1),
}
SCALAR_CYCLES = 10.0  # per element, where a family has no Arm row
COPY_CYCLES = 0.125  # per byte


@dataclass(frozen=True)
class Gemm:
    """Tile, columns of a block, k that lie together, and the price of the k-loop."""

    mr: int
    nr: int
    group: int
    cycles_per_mac: float
    least_rows: int  # fewer rows cost as much


def a53_count(body: Iterable[Instruction]) -> float:
    """Cycles by counting: see the A53 in CORES."""
    vector = memory = other = 0
    for instruction in body:
        moved = bytes_of(instruction)
        operands = instruction.text.split("[")[0]
        if moved and re.search(r"\bq\d|v\d+\.(?:16b|8h|4s|2d)", operands):
            memory += 2 * ((moved + 15) // 16)
        elif not moved and re.search(r"\bv\d+\.", instruction.text):
            vector += 1
        else:
            other += 1
    return memory + max(vector, (vector + other) / 2)


def _body(text: str) -> list[Instruction]:
    return [Instruction(4 * i, line) for i, line in enumerate(text.splitlines())]


@dataclass(frozen=True)
class Costs:
    """The loops that run on `core`, with their cycles there."""

    core: Core
    rows: Sequence[Analysis]

    def cycles(self, row: Analysis) -> float:
        known = row.cycles[self.core.cpu]
        assert known is not None
        return max(known, a53_count(row.loop.body)) if self.core.in_order else known

    def of_family(self, family: str, files: str = "") -> list[Analysis]:
        """The loops of the best ISA that has the family."""
        found = [r for r in self.rows if r.loop.family == family and re.search(files, r.loop.path)]
        for isa in ("neoni8mm", "neondot", "neon"):
            if best := [r for r in found if r.loop.isa == isa]:
                return best
        return []

    @cached_property
    def epilogue(self) -> float:
        """Cycles of the requantization of 16 outputs."""
        (cycles,) = run_mca(self.core.cpu, [EPILOGUE])
        return max(cycles, a53_count(_body(EPILOGUE))) if self.core.in_order else cycles

    def _per_mac(self, rows: Iterable[Analysis]) -> float:
        return min((self.cycles(r) / r.loop.macs for r in rows if r.loop.macs), default=0.0)

    def gemm(self, rows: int) -> Gemm:
        """The kernel for so many rows of A. Raises SystemExit when the build has none."""
        found = self.of_family("gemm_s8")
        if not found:
            raise SystemExit("gemm_s8 has no Arm row in this build")
        mr, nr, group = _tile(found[0].loop.isa)
        main = self._per_mac(found)
        alone = [self.cycles(r) / r.loop.row_macs for r in found if r.loop.single_row]
        vector = min(alone, default=0.0)
        if rows == 1 and vector:
            return Gemm(1, nr, group, vector, 1)
        return Gemm(mr, nr, group, main, min(2, mr))

    @cached_property
    def winograd(self) -> float:
        """Cycles per product of transformed data; 0 where it is not used."""
        if not has_cpu("neondot", self.core.cpu):
            return self._per_mac(self.of_family("winograd_s8"))
        return 0.0

    def depthwise(self, stride: int, taps: int) -> float:
        """Cycles per output, epilogue included."""
        found = self.of_family("dwconv_s8", "3x3|any" if taps == 9 else "any")
        whole = [r for r in found if r.loop.stored and r.loop.macs]
        named = [r for r in whole if f"3x3s{stride}" in r.loop.symbol] or whole
        if named and taps == 9:
            return min(self.cycles(r) / r.loop.stored for r in named)
        per_mac = self._per_mac(found)
        if not per_mac:
            return SCALAR_CYCLES * taps
        return taps * per_mac + self.epilogue / 16

    @cached_property
    def lanes(self) -> int:
        """Channels of a block of the depthwise kernel."""
        found = self.of_family("dwconv_s8")
        names = _names("dwconv_s8", found[0].loop.isa) if found else []
        return min((int(m[1]) for name in names if (m := re.search(r"_x(\d+)_", name))), default=8)

    def per_element(self, op: str) -> float:
        if op not in ELEMENTWISE:
            return COPY_CYCLES
        family, functions, count, size = ELEMENTWISE[op]
        counted: Callable[[KernelLoop], int] = lambda loop: getattr(loop, count)  # noqa: E731
        found = [
            self.cycles(r) * size / counted(r.loop)
            for r in self.of_family(family)
            if re.search(functions, r.loop.symbol) and counted(r.loop) >= 16
        ]
        # A softmax passes over its row several times.
        return (sum(found) if op == "softmax_s8" else min(found)) if found else SCALAR_CYCLES


def _names(family: str, isa: str) -> list[str]:
    text = (KERNELS / family / "kernels.inc").read_text(encoding="utf-8")
    return re.findall(rf"\b(\w+_{isa})\b", text)


def _tile(isa: str) -> tuple[int, int, int]:
    """mr, nr and group of the first GEMM row of an ISA: 8, 8, 4 of gemm_s8_8x8c4_neondot."""
    for name in _names("gemm_s8", isa):
        if match := re.match(r"gemm_s8_(\d+)x(\d+)c(\d+)_", name):
            return int(match[1]), int(match[2]), int(match[3])
    raise SystemExit(f"gemm_s8/kernels.inc: no row of {isa}")


def price(loops: Sequence[KernelLoop], core: Core) -> Costs:
    able = [loop for loop in loops if has_cpu(loop.isa, core.cpu) and assembly(loop.body)]
    return Costs(core, analyze(able, [core.cpu]))

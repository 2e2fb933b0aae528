#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Predicted times of the benchmark networks on Arm cores, from the loops that mca.py analyzes.

    PYTHONPATH=python python tools/aarch64/predict.py build/aarch64 [--markdown] [--steps NAME]

Not a measurement. A step takes the cycles of its main loop times the work, plus epilogue and
overheads (`ASSUMPTIONS`), or the time its bytes need from memory. Shapes come from the compiled
plans of bench.zoo's networks, quantized as the benchmarks do (needs the development packages).
"""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loop_costs import CORES, Core, Costs, price
from loop_counts import kernel_loops

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = (
    "mobilenet_v1", "mobilenet_v2", "resnet18", "resnet50", "squeezenet1_1", "kws_ds_cnn",
    "resnet8", "vww_mobilenet_v1_025_96", "ad_autoencoder",
)  # fmt: skip

STEP_CYCLES = 300  # dispatch, row pointers of a call, cold code
WINOGRAD_INPUT, WINOGRAD_OUTPUT = 29, 54  # cycles per tile and channel, A72, by count
TILE_INSTRUCTIONS = 60  # around the k-loop of a tile, beside 4 per row and run of K
ASSUMPTIONS = (
    "Cycles of llvm-mca 19 for the main loop times the work (every load hits L1), N padded to the "
    f"kernel's block and K to its group. A tile adds {TILE_INSTRUCTIONS} instructions and 4 per "
    "row and run of K, at "
    + ", ".join(f"{core.instructions_per_cycle:g} ({core.name.upper()})" for core in CORES)
    + " per cycle; requantization of 16 outputs its 31 instructions by the model. A vector times a "
    f"matrix takes the loop made for it. A step costs {STEP_CYCLES} cycles more. Weights come from "
    "memory when those of the network exceed the last cache, activations when input and output of "
    "the step do. Of arithmetic and memory the slower counts (A53, in order: the sum). One thread, "
    f"nothing else on the core. Winograd where it is faster and there is no sdot: {WINOGRAD_INPUT} "
    f"and {WINOGRAD_OUTPUT} cycles per tile and channel for its transforms, twice that on A53."
)


@dataclass(frozen=True)
class Step:
    """One step of a plan; shapes without the batch."""

    op: str
    family: str
    macs: int
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    weight_bytes: int
    activation_bytes: int

    @property
    def columns(self) -> int:
        return self.output[-1]

    @property
    def rows(self) -> int:
        return math.prod(self.output) // self.columns

    @property
    def k(self) -> int:
        """Length of a dot product."""
        return max(1, self.macs // math.prod(self.output))


def shape(text: str) -> tuple[int, ...]:
    """Of KernelInfo's "u8 1×112×112×32", without the batch."""
    dims = text.split(" ")[1]
    return tuple(int(d) for d in dims.split("×"))[1:]


def size(text: str) -> int:
    kind = text.split(" ")[0]
    return math.prod(shape(text)) * (int(kind[1:]) // 8)


def plan_steps(path: Path) -> list[Step]:
    """Steps of the plan of a model file, by kernel family."""
    import octavo

    steps = []
    for info in octavo.load(path).compile(isa="scalar", threads=1).kernels():
        family = info.kernel.split("_scalar")[0]
        if info.macs:
            family = "dwconv_s8" if family.startswith("dwconv") else "gemm_s8"
        moved = sum(map(size, (*info.inputs, *info.outputs)))
        inputs = tuple(map(shape, info.inputs))
        args = (info.op, family, info.macs, inputs, shape(info.outputs[0]))
        steps.append(Step(*args, info.bytes - moved, moved))
    return steps


def gemm_cycles(step: Step, core: Core, costs: Costs) -> float:
    kernel = costs.gemm(step.rows)
    columns = math.ceil(step.columns / kernel.nr) * kernel.nr
    # A k×k convolution reads as many runs of K as it has kernel rows; each is padded.
    side = math.isqrt(step.k // step.inputs[0][-1]) if len(step.inputs[0]) == 3 else 1
    runs = side if side > 1 else 1
    k = runs * math.ceil(step.k / runs / kernel.group) * kernel.group
    tiles = math.ceil(step.rows / kernel.mr)
    rows = max(step.rows, kernel.least_rows)
    around = TILE_INSTRUCTIONS + 4 * min(kernel.mr, step.rows) * runs
    epilogue = step.rows * columns / 16 * costs.epilogue
    overhead = tiles * columns / kernel.nr * around / core.instructions_per_cycle
    return rows * columns * k * kernel.cycles_per_mac + epilogue + overhead


def dwconv_cycles(step: Step, core: Core, costs: Costs) -> float:
    height, width = step.inputs[0][:2]
    stride = 2 if height * width > 2 * step.rows else 1
    channels = math.ceil(step.columns / costs.lanes) * costs.lanes
    return step.rows * channels * costs.depthwise(stride, step.k)


def other_cycles(step: Step, core: Core, costs: Costs) -> float:
    """By element of the input or output, whichever is larger."""
    read = sum(map(math.prod, step.inputs))
    if step.op == "maxpool_s8":
        read = 9 * math.prod(step.output)  # 3×3 in all of NETWORKS
    elif step.op in ("add_s8", "mul_s8"):
        read = math.prod(step.output)
    return max(read, math.prod(step.output)) * costs.per_element(step.op)


CYCLES: dict[str, Callable[[Step, Core, Costs], float]] = {
    "gemm_s8": gemm_cycles,
    "dwconv_s8": dwconv_cycles,
}


def winograd_cycles(step: Step, costs: Costs) -> float | None:
    """F(4×4, 3×3) where the core's rows and the step allow it."""
    per_mac = costs.winograd
    image, columns = step.inputs[0], step.columns
    if not per_mac or len(image) != 3 or step.k != 9 * image[-1] or step.output[:2] != image[:2]:
        return None
    tiles = math.ceil(image[0] / 4) * math.ceil(image[1] / 4)
    transforms = WINOGRAD_INPUT * image[-1] + WINOGRAD_OUTPUT * columns
    transforms *= 2 if costs.core.in_order else 1
    return tiles * (36 * image[-1] * columns * per_mac + transforms)


def seconds(step: Step, core: Core, costs: Costs, *, cold_weights: bool) -> float:
    """The faster of the ways to compute a step."""
    ways = [(CYCLES.get(step.family, other_cycles)(step, core, costs), step.weight_bytes)]
    if step.family == "gemm_s8" and (cycles := winograd_cycles(step, costs)):
        ways.append((cycles, 8 * step.weight_bytes))
    times = []
    for cycles, weights in ways:
        work = (cycles + STEP_CYCLES) / core.hertz
        cold = weights if cold_weights or weights > core.cache_bytes else 0
        if step.activation_bytes > core.cache_bytes:
            cold += step.activation_bytes
        memory = cold / core.bandwidth
        times.append(work + memory if core.in_order else max(work, memory))
    return min(times)


def network_seconds(steps: Sequence[Step], core: Core, costs: Costs) -> float:
    cold = sum(step.weight_bytes for step in steps) > core.cache_bytes
    return sum(seconds(step, core, costs, cold_weights=cold) for step in steps)


def network_steps(name: str) -> list[Step]:
    sys.path.insert(0, str(ROOT))
    from bench import qdq_cache

    return plan_steps(qdq_cache.quantized_model(name, qdq_cache.default_cache()))


def table(names: Iterable[str], costs: dict[str, Costs]) -> list[list[str]]:
    rows = [["ms, predicted", "MMAC", *(core.title for core in CORES)]]
    for name in names:
        steps = network_steps(name)
        times = [1e3 * network_seconds(steps, core, costs[core.name]) for core in CORES]
        macs = sum(step.macs for step in steps) / 1e6
        rows.append(
            [name, f"{macs:,.1f}", *(f"{t:,.0f}" if t >= 100 else f"{t:.3g}" for t in times)]
        )
    return rows


def markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def assumptions() -> str:
    lines = [textwrap.fill(ASSUMPTIONS, 150), ""]
    for core in CORES:
        lines.append(textwrap.fill(f"* {core.title}: {core.says}", 150, subsequent_indent="  "))
    return "\n".join(lines)


def print_steps(name: str, costs: dict[str, Costs]) -> None:
    """Microseconds of every step on every core."""
    steps = network_steps(name)
    weights = sum(step.weight_bytes for step in steps)
    for step in steps:
        times = [
            1e6 * seconds(step, c, costs[c.name], cold_weights=weights > c.cache_bytes)
            for c in CORES
        ]
        shapes = "×".join(map(str, step.inputs[0])) + " → " + "×".join(map(str, step.output))
        print(f"{step.family:12} {shapes:32} {step.macs / 1e6:8.2f}", *(f"{t:9.1f}" for t in times))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--steps", metavar="NAME", choices=NETWORKS, help="steps of one network")
    args = parser.parse_args()
    loops = kernel_loops(args.build)
    costs = {core.name: price(loops, core) for core in CORES}
    if args.steps:
        print_steps(args.steps, costs)
        return
    rows = table(NETWORKS, costs)
    if args.markdown:
        print(markdown(rows))
    else:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)))
    print(f"\n{assumptions()}")


if __name__ == "__main__":
    main()

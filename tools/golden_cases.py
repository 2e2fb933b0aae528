# SPDX-License-Identifier: Apache-2.0
"""The cases of tests/golden: plans and inputs that any machine builds alike, with NumPy alone.

Integers and single operations are the same everywhere; the last bit of NumPy's matrix product or
logarithm depends on the CPU. So parameters that the operators' examples fit to such results are
rounded coarsely here, and tests/golden/built.json tells whether a case was built as on the machine
that wrote it.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import octavo
from octavo import _core, ops
from octavo.ir import DTYPES, Affine, Graph, Node, verify
from octavo.ops.example_graphs import draw
from octavo.passes import run_pipeline
from octavo.plan.build import build
from octavo.quant import QRANGE

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/plan"))

from random_network import RandomNetwork

from golden_nets import NETS

Array = NDArray[Any]
#: Seed -> examples taken of each operator, evenly spread; Resize alone has 120.
EXAMPLES = {1: 1000, 2: 16}
SEEDS = tuple(EXAMPLES)
RANDOM_NETWORKS = 6
#: Their output has parameters that follow from the input's.
_BOUND_PARAMETERS = frozenset(("QuantCast", "QuantizeLinear", "DequantizeLinear"))


@dataclass(frozen=True)
class Case:
    """A plan (the bytes of a .octavo file) and the arrays of its inputs, in order."""

    name: str
    plan: bytes
    inputs: tuple[Array, ...]

    def built(self) -> str:
        """16 hexadecimal digits of what goes in."""
        digest = hashlib.sha256(self.plan)
        for array in self.inputs:
            digest.update(_described(array))
        return digest.hexdigest()[:16]

    def run(self, isa: str | None, threads: int) -> str:
        """SHA-256 of the outputs: dtype, shape and bytes of each in order."""
        plan = _core.Plan.from_bytes(self.plan)
        session = _core.Session(plan, isa, threads)
        outputs = [np.full(t["shape"], 77, DTYPES[t["dtype"]]) for t in plan.outputs]
        session.run(list(self.inputs), outputs)
        digest = hashlib.sha256()
        for array in outputs:
            digest.update(_described(array))
        return digest.hexdigest()


def _described(array: Array) -> bytes:
    return f"{array.dtype} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes()


def _coarse(affine: Affine, dtype: str) -> Affine:
    """A scale of 5 significant bits and a zero point at a quarter of the range: far from where a
    difference in the last bit of the fitted ones would show."""
    mantissa, exponent = math.frexp(float(affine.scale))
    scale = math.ldexp(math.ceil(mantissa * 32 - 0.25), exponent - 5)
    low, high = QRANGE[dtype]
    quarters = round(4 * (int(affine.zero_point) - low) / (high - low))
    return Affine.per_tensor(scale, low + quarters * (high - low) // 4)


def _reproducible(graph: Graph) -> Graph:
    """The one-node graph of an example with coarse parameters, where they were fitted."""
    (node,) = graph.nodes
    inputs, (y,) = graph.inputs_of(node), graph.outputs_of(node)
    given = [v.quant for v in inputs if v is not None and v.is_8bit]
    if not y.is_8bit or node.op in _BOUND_PARAMETERS or any(y.affine.same(q) for q in given):
        return graph
    coarse = replace(y, quant=_coarse(y.affine, y.dtype))
    if ops.get(node).int_reason(node, inputs, [coarse]) is not None:
        return graph
    return verify(graph.with_(values={**graph.values, y.name: coarse}))


def op_cases(seed: int) -> Iterator[Case]:
    """Examples of every operator, drawn with this seed."""
    for name in ops.names():
        examples = list(ops.get(Node(name, name, (), ())).examples(np.random.default_rng(seed)))
        count = min(len(examples), EXAMPLES[seed])
        for index in range(count):
            example = examples[index * len(examples) // count]
            inputs = tuple(example.inputs[key] for key in example.graph.inputs)
            plan = build(_reproducible(example.graph)).data
            yield Case(f"{name}/{example.name}@{seed}", plan, inputs)


def _shipped(seed: int) -> Iterator[Case]:
    """The networks of `octavo demo` on two held-out digits."""
    folder = Path(octavo.__file__).parent / "demo"
    with np.load(folder / "digits_heldout.npz") as data:
        images = data["test_images"].astype(np.float32) / np.float32(16)
    image = np.ascontiguousarray(images.reshape(-1, 1, 1, 8, 8)[seed])
    for name in ("digits_int8", "digits_f32"):
        yield Case(f"{name}@{seed}", (folder / f"{name}.octavo").read_bytes(), (image,))


def model_cases(seed: int) -> Iterator[Case]:
    """The shipped networks, nets of the usual kinds, and random graphs of integer operators."""
    yield from _shipped(seed)
    for name, make in NETS.items():
        graph, feed = make(np.random.default_rng(seed))
        yield Case(f"{name}@{seed}", build(run_pipeline(graph)).data, feed)
    for index in range(RANDOM_NETWORKS):
        graph = RandomNetwork(100 * seed + index).graph(steps=12 + 6 * index)
        rng = np.random.default_rng(seed)
        feed = tuple(draw(rng, graph.values[key]) for key in graph.inputs)
        yield Case(f"random_{index}@{seed}", build(run_pipeline(graph)).data, feed)


#: Name of the file in tests/golden -> its cases by seed.
KINDS = {"ops": op_cases, "models": model_cases}


def save(path: Path, cases: dict[str, list[Case]]) -> None:
    """Writes cases to an .npz file for a machine that is too slow, or builds them differently."""
    arrays: dict[str, Array] = {}
    for kind, found in cases.items():
        for index, case in enumerate(found):
            key = f"{kind}|{index}|{case.name}"
            arrays[f"{key}|plan"] = np.frombuffer(case.plan, np.uint8)
            arrays.update({f"{key}|{i}": array for i, array in enumerate(case.inputs)})
    np.savez(path, **arrays)


def load(path: Path) -> dict[str, list[Case]]:
    """What `save` wrote."""
    plans: dict[tuple[str, str], bytes] = {}
    inputs: dict[tuple[str, str], list[Array]] = {}
    with np.load(path) as data:
        for entry in data.files:  # in the order of writing
            kind, _, name, part = entry.split("|")
            if part == "plan":
                plans[kind, name] = data[entry].tobytes()
                inputs[kind, name] = []
            else:
                inputs[kind, name].append(data[entry])
    cases: dict[str, list[Case]] = {}
    for (kind, name), plan in plans.items():
        cases.setdefault(kind, []).append(Case(name, plan, tuple(inputs[kind, name])))
    return cases

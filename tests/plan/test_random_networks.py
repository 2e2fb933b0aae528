# SPDX-License-Identifier: Apache-2.0
"""Random networks: the arena checked from the plan's bytes, and C++ equal to the norm, byte
for byte, on every ISA of this machine, with one to three threads, optimized or not."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from plan_reader import check_arena, parse
from random_network import RandomNetwork

from octavo import _core
from octavo.ir import DTYPES, Graph
from octavo.ops.example_graphs import draw
from octavo.passes import run_pipeline
from octavo.plan import Plan
from octavo.plan.build import build
from octavo.plan.encode import assign_offsets
from octavo.plan.lowering import lower
from octavo.plan.tensor import ARENA, Storage
from octavo.reference import run_int

SEEDS = range(40)
ISAS = [row["name"] for row in _core.isa_list() if row["built"] and row["supported"]]


def network(seed: int) -> tuple[Graph, dict[str, np.ndarray]]:
    print(f"seed {seed}")
    graph = RandomNetwork(seed).graph(steps=(8, 20, 45)[seed % 3])
    rng = np.random.default_rng(seed)
    return graph, {name: draw(rng, graph.values[name]) for name in graph.inputs}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_plan_reads_only_what_it_wrote(seed: int) -> None:
    graph, _ = network(seed)
    check_arena(parse(build(graph).data))
    check_arena(parse(build(run_pipeline(graph)).data))


@pytest.mark.parametrize("seed", SEEDS)
def test_storages_in_use_at_the_same_step_never_overlap(seed: int) -> None:
    lowered = lower(network(seed)[0])
    assign_offsets(lowered, keep_all=False)
    used: dict[Storage, list[int]] = {}
    for index, step in enumerate(lowered.steps):
        for ref in (*step.inputs, *step.outputs):
            storage = ref.storage
            if storage.location != ARENA:
                continue
            spans = [(d - 1) * s for d, s in zip(ref.dims, ref.strides, strict=True)]
            lowest = ref.offset + sum(span for span in spans if span < 0)
            highest = ref.offset + sum(span for span in spans if span > 0)
            assert lowest >= 0 and highest < storage.size, ref
            used.setdefault(storage, []).append(index)
    for (a, steps), (b, others) in combinations(used.items(), 2):
        if min(steps) <= max(others) and min(others) <= max(steps):
            assert a.index + a.size <= b.index or b.index + b.size <= a.index, (steps, others)


@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_equal_the_norm(seed: int) -> None:
    graph, feeds = network(seed)
    expected = run_int(graph, feeds)
    inputs = [feeds[name] for name in graph.inputs]
    for form in (graph, run_pipeline(graph)):
        plan = Plan.from_bytes(build(form).data)
        for index, isa in enumerate(ISAS):
            session = _core.Session(plan, isa, 1 + (seed + index) % 3)
            for _ in range(2):  # the second run starts from a used arena
                values = [form.values[name] for name in form.outputs]
                outputs = [np.full(v.shape, 77, DTYPES[v.dtype]) for v in values]
                session.run(inputs, outputs)
                for name, found in zip(form.outputs, outputs, strict=True):
                    np.testing.assert_array_equal(found, expected[name], err_msg=f"{isa} {name}")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_tensor_can_be_read_after_a_run(seed: int) -> None:
    graph, feeds = network(seed)
    expected = run_int(graph, feeds, keep=True)
    session = _core.Session(Plan.from_bytes(build(graph, keep_all=True).data), None, 1)
    outputs = [np.empty_like(expected[name]) for name in graph.outputs]
    session.run([feeds[name] for name in graph.inputs], outputs)
    for node in graph.nodes:
        (name,) = node.outputs
        if name in graph.outputs:
            continue
        stored = expected[name]
        if stored.dtype == np.int8:  # u8 inside the arena
            stored = stored.view(np.uint8) ^ np.uint8(0x80)
        np.testing.assert_array_equal(session.read_tensor(name), stored, err_msg=name)

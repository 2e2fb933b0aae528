# SPDX-License-Identifier: Apache-2.0
"""Runs ask nothing of the system: no allocations, no page faults."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from networks import allocate, small_net, small_net_inputs

from octavo import _core

COUNTER = """
#define _GNU_SOURCE
#include <stddef.h>
#include <dlfcn.h>
long allocations;
#define COUNTED(type, name, parameters, arguments)                \\
  type name parameters {                                          \\
    static type(*next) parameters;                                \\
    if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name); \\
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);        \\
    return next arguments;                                        \\
  }
COUNTED(void*, malloc, (size_t n), (n))
COUNTED(void*, realloc, (void* p, size_t n), (p, n))
COUNTED(void*, aligned_alloc, (size_t a, size_t n), (a, n))
COUNTED(int, posix_memalign, (void** p, size_t a, size_t n), (p, a, n))
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_bound_run_allocates_nothing(tmp_path, threads):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NOT RUN: no C compiler for the counter")
    source, library = tmp_path / "counter.c", tmp_path / "counter.so"
    source.write_text(COUNTER)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", source, "-o", library, "-ldl"], check=True)
    code = f"""
import ctypes, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from networks import allocate, small_net, small_net_inputs
from octavo import _core
rng = np.random.default_rng(3)
plan = _core.Plan.from_bytes(small_net(rng, size=60).build())
session = _core.Session(plan, None, {threads})
bound = session.bind(small_net_inputs(rng, size=60), allocate(plan.outputs))
run = bound.run
counter = ctypes.c_long.in_dll(ctypes.CDLL(None), "allocations")
def count(function):
    before = counter.value
    for _ in range(1000):
        function()
    return counter.value - before
count(run)  # starts the workers, and lets Python settle
print(count(run), count(lambda: b"x" * 5000) >= 1000)
"""
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "0 True\n"


def test_the_first_run_has_no_page_faults(rng):
    # Arena and scratch of this size come from fresh pages, which prepare has to touch.
    plan = _core.Plan.from_bytes(small_net(rng, size=400).build())
    inputs = small_net_inputs(rng, size=400)
    outputs = allocate(plan.outputs)
    for output in outputs:
        output.fill(1)
    session = _core.Session(plan)
    run = session.bind(inputs, outputs).run
    pages = (session.scratch_bytes + plan.arena_bytes) // resource.getpagesize()
    assert pages > 300
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < pages / 10

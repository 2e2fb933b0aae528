# SPDX-License-Identifier: Apache-2.0
"""C++ against the norm: every op's examples on every ISA of this machine, exactly."""

import numpy as np
import pytest

from octavo import _core
from octavo.ir import DTYPES
from octavo.plan.build import build

_ISAS = {entry["name"]: entry["supported"] for entry in _core.isa_list() if entry["built"]}


@pytest.mark.parametrize("isa", [isa for isa, usable in _ISAS.items() if usable])
def test_core_gives_the_norm(case, isa):
    plan = _core.Plan.from_bytes(build(case.example.graph).data)
    session = _core.Session(plan, isa, 1)
    result = np.empty(case.output.shape, DTYPES[case.output.dtype])
    session.run([case.example.inputs[name] for name in case.example.graph.inputs], [result])
    case.check(result)


@pytest.mark.parametrize("isa", [isa for isa, usable in _ISAS.items() if not usable])
def test_core_on_other_machines(isa):
    pytest.skip(f"NOT RUN: this machine lacks {isa}")

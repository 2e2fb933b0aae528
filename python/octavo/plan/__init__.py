# SPDX-License-Identifier: Apache-2.0
"""Planning: schedule, memory, encoding. `build` is the one entry point."""

from __future__ import annotations

from octavo._core import Plan
from octavo.plan.build import PlanBytes, build
from octavo.plan.graph_json import decode_graph

__all__ = ["Plan", "PlanBytes", "build", "decode_graph"]

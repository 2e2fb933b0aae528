# SPDX-License-Identifier: Apache-2.0
"""Planning: schedule, memory, encoding. `build` is the one entry point."""

from __future__ import annotations

from octavo._core import Plan
from octavo.plan.build import PlanBytes, build

__all__ = ["Plan", "PlanBytes", "build"]

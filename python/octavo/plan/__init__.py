# SPDX-License-Identifier: Apache-2.0
"""Plans: `Plan` reads one; `octavo.plan.build.build` makes one (schedule, memory, encoding).

The planner is not imported here: a saved plan runs without it.
"""

from __future__ import annotations

from octavo._core import Plan

__all__ = ["Plan"]

# SPDX-License-Identifier: Apache-2.0
"""pytest plugin: from the time OCTAVO_DEADLINE (Unix seconds) on, tests are skipped as NOT RUN."""

from __future__ import annotations

import os
import time

import pytest

REASON = "NOT RUN: the time box is over"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.time() > float(os.environ.get("OCTAVO_DEADLINE", "inf")):
        pytest.skip(REASON)

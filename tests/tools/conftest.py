# SPDX-License-Identifier: Apache-2.0
"""Makes the scripts in tools/ and tools/aarch64/ importable by name."""

from __future__ import annotations

import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[:0] = [str(TOOLS), str(TOOLS / "aarch64")]

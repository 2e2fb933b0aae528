# SPDX-License-Identifier: Apache-2.0
"""Makes the repository's `bench` package, which is not installed, importable from any directory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

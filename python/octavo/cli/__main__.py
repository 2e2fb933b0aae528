# SPDX-License-Identifier: Apache-2.0
"""`python -m octavo.cli`."""

from __future__ import annotations

import sys

from octavo.cli import main

sys.exit(main())

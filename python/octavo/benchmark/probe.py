# SPDX-License-Identifier: Apache-2.0
"""The fresh process in which `load.py` measures one runtime with one model: python -m … REQUEST.

Nothing but NumPy and the standard library is imported before the clock starts.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def _probe(request: Mapping[str, Any]) -> dict[str, Any]:
    with np.load(request["inputs"]) as data:
        arrays = [data[f"array{i}"] for i in range(len(request["names"]))]
    feed = dict(zip(request["names"], arrays, strict=True))
    start = time.perf_counter()
    importlib.import_module(request["package"])
    imported = time.perf_counter()

    from octavo.benchmark.machine import resident_bytes
    from octavo.benchmark.peers import open_runtime

    runtime = open_runtime(request["runtime"], request["isa"])
    before = resident_bytes()
    begin = time.perf_counter()
    model = runtime.load(Path(request["path"]), request["threads"])
    result = model.call(feed)
    end = time.perf_counter()
    after = resident_bytes()
    del result
    return {
        "import_ms": 1e3 * (imported - start),
        "load_ms": 1e3 * (end - begin),
        "resident_bytes": after[0] - before[0] if before and after else None,
        "peak_bytes": after[1] - before[0] if before and after else None,
    }


if __name__ == "__main__":
    print(json.dumps(_probe(json.loads(sys.argv[1]))))

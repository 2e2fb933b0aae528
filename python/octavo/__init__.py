# SPDX-License-Identifier: Apache-2.0
"""Octavo runs quantized neural networks on CPUs: same bits everywhere, and fast.

model = octavo.load("model_qdq.onnx")
session = model.compile(threads=1)
outputs = session.run({"x": x})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from octavo.errors import OctavoError

if TYPE_CHECKING:
    from octavo.analysis.bisect import bisect
    from octavo.analysis.search import search
    from octavo.analysis.search_result import SearchResult
    from octavo.analysis.sensitivity import Sensitivity, sensitivity
    from octavo.comparison import compare
    from octavo.model import Model, load
    from octavo.plan.card import TensorInfo
    from octavo.quantization import quantize
    from octavo.quantization.preprocessing import Preprocessing
    from octavo.quantization.recipe import Recipe
    from octavo.report.explain import explain
    from octavo.report.profile import profile
    from octavo.session import Session, cpu_info

__version__ = "0.1.0"
__all__ = [
    "Model",
    "OctavoError",
    "Preprocessing",
    "Recipe",
    "SearchResult",
    "Sensitivity",
    "Session",
    "TensorInfo",
    "__version__",
    "bisect",
    "compare",
    "cpu_info",
    "explain",
    "load",
    "profile",
    "quantize",
    "search",
    "sensitivity",
]

_HOME = {
    "Model": "octavo.model",
    "Preprocessing": "octavo.quantization.preprocessing",
    "Recipe": "octavo.quantization.recipe",
    "SearchResult": "octavo.analysis.search_result",
    "Sensitivity": "octavo.analysis.sensitivity",
    "Session": "octavo.session",
    "TensorInfo": "octavo.plan.card",
    "bisect": "octavo.analysis.bisect",
    "compare": "octavo.comparison",
    "cpu_info": "octavo.session",
    "explain": "octavo.report.explain",
    "load": "octavo.model",
    "profile": "octavo.report.profile",
    "quantize": "octavo.quantization",
    "search": "octavo.analysis.search",
    "sensitivity": "octavo.analysis.sensitivity",
}


def __getattr__(name: str) -> Any:
    """Public names load on first use, so that `import octavo` is quick."""
    if name not in _HOME:
        raise AttributeError(f"module 'octavo' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value

# SPDX-License-Identifier: Apache-2.0
"""The operators: one file per op (or per close family), one class per op. See docs/ops.md."""

from __future__ import annotations

import importlib

from octavo.ops.base import Example, Lowering, Op, Tensor, get, names, register
from octavo.ops.infer import infer_graph, symbolic_shapes

__all__ = [
    "Example",
    "Lowering",
    "Op",
    "Tensor",
    "get",
    "infer_graph",
    "names",
    "register",
    "symbolic_shapes",
]

#: Modules that register ops; adding an op is one file and one line here.
_MODULES = (
    "conv",
    "linear",
    "matmul",
    "binary",
    "unary",
    "gelu",
    "layer_norm",
    "reduce_mean",
    "gather",
    "cast",
    "pool",
    "resize",
    "concat",
    "reshape",
    "transpose",
    "pad",
    "slice",
    "softmax",
    "batchnorm",
    "quantize",
)
for _module in _MODULES:
    importlib.import_module(f"octavo.ops.{_module}")

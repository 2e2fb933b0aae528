# SPDX-License-Identifier: Apache-2.0
"""ONNX files with all shapes fixed: runtimes optimize those best, so that everybody gets them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from octavo.errors import missing_extra

__all__ = ["fix_shapes"]


def fix_shapes(
    source: Path, target: Path, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> None:
    """Copy a model with symbolic input dimensions set to those of `shapes` (input name -> shape), 1
    where it has none, and all other shapes inferred from them. Raises MissingExtraError."""
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx", "an ONNX file with symbolic shapes") from error
    model = onnx.load_model(source)
    for value in model.graph.input:
        sizes = (shapes or {}).get(value.name, ())
        for index, dim in enumerate(value.type.tensor_type.shape.dim):
            wanted = sizes[index] if index < len(sizes) else 1
            dim.dim_value = dim.dim_value or wanted
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")
    # Shapes inferred with the symbol would contradict the inputs.
    del model.graph.value_info[:]
    onnx.save_model(onnx.shape_inference.infer_shapes(model), target)

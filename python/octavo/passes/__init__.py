# SPDX-License-Identifier: Apache-2.0
"""Graph rewrites: each a pure function in its own file, run in this order, verified after each."""

from __future__ import annotations

from collections.abc import Callable

from octavo.ir import Graph, verify
from octavo.passes.expand_mean import expand_mean
from octavo.passes.fold_batch_norm import fold_batch_norm
from octavo.passes.fold_constants import fold_constants, fold_dequantized
from octavo.passes.fold_scale import fold_scale
from octavo.passes.fuse_bias import fuse_bias
from octavo.passes.fuse_clamp import fuse_clamp
from octavo.passes.fuse_gelu import fuse_gelu
from octavo.passes.fuse_layer_norm import fuse_layer_norm
from octavo.passes.layout import layout
from octavo.passes.move_qdq import (
    cancel_qdq,
    merge_equal,
    push_dequantize_down,
    push_quantize_up,
)
from octavo.passes.permute_linear import permute_linear
from octavo.passes.qdq import qdq
from octavo.passes.quantize_channels import quantize_channels
from octavo.passes.quantize_layout import quantize_layout
from octavo.passes.remove_identity import remove_identity
from octavo.passes.sink_reshape import sink_reshape
from octavo.passes.transpose_to_reshape import transpose_to_reshape

__all__ = [
    "FLOAT_PIPELINE",
    "MODEL_PIPELINE",
    "PIPELINE",
    "Pass",
    "run_float_pipeline",
    "run_model_pipeline",
    "run_pipeline",
]

Pass = Callable[[Graph], Graph]

#: What the quantizer works on: the model's own structure, in which an exporter still recognizes it.
MODEL_PIPELINE: tuple[Pass, ...] = (
    remove_identity,
    fold_constants,
    fuse_gelu,
    fuse_layer_norm,
    expand_mean,
    layout,
    remove_identity,
    fold_batch_norm,
    fuse_bias,
    fold_scale,
    fuse_clamp,
)
#: What any model gets, quantized or not: NHWC, folded constants and batch norms, fused activations.
FLOAT_PIPELINE: tuple[Pass, ...] = (
    remove_identity,
    fold_constants,
    fuse_gelu,
    fuse_layer_norm,
    expand_mean,
    layout,
    transpose_to_reshape,
    permute_linear,
    sink_reshape,
    remove_identity,
    fold_batch_norm,
    fuse_bias,
    fold_scale,
    fuse_clamp,
)
#: Everything: after it, nodes on 8-bit values are integer ops and `Graph.notes` explains the rest.
PIPELINE: tuple[Pass, ...] = (
    *FLOAT_PIPELINE,
    merge_equal,
    push_dequantize_down,
    fold_constants,
    push_quantize_up,
    merge_equal,
    cancel_qdq,
    qdq,
    remove_identity,
    fuse_clamp,
    fold_dequantized,
    quantize_channels,
    quantize_layout,
)


def run_pipeline(graph: Graph) -> Graph:
    """The graph ready for the planner. Raises what `ir.verify` raises, should a pass break it."""
    return _run(PIPELINE, graph)


def run_model_pipeline(graph: Graph) -> Graph:
    """The graph ready to be quantized; a batch in front may still vary."""
    return _run(MODEL_PIPELINE, graph)


def run_float_pipeline(graph: Graph) -> Graph:
    """The float graph as it will run."""
    return _run(FLOAT_PIPELINE, graph)


def _run(passes: tuple[Pass, ...], graph: Graph) -> Graph:
    for function in passes:
        graph = verify(function(graph))
    return graph

# SPDX-License-Identifier: Apache-2.0
"""Every op's examples: shapes, and the norm against real numbers."""

import numpy as np

from octavo import ops
from octavo.ir import DTYPES
from octavo.ops.example_graphs import dequantized


def test_inferred_shape_is_the_shape_computed(case):
    graph = ops.infer_graph(case.example.graph)
    assert graph.values["y"].shape == case.expected().shape
    assert case.op.float_ref(case.node, case.real())[0].shape == graph.values["y"].shape


def test_norm_is_within_the_bound_of_real_numbers(case):
    if not case.integer:
        y = case.float_result()
        assert y.dtype == np.float32
        return
    assert case.op.int_reason(case.node, case.inputs, [case.output]) is None
    y = case.expected()
    assert y.dtype == DTYPES[case.output.dtype]
    scale = case.output.scale if case.output.is_quantized else 1.0
    error = np.abs(dequantized(case.output, y) - case.float_result()).max() / scale
    assert error <= case.example.bound


def test_operands_are_not_written(case):
    before = [None if data is None else data.copy() for data in case.stored()]
    case.expected()
    for old, new in zip(before, case.stored(), strict=True):
        np.testing.assert_array_equal(old, new)

# SPDX-License-Identifier: Apache-2.0
"""The arena is as small as the order of steps allows."""

import pytest

pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")

import octavo

SLACK = 64  # bytes behind the last tensor, which vectors may read


def test_arena_is_within_two_percent_of_the_lower_bound(model_name, model_path):
    session = octavo.load(model_path(model_name)).compile()
    assert session.arena_bytes - SLACK <= 1.02 * session.lower_bound_bytes

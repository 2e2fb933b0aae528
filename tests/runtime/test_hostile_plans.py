# SPDX-License-Identifier: Apache-2.0
"""Small files whose numbers are each within their limits and only together too large. Mutants of
ordinary plans do not find them."""

import os

import numpy as np
import pytest
from networks import window
from plan_bytes import Builder

from octavo import _core
from octavo.errors import FormatError, InvalidArgumentError, LimitError, ShapeError

INT_MAX = 2**31 - 1


def refused(builder, error, message):
    with pytest.raises(error, match=message):
        _core.Session(_core.Plan.from_bytes(builder.build()), "scalar")


def depthwise(b, x, y, ints):
    """One tap, one channel: the smallest constants a convolution may have."""
    consts = [np.ones((1, 1, 1, 1), np.int8), np.zeros(1, np.int32), np.ones(1, np.float32)]
    b.step("conv_s8", [x], [y], [*ints, 1, 0, 255, 0], consts=consts)


def test_padding_around_as_many_rows_as_there_can_be():
    """One byte seen as 2^31 - 1 rows: with the padding there are more rows than an int32 counts."""
    b = Builder()
    x = b.view(b.tensor("byte", "u8", [1, 1, 1, 1]), "x", [1, INT_MAX, 1, 1], [0, 0, 1, 1])
    y = b.tensor("y", "u8", [1, 2048, 1, 1])
    depthwise(b, x, y, [1, 1, 2**20, 1, 1, 1, 1, 0, 0, 0])
    refused(b, LimitError, "does not fit 32 bits")


def test_padding_of_terabytes():
    b = Builder()
    channels = 2**21
    x = b.tensor("x", "u8", [1, 1, 1, channels])
    y = b.tensor("y", "u8", [1, 1, 2, channels])
    ints = [1, 1, 1, 2**20, 1, 1, 0, 2**20, 0, 0, channels, 0, 255, 0]
    one = [np.ones(1, np.int8), np.zeros(1, np.int32), np.ones(1, np.float32)]
    b.step("conv_s8", [x], [y], ints, consts=one)
    refused(b, LimitError, "padded copy of 'x'")


def test_rows_further_apart_than_an_int32():
    """The second tap row starts within 2^31 bytes of the first, but ends beyond."""
    b = Builder()
    x = b.tensor("x", "u8", [1, 2, 1, 16])
    b.tensors[x]["strides"][:2] = [2**32, 2**31 - 8]
    b.arena += 2**31
    y = b.tensor("y", "u8", [1, 1, 1, 1])
    consts = [np.ones((1, 2, 1, 16), np.int8), np.zeros(1, np.int32), np.ones(1, np.float32)]
    b.step("conv_s8", [x], [y], [2, *window(1)[1:], 1, 0, 255, 0], consts=consts)
    refused(b, LimitError, "does not fit 32 bits")


@pytest.mark.parametrize("dims", [[2**30, 2**30, 4], [2**30, 2**29, 8], [2**21, 2**20]])
def test_more_bytes_than_an_int64_counts(dims):
    b = Builder()
    x = b.tensor("x", "f32", [1])
    b.view(x, "y", dims, [0] * len(dims))
    refused(b, LimitError, r"2\^40 bytes")


OVERLAPS = {
    "diagonal": ([4, 4], [1, 1]),
    "rows one byte too close": ([3, 5], [4, 1]),
    "backwards": ([3, 5], [5, -4]),
    "three loops": ([2, 3, 2], [4, 2, 1]),
}


@pytest.mark.parametrize("case", OVERLAPS)
def test_written_elements_may_not_overlap(case):
    """Which of two values stayed would depend on the thread that came last."""
    dims, strides = OVERLAPS[case]
    b = Builder()
    y = b.view(b.tensor("y", "u8", [64]), "view", dims, strides, offset=32)
    b.step("fill", [], [y], [7])
    refused(b, FormatError, "strides let elements overlap")


@pytest.mark.parametrize(
    ("dims", "strides"),
    [([3, 5], [5, 1]), ([5, 3], [1, 5]), ([3, 5], [-8, -1]), ([2, 1, 3], [3, 0, 1]), ([], [])],
)
def test_written_views_without_overlap(dims, strides):
    b = Builder()
    y = b.view(b.tensor("y", "u8", [64]), "view", dims, strides, offset=32)
    b.step("fill", [], [y], [7])
    session = _core.Session(_core.Plan.from_bytes(b.build()), "scalar")
    session.run([], [])
    assert np.all(session.read_tensor("view") == 7)


def test_name_cut_within_a_character():
    """Messages quote 200 bytes of a name."""
    b = Builder()
    x, y = b.tensor("x", "u8", [2]), b.tensor("y", "u8", [3])
    b.step("copy", [x], [y], name="a" * 199 + "\N{SNOWMAN}")
    refused(b, ShapeError, r"step 'a{199}\N{REPLACEMENT CHARACTER}' \(copy\)")


def test_file_name_that_is_not_utf8(tmp_path):
    with pytest.raises(InvalidArgumentError, match="No such file"):
        _core.Plan.open(os.fsencode(tmp_path) + b"/\xff\xfe.octavo")

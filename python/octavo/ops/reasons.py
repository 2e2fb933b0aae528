# SPDX-License-Identifier: Apache-2.0
"""Why an op cannot run in integers: the conditions that several ops share, in a phrase each."""

from __future__ import annotations

from collections.abc import Sequence

from octavo.ir import Affine, Value


def activation_reason(values: Sequence[Value | None]) -> str | None:
    """None when every present value is 8-bit affine with one scale per tensor."""
    for value in values:
        if value is None:
            continue
        if not value.is_8bit:
            return f"tensor '{value.name}' is {value.dtype}, not quantized to 8 bits"
        if not isinstance(value.quant, Affine):
            return f"tensor '{value.name}' is quantized as {type(value.quant).__name__}, not affine"
        if value.quant.axis is not None:
            return f"activation '{value.name}' has per-channel parameters"
    return None


def same_parameters_reason(values: Sequence[Value | None]) -> str | None:
    """None when all values are 8-bit with the same type, scale and zero point, bit for bit."""
    reason = activation_reason(values)
    if reason is not None:
        return reason
    present = [value for value in values if value is not None]
    first = present[0]
    for other in present[1:]:
        if other.dtype != first.dtype or not first.affine.same(other.quant):
            return f"tensors '{first.name}' and '{other.name}' differ in quantization parameters"
    return None

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
        if value.is_quantized and not value.is_8bit:
            return f"tensor '{value.name}' is {value.dtype}, of which there is no 8-bit form"
        if not value.is_8bit:
            return f"tensor '{value.name}' is {value.dtype}, not quantized to 8 bits"
        if not isinstance(value.quant, Affine):
            return f"tensor '{value.name}' is quantized as {type(value.quant).__name__}, not affine"
        if value.quant.axis is not None:
            return f"activation '{value.name}' has per-channel parameters"
    return None


def wide_reason(values: Sequence[Value | None]) -> str | None:
    """None when every present value is u8, s8 or s16, affine with one scale per tensor."""
    narrow = [value for value in values if value is not None and value.dtype != "s16"]
    for value in values:
        if value is None or value.dtype != "s16":
            continue
        if not isinstance(value.quant, Affine) or value.quant.axis is not None:
            return f"tensor '{value.name}' is s16 without one scale"
    return activation_reason(narrow)


def same_parameters_reason(values: Sequence[Value | None], *, wide: bool = False) -> str | None:
    """None when all values are 8-bit (or s16, if `wide`) with the same type, scale and zero point,
    bit for bit."""
    reason = wide_reason(values) if wide else activation_reason(values)
    if reason is not None:
        return reason
    present = [value for value in values if value is not None]
    first = present[0]
    for other in present[1:]:
        if other.dtype != first.dtype or not first.affine.same(other.quant):
            return f"tensors '{first.name}' and '{other.name}' differ in quantization parameters"
    return None

# SPDX-License-Identifier: Apache-2.0
"""Each node against ONNX's own operator schema: unknown attributes and operand counts.

An attribute that the schema does not know would be ignored by every handler, and so change the
meaning of the model silently; it is refused instead.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from octavo.errors import FormatError
from octavo.ir import Node
from octavo.ops.precision import PRECISION_KEY

if TYPE_CHECKING:
    from onnx.defs import OpSchema


@cache
def _schema(op: str, opset: int) -> OpSchema | None:
    from onnx import defs

    try:
        return defs.get_schema(op, opset, "")
    except defs.SchemaError:
        return None


def check_schema(node: Node, opset: int) -> None:
    """Raises FormatError where an operator of ONNX's own domain does not fit its schema."""
    schema = None if ":" in node.op else _schema(node.op, opset)
    if schema is None:
        return
    for key in node.attrs:
        if key not in schema.attributes and key != PRECISION_KEY:
            raise FormatError(
                f"{node.label()}: attribute '{key}' is unknown in opset {opset}; "
                f"known: {', '.join(sorted(schema.attributes)) or 'none'}"
            )
    if not schema.min_input <= len(node.inputs) <= schema.max_input:
        raise FormatError(f"{node.label()}: {len(node.inputs)} inputs in opset {opset}")
    if not schema.min_output <= len(node.outputs) <= schema.max_output or not node.outputs[0]:
        raise FormatError(f"{node.label()}: {len(node.outputs)} outputs in opset {opset}")

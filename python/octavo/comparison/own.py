# SPDX-License-Identifier: Apache-2.0
"""A layer's own error: its float function on what its quantized inputs really were.

The distance from the reference says what has gone wrong up to a layer; the distance from this says
what went wrong in it: rounding of its weights, its bias and its output, clipping, or damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo import ops
from octavo.comparison.gains import Gains, twin_constant
from octavo.comparison.truth import FloatNetwork
from octavo.errors import OctavoError
from octavo.ir import DTYPES, Graph, Node, Value, constant, verify
from octavo.reference import real_value

__all__ = ["LayerFunction"]

Array = NDArray[Any]
_CONVERSIONS = frozenset(("DequantizeLinear", "QuantCast", "QuantizeLinear", "Requantize"))


def _real(value: Value) -> Value:
    """The value on real numbers."""
    eight = value.quant is not None or value.dtype in ("u8", "s8")
    return Value(value.name, "f32" if eight else value.dtype, value.shape)


class LayerFunction:
    """The float function of a node of the quantized graph, with the reference's constants (weights,
    bias) where `twin` has them, else the model's own, dequantized."""

    def __init__(
        self,
        graph: Graph,
        node: Node,
        reference: Graph,
        twin: Node | None,
        *,
        gains: Gains,
        engine: str,
    ) -> None:
        node = replace(node, attrs={k: v for k, v in node.attrs.items() if k != "precision"})
        self.node = node
        values: dict[str, Value] = {}
        for place, name in enumerate(node.inputs):
            if not name or name in values:
                continue
            value = graph.values[name]
            if value.data is None:
                values[name] = _real(value)
                continue
            real = real_value(value, value.data)
            if twin is not None:
                theirs = twin_constant(reference, twin, place, gains)
                real = theirs if theirs is not None and theirs.shape == value.shape else real
            values[name] = constant(name, np.asarray(real))
        #: What `__call__` wants: the activations that the node reads.
        self.inputs = inputs = tuple(n for n, value in values.items() if value.data is None)
        values.update((name, _real(graph.values[name])) for name in node.outputs)
        self._dtypes = {name: DTYPES[values[name].dtype] for name in inputs}
        self._constants = {n: np.asarray(v.data) for n, v in values.items() if v.data is not None}
        self._network: FloatNetwork | None = None
        if node.op not in _CONVERSIONS and engine == "auto":
            alone = Graph(node.name, (node,), values, inputs, node.outputs)
            with suppress(OctavoError):  # NumPy then, from here
                self._network = FloatNetwork(verify(alone))

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name, of the real numbers that the inputs hold."""
        known = {
            name: np.ascontiguousarray(arrays[name], dtype) for name, dtype in self._dtypes.items()
        }
        if self._network is not None:
            found = self._network.run(known)
            return {name: found[name] for name in self.node.outputs}
        known.update(self._constants)
        args = [known[name] if name else None for name in self.node.inputs]
        return dict(
            zip(self.node.outputs, ops.get(self.node).float_ref(self.node, args), strict=True)
        )

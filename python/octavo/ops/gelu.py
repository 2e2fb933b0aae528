# SPDX-License-Identifier: Apache-2.0
"""Erf and Gelu: element-wise like those of `unary`, tables on 8-bit values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import UnsupportedError
from octavo.ir import Node
from octavo.ops import tables
from octavo.ops.base import register
from octavo.ops.unary import Unary

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _gelu_tanh(x: NDArray[np.float64]) -> NDArray[np.float64]:
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(u)))


@register
class Erf(Unary):
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""

    name = "Erf"
    code = 8

    def function(self, node: Node) -> tables.Function:
        return _erf

    def domain(self) -> tuple[float, float]:
        return (-3.0, 3.0)


@register
class Gelu(Unary):
    """x * Phi(x), Phi the normal distribution function; its tanh form where `approximate` is."""

    name = "Gelu"

    def step_code(self, node: Node) -> int:
        return 10 if self._tanh(node) else 9

    def function(self, node: Node) -> tables.Function:
        return _gelu_tanh if self._tanh(node) else _gelu

    def cases(self) -> Iterator[Mapping[str, Any]]:
        yield {"approximate": "none"}
        yield {"approximate": "tanh"}

    @staticmethod
    def _tanh(node: Node) -> bool:
        form = node.attrs.get("approximate", "none")
        if form not in ("none", "tanh"):
            raise UnsupportedError(f"{node.label()}: approximate='{form}'; only none and tanh")
        return bool(form == "tanh")

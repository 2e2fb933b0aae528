# SPDX-License-Identifier: Apache-2.0
"""Every op's examples as the parameter `case`, and what an example must give."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from octavo import ops, quant
from octavo.ir import DTYPES, Node, Value
from octavo.ops.dynamic import is_dynamic
from octavo.ops.example_graphs import dequantized

SEED = 20240611


@dataclass
class Case:
    """One example with the operands and results of its only node."""

    example: ops.Example
    node: Node = field(init=False)
    inputs: list[Value | None] = field(init=False)
    output: Value = field(init=False)

    def __post_init__(self):
        graph = self.example.graph
        (self.node,) = graph.nodes
        self.inputs = graph.inputs_of(self.node)
        (self.output,) = graph.outputs_of(self.node)

    def __str__(self):
        return f"{self.node.op}-{self.example.name}"

    @property
    def op(self):
        return ops.get(self.node)

    @property
    def integer(self):
        """Does the node compute with 8-bit activations?"""
        if is_dynamic(self.node):
            return True
        values = [self.output, *(v for v in self.inputs if v is not None and v.data is None)]
        return any(value.is_quantized for value in values)

    def stored(self):
        """Operands as stored."""
        return [
            None if v is None else self.example.inputs[v.name] if v.data is None else v.data
            for v in self.inputs
        ]

    def real(self):
        """Operands as real numbers."""
        pairs = zip(self.inputs, self.stored(), strict=True)
        return [None if v is None else dequantized(v, data) for v, data in pairs]

    def float_result(self):
        """`float_ref`, within what the output's type can hold."""
        (y,) = self.op.float_ref(self.node, self.real())
        if not self.output.is_quantized:
            return y
        limits = np.asarray(quant.STORED_RANGE[self.output.dtype])
        low, high = quant.dequantize(limits, self.output.scale, self.output.zero_point)
        return np.clip(y, low, high)

    def expected(self):
        """What C++ must give: `int_ref` where there are 8-bit values, else `float_ref`."""
        if not self.integer:
            return self.float_result()
        (y,) = self.op.int_ref(self.node, self.stored(), self.inputs, [self.output])
        return y

    def check(self, result):
        """Integers exactly; float32 within the example's bound."""
        expected = self.expected()
        assert result.dtype == DTYPES[self.output.dtype]
        if self.integer:
            np.testing.assert_array_equal(result, expected, err_msg=f"seed {SEED}")
        else:
            np.testing.assert_allclose(
                result, expected, rtol=0, atol=self.example.bound, err_msg=f"seed {SEED}"
            )


def _cases():
    for name in ops.names():
        op = ops.get(Node(name, name, (), ()))
        for example in op.examples(np.random.default_rng(SEED)):
            yield Case(example)


def _has_qlinear(case):
    """Does ONNX have an integer operator for it? Those take no clamp, QLinearMatMul no bias."""
    if not case.integer or "clamp" in case.node.attrs or is_dynamic(case.node):
        return False
    if any(value is not None and value.dtype == "s16" for value in (*case.inputs, case.output)):
        return False
    if case.node.op == "Linear":
        return case.inputs[2] is None
    return case.node.op in ("Conv", "QuantizeLinear", "DequantizeLinear")


#: Parameter name -> which examples a test with that parameter gets.
_CHOICES = {
    "case": lambda _: True,
    "stored_case": lambda case: case.output.is_8bit,
    "qlinear_case": _has_qlinear,
}


def pytest_generate_tests(metafunc):
    for parameter, wanted in _CHOICES.items():
        if parameter in metafunc.fixturenames:
            metafunc.parametrize(parameter, [c for c in _cases() if wanted(c)], ids=str)


@pytest.fixture
def rng():
    print(f"seed {SEED}")
    return np.random.default_rng(SEED)

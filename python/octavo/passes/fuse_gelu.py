# SPDX-License-Identifier: Apache-2.0
"""The erf form of Gelu, as exporters before opset 20 write it.

before: x * (1 + erf(x / sqrt(2))) * 0.5, the factors in any order;  after: Gelu(x)
"""

from __future__ import annotations

import math

from octavo.ir import Graph, Node
from octavo.passes.editor import Editor


def fuse_gelu(graph: Graph) -> Graph:
    """Only where the intermediate values have no other reader."""
    e = Editor(graph)
    for name in list(e.nodes):
        node = e.nodes.get(name)
        if node is not None and node.op == "Erf":
            _fuse(e, node)
    return e.finish()


def scalar(e: Editor, name: str) -> float | None:
    """The number that a constant of one element holds."""
    data = e.values[name].data
    return float(data.reshape(-1)[0]) if data is not None and data.size == 1 else None


def other_operand(e: Editor, node: Node, op: str, number: float) -> str | None:
    """The other operand of a commutative `op` with a constant about `number`, else None."""
    if node.op != op or node.attrs.get("clamp") is not None:
        return None
    for index in (0, 1):
        found = scalar(e, node.inputs[index])
        if found is not None and math.isclose(found, number, rel_tol=1e-4):
            return node.inputs[1 - index]
    return None


def _root(e: Editor, erf: Node) -> str | None:
    """x of erf(x / sqrt(2))."""
    before = e.producers.get(erf.inputs[0])
    if before is None or e.sole_reader(erf.inputs[0]) is None:
        return None
    if before.op == "Div":
        found = scalar(e, before.inputs[1])
        close = found is not None and math.isclose(found, math.sqrt(2), rel_tol=1e-4)
        return before.inputs[0] if close else None
    return other_operand(e, before, "Mul", math.sqrt(0.5))


def _fuse(e: Editor, erf: Node) -> None:
    x = _root(e, erf)
    plus = e.sole_reader(erf.outputs[0])
    if x is None or plus is None or other_operand(e, plus, "Add", 1.0) is None:
        return
    factors, last = _product(e, plus)
    if last is None or sorted(factors) != sorted((x, "0.5")):
        return
    attrs = {"approximate": "none"}
    y = last.outputs[0]
    e.drop(last)
    e.insert(Node(e.fresh_node(f"{erf.name}/gelu"), "Gelu", (x,), (y,), attrs))


def _product(e: Editor, node: Node) -> tuple[list[str], Node | None]:
    """What 1 + erf is multiplied with by one or two Mul, "0.5" for that number, and the last Mul.

    x * 0.5 as a factor counts as both.
    """
    factors: list[str] = []
    last = None
    while len(factors) < 2:
        reader = e.sole_reader(node.outputs[0])
        if reader is None or reader.op != "Mul" or reader.attrs.get("clamp") is not None:
            break
        others = [name for name in reader.inputs if name != node.outputs[0]]
        if len(others) != 1:
            break
        half = e.producers.get(others[0])
        inner = other_operand(e, half, "Mul", 0.5) if half is not None else None
        if scalar(e, others[0]) == 0.5:
            factors.append("0.5")
        elif inner is not None and not factors:
            factors += [inner, "0.5"]
        else:
            factors.append(others[0])
        node = last = reader
    return factors, last

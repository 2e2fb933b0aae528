# SPDX-License-Identifier: Apache-2.0
"""Moves Transpose nodes down until they meet their inverse and vanish: the graph becomes NHWC.

before: Conv -> T(nchw) -> Relu -> Add -> T(nhwc) -> Conv;  after: Conv -> Relu -> Add -> Conv

What cannot be moved through (a model output, a MatMul) keeps its Transpose. Through a reshape only
whole blocks of axes move: T -> Reshape becomes T1 -> Reshape' -> T2, where T1 permutes axes that
end up in one block (a channel shuffle) and T2 moves on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from octavo.ir import Graph, Node
from octavo.ops.attrs import normal_axis
from octavo.passes.editor import REDIMENSION, Editor
from octavo.passes.fold_constants import permuted
from octavo.passes.reshape_blocks import Split, split_reshape

Perm = tuple[int, ...]
#: Ops that work on each element alone: any Transpose passes.
ELEMENTWISE = frozenset(
    (
        "Clip",
        "DequantizeLinear",
        "Exp",
        "Erf",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "QuantCast",
        "QuantizeLinear",
        "Requantize",
        "Sigmoid",
        "Sqrt",
        "Tanh",
    )
)
BINARY = frozenset(("Add", "Div", "Mul", "Sub"))
_JOINING = BINARY | {"Concat", "Pad", "Slice"}
#: How far ahead to look for the inverse of a Transpose that would have to be split.
_LOOKAHEAD = 64


def layout(graph: Graph) -> Graph:
    """The whole movement, to its end. Every step moves a Transpose towards the outputs."""
    e = Editor(graph)
    queue = deque(node.name for node in e.nodes.values() if node.op == "Transpose")
    while queue:
        name = queue.popleft()
        if name not in e.nodes:
            continue
        y = e.nodes[name].outputs[0]
        for reader in [item.name for item in e.readers(y)]:
            # both may have been replaced while an earlier reader was dealt with
            if reader in e.nodes and y in e.nodes[reader].inputs:
                queue.extend(item.name for item in _sink(e, e.nodes[name], e.nodes[reader]))
        if not e.readers(y) and y not in e.outputs:
            e.drop(e.nodes[name])
    return e.finish()


def is_elementwise(node: Node) -> bool:
    """True for ops that any reordering of elements passes; not a Q that reorders by itself."""
    return node.op in ELEMENTWISE and "perm" not in node.attrs


def inverse(perm: Perm) -> Perm:
    """The permutation that undoes `perm`."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def perm_of(node: Node) -> Perm:
    """The permutation of a Transpose node."""
    return tuple(int(axis) for axis in node.attrs["perm"])


def _sink(e: Editor, node: Node, reader: Node) -> list[Node]:
    """Moves `node` (a Transpose) past one of its readers; the Transpose nodes that come of it."""
    if reader.op == "Transpose":
        return _merge(e, node, reader)
    if is_elementwise(reader):
        return _pass(e, reader, [node.inputs[0]], dict(reader.attrs), perm_of(node))
    if reader.op in BINARY or reader.op == "Concat":
        return _joint(e, node, reader)
    if reader.op in REDIMENSION:
        return _reshape(e, node, reader)
    attributes = _ATTRIBUTES.get(reader.op)
    if attributes is None or reader.inputs.count(node.outputs[0]) != 1:
        return []
    perm = perm_of(node)
    moved = attributes(reader, perm)
    if moved is None or reader.inputs[0] != node.outputs[0]:
        return []
    return _pass(e, reader, [node.inputs[0], *reader.inputs[1:]], moved, perm)


def _pass(
    e: Editor, reader: Node, inputs: list[str], attrs: dict[str, object], perm: Perm
) -> list[Node]:
    """`reader` on inputs of the other layout, with the Transpose behind it."""
    e.drop(reader)
    y = e.values[reader.outputs[0]]
    moved = e.add(reader.op, reader.name, inputs, attrs, like=y, output=f"{y.name}/moved")
    name = e.fresh_node(f"{reader.name}/layout")
    behind = Node(name, "Transpose", (moved.name,), (y.name,), {"perm": perm})
    return [e.insert(behind)]


def _merge(e: Editor, node: Node, reader: Node) -> list[Node]:
    """Two Transposes in a row are one, or none."""
    first, second = perm_of(node), perm_of(reader)
    perm = tuple(first[axis] for axis in second)
    merged = e.change(reader, inputs=(node.inputs[0],), attrs={"perm": perm})
    if perm == tuple(range(len(perm))) and e.bypass(merged):
        return []
    return [merged]


def _joint(e: Editor, node: Node, reader: Node) -> list[Node]:
    """Add, Mul, Concat …: every input must come through the same Transpose, be constant, or be
    there in the other layout already (a residual that starts at the model input)."""
    perm = perm_of(node)
    undo = inverse(perm)
    if len(e.values[reader.outputs[0]].shape) != len(perm):
        return []
    inputs: list[str] = []
    todo: list[int] = []
    for index, name in enumerate(reader.inputs):
        source = e.producer(name, "Transpose")
        if source is not None and perm_of(source) == perm:
            inputs.append(source.inputs[0])
            continue
        other = _transposed(e, name, undo)
        if other is not None:
            inputs.append(other)
            continue
        if e.stored_constant(name) is not None:
            todo.append(index)
        elif reader.op == "Concat" or e.values[name].size != 1:
            return []
        inputs.append(name)
    for index in todo:
        inputs[index] = e.map_constant(inputs[index], lambda value: permuted(value, undo))
    attrs = dict(reader.attrs)
    if reader.op == "Concat":
        attrs["axis"] = perm[normal_axis(reader, int(attrs["axis"]), len(perm))]
    return _pass(e, reader, inputs, attrs, perm)


def _transposed(e: Editor, name: str, perm: Perm) -> str | None:
    """The output of a Transpose by `perm` that reads this value, if there is one."""
    for reader in e.readers(name):
        if reader.op == "Transpose" and perm_of(reader) == perm:
            return reader.outputs[0]
    return None


def _axis(reader: Node, perm: Perm) -> dict[str, object] | None:
    return {
        **reader.attrs,
        "axis": perm[normal_axis(reader, int(reader.attrs["axis"]), len(perm))],
    }


def _per_axis(*keys: str) -> Callable[[Node, Perm], dict[str, object] | None]:
    """Attributes with one entry per axis: entry i of the old is entry perm[i] of the new."""

    def attributes(reader: Node, perm: Perm) -> dict[str, object] | None:
        undo = inverse(perm)
        moved = {key: tuple(reader.attrs[key][axis] for axis in undo) for key in keys}
        return {**reader.attrs, **moved}

    return attributes


def _softmax_axis(reader: Node, perm: Perm) -> dict[str, object] | None:
    """A softmax over the last axis stays there: along another one it has no integer form."""
    moved = _axis(reader, perm)
    last = len(perm) - 1
    was_last = normal_axis(reader, int(reader.attrs["axis"]), len(perm)) == last
    return None if moved is None or (was_last and moved["axis"] != last) else moved


def _last_axis_kept(reader: Node, perm: Perm) -> dict[str, object] | None:
    return dict(reader.attrs) if perm[-1] == len(perm) - 1 else None


_ATTRIBUTES: dict[str, Callable[[Node, Perm], dict[str, object] | None]] = {
    "BatchNorm": _axis,
    "Linear": _last_axis_kept,
    "Pad": _per_axis("begin", "end"),
    "Slice": _per_axis("starts", "ends", "steps"),
    "Softmax": _softmax_axis,
}


def _reshape(e: Editor, node: Node, reader: Node) -> list[Node]:
    y = e.values[reader.outputs[0]]
    mid = e.values[node.outputs[0]].shape
    split = split_reshape(mid, y.shape, perm_of(node), pin_first=bool(e.graph.dynamic))
    if split is None:
        return []
    shuffles = split.before != tuple(range(len(mid)))
    if shuffles and not _meets(e, y.name, inverse(split.after)):
        return []
    return _split(e, node, reader, split, shuffles)


def _split(e: Editor, node: Node, reader: Node, split: Split, shuffles: bool) -> list[Node]:
    e.drop(reader)
    y = e.values[reader.outputs[0]]
    source = node.inputs[0]
    made: list[Node] = []
    if shuffles:
        name = f"{reader.name}/shuffle"
        source = e.add("Transpose", name, [source], {"perm": split.before}).name
        made.append(e.producers[source])
    attrs = {"shape": split.target}
    moved = e.add("Reshape", reader.name, [source], attrs, output=f"{y.name}/moved")
    name = e.fresh_node(f"{reader.name}/layout")
    behind = Node(name, "Transpose", (moved.name,), (y.name,), {"perm": split.after})
    return [*made, e.insert(behind)]


def _meets(e: Editor, name: str, perm: Perm) -> bool:
    """True where the value reaches a Transpose by `perm` through ops that let it pass."""
    queue, seen = deque([name]), {name}
    while queue and len(seen) < _LOOKAHEAD:
        for reader in e.readers(queue.popleft()):
            if reader.op == "Transpose" and perm_of(reader) == perm:
                return True
            passes = is_elementwise(reader) or reader.op in _JOINING
            if passes and reader.outputs[0] not in seen:
                seen.add(reader.outputs[0])
                queue.append(reader.outputs[0])
    return False

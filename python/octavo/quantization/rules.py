# SPDX-License-Identifier: Apache-2.0
"""Which values are quantized, and which of them share parameters."""

from __future__ import annotations

from collections.abc import Collection

from octavo.ir import Affine, Graph, Node

__all__ = [
    "FIXED_PARAMETERS",
    "has_constant_weights",
    "quantized_nodes",
    "quantized_values",
    "sharing_groups",
]

_ARITHMETIC = frozenset(
    {
        "Add",
        "AveragePool",
        "Clip",
        "Conv",
        "Erf",
        "Gather",
        "Gelu",
        "GlobalAveragePool",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "LayerNorm",
        "Linear",
        "MatMul",
        "Mul",
        "Sigmoid",
        "Softmax",
        "Tanh",
    }
)
#: Ops whose 8-bit form needs equal parameters on both sides, or is cheapest with them.
_SAME_PARAMETERS = frozenset(
    {
        "Concat",
        "Flatten",
        "Gather",
        "MaxPool",
        "Pad",
        "Reshape",
        "Resize",
        "Slice",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
#: Outputs whose range is known without data (the same choice as TFLite's specification, in u8).
FIXED_PARAMETERS = {
    "Sigmoid": Affine.per_tensor(1.0 / 256.0, 0),
    "Softmax": Affine.per_tensor(1.0 / 256.0, 0),
    "Tanh": Affine.per_tensor(1.0 / 128.0, 128),
}


def quantized_nodes(graph: Graph, exclude: Collection[str]) -> list[Node]:
    """Float nodes that will run in integers: arithmetic ones with an 8-bit form, and byte movers
    that stand next to one of them. `exclude` are node names that stay float."""
    exclude = {*exclude, *_mask_nodes(graph)}
    arithmetic = {
        node.name
        for node in graph.nodes
        if node.op in _ARITHMETIC
        and node.name not in exclude
        and graph.values[node.outputs[0]].dtype == "f32"
        and has_constant_weights(graph, node)
    }
    chosen = set(arithmetic)
    changed = True
    while changed:  # byte movers join as long as a neighbour is quantized
        changed = False
        for node in graph.nodes:
            if node.op not in _SAME_PARAMETERS or node.name in chosen or node.name in exclude:
                continue
            before = [graph.producers.get(name) for name in node.inputs if name]
            if any(producer is not None and producer.name in chosen for producer in before):
                chosen.add(node.name)
                changed = True
    return [node for node in graph.nodes if node.name in chosen]


def _mask_nodes(graph: Graph) -> set[str]:
    """What makes a mask out of integers, adds it to attention scores, and the Softmax behind.

    The large negative number of a mask leaves no 8-bit steps for the scores, and calibration data
    without padding would not even show it.
    """
    mask: set[str] = set()
    masked: set[str] = set()
    found: set[str] = set()
    for node in graph.nodes:
        data = [name for name in node.inputs if name and graph.values[name].data is None]
        if node.op == "Cast" or (data and mask.issuperset(data)):
            mask.update(node.outputs)
        elif node.op == "Add" and mask.intersection(data):
            masked.update(node.outputs)
        elif node.op != "Softmax" or not masked.issuperset(data):
            continue
        found.add(node.name)
    return found


def has_constant_weights(graph: Graph, node: Node) -> bool:
    """False for a layer whose weights or parameters are computed, or are no float32."""
    if node.op not in ("Conv", "LayerNorm", "Linear"):
        return True
    parameters = [graph.values[name] for name in node.inputs[1:] if name]
    return all(value.data is not None and value.dtype == "f32" for value in parameters)


def quantized_values(
    graph: Graph, nodes: list[Node], real_outputs: Collection[str] = ()
) -> list[str]:
    """Activations that get parameters, in graph order: every data input and output of `nodes`.

    Not what a Linear layer writes for nodes in float32 alone: its sums become real numbers without
    another rounding. Nor what one named in `real_outputs` writes as a model output.
    """
    names: dict[str, None] = {}
    chosen = {node.name for node in nodes}
    for node in nodes:
        data = node.inputs[:1] if node.op in ("Conv", "LayerNorm", "Linear") else node.inputs
        real = _read_in_float(graph, node, chosen, real_outputs)
        outputs = () if real else node.outputs
        for name in (*data, *outputs):
            if name and graph.values[name].dtype == "f32":
                names[name] = None
    return list(names)


def _read_in_float(
    graph: Graph, node: Node, chosen: Collection[str], real_outputs: Collection[str]
) -> bool:
    name = node.outputs[0]
    readers = graph.consumers.get(name, ())
    if node.op != "Linear" or any(reader.name in chosen for reader in readers):
        return False
    return node.name in real_outputs if name in graph.outputs else bool(readers)


def sharing_groups(graph: Graph, nodes: list[Node], values: list[str]) -> list[list[str]]:
    """Partition of `values`: members of a group get the same parameters (union-find)."""
    parent = {name: name for name in values}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for node in nodes:
        if node.op in _SAME_PARAMETERS:
            names = [name for name in (*node.inputs, *node.outputs) if name in parent]
            for name in names[1:]:
                parent[root(name)] = root(names[0])
    groups: dict[str, list[str]] = {}
    for name in values:
        groups.setdefault(root(name), []).append(name)
    return list(groups.values())

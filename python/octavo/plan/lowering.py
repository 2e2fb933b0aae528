# SPDX-License-Identifier: Apache-2.0
"""Graph to steps: the implementation of `ops.base.Lowering`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from octavo import ops
from octavo.errors import UnsupportedError
from octavo.ir import DTYPES, Graph, Node, Shape, Value
from octavo.ops import Tensor
from octavo.plan.layout import Layout, choose_layout
from octavo.plan.tensor import (
    INPUT,
    OUTPUT,
    Storage,
    TensorRef,
    dense_strides,
    itemsize,
    new_tensor,
)
from octavo.plan.views import Views, choose_views
from octavo.quant import clamp_bounds

__all__ = ["Lowered", "Step", "lower"]

Array = NDArray[Any]
_FLIP = 128  # an s8 value q is the plan's u8 value q + 128


@dataclass(frozen=True, eq=False)
class Step:
    """One line of the plan."""

    kind: str
    name: str
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]
    ints: tuple[int, ...]
    floats: tuple[float, ...]
    consts: tuple[Array, ...]
    macs: int


@dataclass(frozen=True, eq=False)
class Lowered:
    """Steps, and the plan's input and output tensors in the graph's order."""

    steps: tuple[Step, ...]
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]
    values: dict[str, TensorRef]


class _Lowerer:
    """See `ops.base.Lowering` for what each method promises."""

    def __init__(self, graph: Graph, layout: Layout, views: Views) -> None:
        self._graph = graph
        self._layout = layout
        self._views = views
        self._node: Node | None = None
        self._steps: list[Step] = []
        self._refs: dict[str, TensorRef] = {}
        self._inputs = {n: self._external(n, INPUT, i) for i, n in enumerate(graph.inputs)}
        self._outputs = {n: self._external(n, OUTPUT, i) for i, n in enumerate(graph.outputs)}
        self._written: set[str] = set()

    def _external(self, name: str, location: int, index: int) -> TensorRef:
        value = self._graph.values[name]
        scale, zero_point = (value.scale, value.zero_point) if value.is_quantized else (1.0, 0)
        strides = dense_strides(value.shape, itemsize(value.dtype))
        storage = Storage(location, index=index)
        return TensorRef(
            name, storage, value.dtype, value.shape, strides, 0, (0, 0, 0, 0), scale, zero_point
        )

    def value(self, name: str) -> Value:
        return self._graph.values[name]

    def quant(self, name: str) -> tuple[float, int]:
        value = self.value(name)
        shift = _FLIP if value.dtype == "s8" else 0
        return value.scale, value.zero_point + shift

    def bounds(self, name: str, clamp: tuple[float, float] | None) -> tuple[int, int]:
        value = self.value(name)
        low, high = clamp_bounds(clamp, value.scale, value.zero_point, value.dtype)
        shift = _FLIP if value.dtype == "s8" else 0
        return low + shift, high + shift

    def _new(self, name: str) -> TensorRef:
        """Arena tensor of a value: its own storage, or a channel slice of the concat it feeds."""
        value = self.value(name)
        quant = self.quant(name) if value.is_quantized else (1.0, 0)
        if name in self._layout.parents:
            parent_name, channel = self._layout.parents[name]
            parent = self._refs.get(parent_name) or self._new(parent_name)
            self._refs[parent_name] = parent
            view = parent.slice((0, 0, 0, channel), value.shape, (1, 1, 1, 1))
            return replace(view, name=name, halo=parent.halo, scale=quant[0], zero_point=quant[1])
        if name in self._views.written:
            target, perm = self._views.written[name]
            ref = self.out(target)
            view = ref.permute([perm.index(axis) for axis in range(len(perm))])
            return replace(view, name=name, scale=quant[0], zero_point=quant[1])
        dtype = "u8" if value.is_8bit else value.dtype
        halo = self._layout.halos.get(name, (0, 0, 0, 0))
        return new_tensor(name, dtype, value.shape, halo=halo, quant=quant)

    def tensor(self, name: str, *, direct: bool = False) -> TensorRef:
        if name in self._refs:
            return self._refs[name]
        value = self.value(name)
        if direct and name in self._inputs:
            return self._inputs[name]
        target = self._new(name)
        if value.data is not None:
            data = value.data
            if value.is_8bit and value.dtype == "s8":
                data = data.view(np.uint8) ^ np.uint8(0x80)
            self.emit("load_constant", (), (target,), consts=(data,))
        elif name in self._inputs:
            kind = "flip" if value.is_8bit and value.dtype == "s8" else "copy"
            self.emit(kind, (self._inputs[name],), (target,))
        else:
            raise UnsupportedError(f"tensor '{name}' is read before it is written")
        self._refs[name] = target
        return target

    def out(self, name: str, *, direct: bool = False) -> TensorRef:
        if direct and name in self._outputs and not self._graph.consumers.get(name):
            self._written.add(name)
            return self._outputs[name]
        if name not in self._refs:
            self._refs[name] = self._new(name)
        return self._refs[name]

    def is_view(self, name: str) -> bool:
        return name in self._views.read

    def alias(self, name: str, tensor: Tensor) -> None:
        ref = cast(TensorRef, tensor)
        value = self.value(name)
        scale, zero_point = self.quant(name) if value.is_quantized else (1.0, 0)
        self._refs[name] = replace(ref, name=name, scale=scale, zero_point=zero_point)

    def temp(self, dtype: str, dims: Shape) -> TensorRef:
        return new_tensor(f"{self._step_name()}:temp{len(self._steps)}", dtype, dims)

    def _step_name(self) -> str:
        return self._node.name if self._node is not None else "io"

    def emit(
        self,
        kind: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        *,
        ints: Sequence[int] = (),
        floats: Sequence[float] = (),
        consts: Sequence[Array] = (),
        macs: int = 0,
    ) -> None:
        sources, targets = cast(Sequence[TensorRef], inputs), cast(Sequence[TensorRef], outputs)
        if kind == "copy" and sources[0].same_bytes(targets[0]):
            return  # a concat input that was written in place
        index = len(self._steps)
        for ref in (*sources, *targets):
            ref.storage.touch(index)
        self._steps.append(
            Step(
                kind,
                self._step_name(),
                tuple(sources),
                tuple(targets),
                tuple(int(i) for i in ints),
                tuple(float(f) for f in floats),
                tuple(consts),
                int(macs),
            )
        )

    def _write_outputs(self) -> None:
        """Copies every model output that no step wrote in place."""
        self._node = None
        for name, target in self._outputs.items():
            if name in self._written:
                continue
            value = self.value(name)
            source = self.tensor(name, direct=True)
            flip = value.is_8bit and value.dtype == "s8" and source.storage.location != INPUT
            self.emit("flip" if flip else "copy", (source,), (target,))

    def run(self) -> Lowered:
        for node in self._graph.nodes:
            self._node = node
            ops.get(node).lower(node, self)
        self._write_outputs()
        steps = tuple(self._steps)
        return Lowered(
            steps, tuple(self._inputs.values()), tuple(self._outputs.values()), self._refs
        )


def lower(graph: Graph) -> Lowered:
    """Lowers a verified graph, node by node in its order.

    Raises UnsupportedError (naming the node) where an op has no step for its values.
    """
    for value in graph.values.values():
        if value.dtype not in DTYPES:
            raise UnsupportedError(f"tensor '{value.name}': dtype {value.dtype}")
    return _Lowerer(graph, choose_layout(graph), choose_views(graph)).run()

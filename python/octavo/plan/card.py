# SPDX-License-Identifier: Apache-2.0
"""The `card` section: what callers see of a model, small enough to read before anything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from octavo.errors import FormatError
from octavo.ir import Graph

__all__ = ["ModelCard", "TensorInfo", "decode_card", "encode_card", "make_card"]

VERSION = 1
_LIMIT = 1 << 20


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a model. A symbolic dimension is its name; `scale` and `zero_point` are
    None for float tensors."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    scale: float | None = None
    zero_point: int | None = None

    def takes(self, shape: Sequence[int]) -> bool:
        """May the tensor have this shape? A symbolic dimension takes any size > 0."""
        return len(shape) == len(self.shape) and all(
            want == have if isinstance(want, int) else have > 0
            for want, have in zip(self.shape, shape, strict=True)
        )

    def __str__(self) -> str:
        dims = "×".join(str(dim) for dim in self.shape) or "scalar"
        text = f"{self.name}: {self.dtype} {dims}"
        if self.scale is None:
            return text
        return f"{text} scale {self.scale:.6g} zero point {self.zero_point}"


@dataclass(frozen=True)
class ModelCard:
    """A model's name, inputs and outputs in order."""

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @property
    def dynamic(self) -> bool:
        """True when some input dimension is symbolic."""
        return any(isinstance(dim, str) for info in self.inputs for dim in info.shape)


def _info(graph: Graph, name: str, shape: tuple[int | str, ...]) -> TensorInfo:
    value = graph.values[name]
    if value.is_quantized:
        return TensorInfo(name, value.dtype, shape, value.scale, value.zero_point)
    return TensorInfo(name, value.dtype, shape)


def make_card(graph: Graph) -> ModelCard:
    """The card of an imported graph."""
    from octavo.ops import symbolic_shapes  # a card that is only read needs no operators

    shapes = symbolic_shapes(graph)
    return ModelCard(
        graph.name,
        tuple(_info(graph, name, shapes[name]) for name in graph.inputs),
        tuple(_info(graph, name, shapes[name]) for name in graph.outputs),
    )


def encode_card(card: ModelCard) -> bytes:
    """JSON bytes of a card."""
    return json.dumps({"version": VERSION, **asdict(card)}, separators=(",", ":")).encode()


def _decode_info(entry: Any) -> TensorInfo:
    return TensorInfo(
        str(entry["name"]),
        str(entry["dtype"]),
        tuple(dim if isinstance(dim, str) else int(dim) for dim in entry["shape"]),
        None if entry["scale"] is None else float(entry["scale"]),
        None if entry["zero_point"] is None else int(entry["zero_point"]),
    )


def decode_card(payload: memoryview) -> ModelCard:
    """The card of a `card` section. Raises FormatError when the JSON is not one."""
    try:
        if len(payload) > _LIMIT:
            raise ValueError(f"{len(payload)} bytes")
        document = json.loads(bytes(payload))
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']}, this reads {VERSION}")
        return ModelCard(
            str(document["name"]),
            tuple(_decode_info(entry) for entry in document["inputs"]),
            tuple(_decode_info(entry) for entry in document["outputs"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise FormatError(f"the card section is damaged: {error!r:.200}") from error

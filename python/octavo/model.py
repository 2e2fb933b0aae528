# SPDX-License-Identifier: Apache-2.0
"""`load` and `Model`: from a file to something that can be inspected, compiled and saved."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from octavo.errors import (
    FormatError,
    InvalidArgumentError,
    ShapeError,
    StrictError,
)
from octavo.files import write_atomic
from octavo.ir import Graph
from octavo.plan import Plan
from octavo.plan.card import ModelCard, TensorInfo, decode_card, make_card
from octavo.session import Session, Shapes

# Operators, passes and the planner load when a graph has to be planned or shown: a .octavo file is
# loaded and run without them, in a third of the time.
if TYPE_CHECKING:
    from onnx import ModelProto

    from octavo.plan.build import PlanBytes

__all__ = ["Model", "load"]

Array = NDArray[Any]
Source = str | os.PathLike[str]
InputShapes = Mapping[str, tuple[int, ...]]


class Model:
    """A network: graph, weights, and (for a quantized one) its arithmetic. Immutable.

    `source` is the graph as imported; `graph` the optimized one that plans are made from;
    `reference` the float network it was quantized from, where known.
    """

    def __init__(
        self,
        source: Graph | Plan,
        *,
        path: str | None = None,
        reference: Graph | None = None,
    ) -> None:
        self.path = path
        self.reference = reference
        self._source = source

    @property
    def _plan(self) -> Plan | None:
        """The plan read from a .octavo file, for the default shapes."""
        return self._source if isinstance(self._source, Plan) else None

    @cached_property
    def source(self) -> Graph:
        """The graph as imported. Raises FormatError if that part of a .octavo file is damaged."""
        if isinstance(self._source, Graph):
            return self._source
        from octavo.plan.graph_json import decode_graph

        return decode_graph(_section(self._source, "graph"), _section(self._source, "constants"))

    @cached_property
    def _card(self) -> ModelCard:
        """What callers see of the model; read from the file without decoding the graph."""
        if isinstance(self._source, Graph):
            return make_card(self._source)
        return decode_card(_section(self._source, "card"))

    @property
    def name(self) -> str:
        """The graph's name."""
        return self._card.name

    @cached_property
    def graph(self) -> Graph:
        """The optimized graph: NHWC, integer nodes where values are 8-bit, fused activations."""
        from octavo.passes import run_pipeline

        return run_pipeline(self.source)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs in order; a symbolic dimension is its name."""
        return self._card.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs in order."""
        return self._card.outputs

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference with the default shapes."""
        from octavo import ops

        graph = self.graph
        return sum(ops.get(n).macs(n, graph.inputs_of(n), graph.outputs_of(n)) for n in graph.nodes)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants of the optimized graph."""
        return sum(v.data.nbytes for v in self.graph.values.values() if v.data is not None)

    @property
    def float_reasons(self) -> Mapping[str, str]:
        """Node name -> why it runs in float32 although the model is quantized; empty is good."""
        return self.graph.notes

    def compile(
        self,
        *,
        threads: int = 1,
        isa: str | None = None,
        shapes: InputShapes | None = None,
        strict: bool = False,
        keep_all: bool = False,
        tune: bool | Source = False,
        cache: Source | None = None,
    ) -> Session:
        """A Session for this CPU.

        `threads` ≥ 1; `isa` (or the environment variable OCTAVO_ISA) restricts the instruction
        sets, e.g. "scalar" or "avx2"; `shapes` gives symbolic dimensions other sizes than 1;
        `strict` refuses any float32 step in a quantized model; `keep_all` gives every tensor memory
        of its own, so that `Session.read_tensor` can read all of them.

        `tune=True` times every kernel that can run a step (a few ms per layer) and takes the
        fastest instead of the cost model's choice; a path keeps the times in a JSON file for the
        next process. The results do not depend on it, bit for bit. `cache` is a folder that keeps
        packed weights, so that the next process maps them instead of packing.

        Raises IsaError, StrictError, ShapeError, UnsupportedError, InvalidArgumentError, and
        FormatError where `tune` names a file of another kind.
        """
        if type(threads) is not int or not 1 <= threads <= 1024:
            raise InvalidArgumentError(f"threads={threads!r}: pass a whole number from 1 to 1024")
        if strict:
            self._refuse_float()
        if self._plan is not None and shapes is None and not keep_all:
            plan = self._plan
        else:
            plan = self._build(self._resolve(shapes), keep_all)
        choose = None
        if tune is not False:
            from octavo.tuning import tuner_for

            choose = tuner_for(tune)
        return Session(
            plan,
            (self.inputs, self.outputs),
            isa=isa,
            threads=threads,
            reasons=_LazyReasons(self),
            replan=(lambda s: self._build(s, keep_all)) if self._card.dynamic else None,
            tune=choose,
            cache=cache,
        )

    def _refuse_float(self) -> None:
        if self.float_reasons:
            lines = [f"  {node}: {reason}" for node, reason in self.float_reasons.items()]
            raise StrictError(
                f"strict: {len(lines)} steps of '{self.name}' would run in float32:\n"
                + "\n".join(lines)
            )

    def _resolve(self, shapes: InputShapes | None) -> Shapes:
        if shapes is not None and not isinstance(shapes, Mapping):
            raise InvalidArgumentError(f"shapes={shapes!r}: pass a dict of input name -> shape")
        wanted = {name: _dims(name, shape) for name, shape in (shapes or {}).items()}
        unknown = [name for name in wanted if name not in self.source.inputs]
        if unknown:
            raise InvalidArgumentError(
                f"shapes for unknown inputs {unknown}; the model has {list(self.source.inputs)}"
            )
        for info in self.inputs:
            if info.name in wanted and not info.takes(wanted[info.name]):
                raise ShapeError(
                    f"input '{info.name}' has shape {wanted[info.name]}; the model takes "
                    f"{info} (a name stands for any size > 0)"
                )
        return tuple(
            wanted.get(name, self.source.values[name].shape) for name in self.source.inputs
        )

    def _sized(self, shapes: InputShapes) -> Graph:
        """The graph as imported, for other input shapes."""
        from octavo.ops import infer_graph

        named = dict(zip(self.source.inputs, self._resolve(shapes), strict=True))
        return infer_graph(self.source, named)

    def graph_for(self, shapes: InputShapes | None = None) -> Graph:
        """The optimized graph for some input shapes; see `compile`."""
        return self._optimized(self._resolve(shapes))

    def _optimized(self, shapes: Shapes) -> Graph:
        from octavo.ops import infer_graph
        from octavo.passes import run_pipeline

        default = tuple(self.source.values[name].shape for name in self.source.inputs)
        if shapes == default:
            return self.graph
        named = dict(zip(self.source.inputs, shapes, strict=True))
        return run_pipeline(infer_graph(self.source, named))

    def _build(self, shapes: Shapes, keep_all: bool) -> Plan:
        from octavo.plan.build import build

        return Plan.from_bytes(build(self._optimized(shapes), keep_all=keep_all).data)

    def plan_bytes(self) -> PlanBytes:
        """The complete `.octavo` container for the default shapes."""
        from octavo.plan.build import build

        return build(self.graph, source=self.source)

    def save(self, path: Source, *, compress: bool = False) -> None:
        """Writes a `.octavo` file, atomically (docs/format.md).

        `compress` deflates it, which saves a tenth for shipping: `octavo.load` unfolds it in
        memory; the C interface, which maps files, does not read it.

        Raises InvalidArgumentError when the path cannot be written.
        """
        if compress:
            from octavo.plan.deflated import deflate

            write_atomic(path, deflate(self.plan_bytes().data))
        else:
            self.plan_bytes().save(path)

    def to_onnx(self, path: Source | None = None) -> ModelProto:
        """The model as ONNX (QuantizeLinear/DequantizeLinear where quantized), written to `path`
        if given. Needs the extra `octavo[onnx]` (MissingExtraError)."""
        from octavo.exporters.onnx import export_onnx

        return export_onnx(self.source, path)

    def __repr__(self) -> str:
        inputs = ", ".join(str(info) for info in self.inputs)
        return f"<octavo.Model '{self.name}' ({inputs}), {len(self.outputs)} outputs>"


def _dims(name: str, shape: Sequence[int]) -> tuple[int, ...]:
    """A caller's shape as a tuple. Raises InvalidArgumentError unless it is whole numbers."""
    try:
        return tuple(operator.index(dim) for dim in shape)
    except TypeError:
        raise InvalidArgumentError(
            f"shape {shape!r} of input '{name}': pass a tuple of whole numbers"
        ) from None


class _LazyReasons(Mapping[str, str]):
    """`Model.float_reasons`, computed only when somebody asks: loading a plan needs no graph."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __getitem__(self, key: str) -> str:
        return self._model.float_reasons[key]

    def __iter__(self) -> Any:
        return iter(self._model.float_reasons)

    def __len__(self) -> int:
        return len(self._model.float_reasons)


def load(path: Source, *, shapes: InputShapes | None = None) -> Model:
    """Reads a model by its file name's ending: `.onnx` (float, QDQ, QOperator; needs the extra
    `octavo[onnx]`), `.tflite` (float, int8, uint8; needs `octavo[tflite]`) or `.octavo`.

    `shapes` binds symbolic input dimensions to other sizes than 1.

    Raises InvalidArgumentError (missing file, unknown ending, shapes that are no whole numbers),
    FormatError, UnsupportedError, GraphError, QuantizationError, ShapeError, LimitError,
    MissingExtraError.
    """
    location = Path(path)
    if not location.is_file():
        raise InvalidArgumentError(f"no such file: '{location}'")
    ending = location.suffix.lower()
    reader = {".octavo": _load_octavo, ".onnx": _load_onnx, ".tflite": _load_tflite}.get(ending)
    if reader is not None:
        try:
            return reader(location, shapes)
        except FormatError as error:
            if str(location) in str(error):
                raise
            raise FormatError(f"'{location}': {error}") from error
    raise InvalidArgumentError(
        f"'{location}': unknown ending '{ending}'; known: .onnx, .tflite, .octavo"
    )


def _section(plan: Plan, name: str) -> memoryview:
    """A section of a .octavo file that Python needs. Raises FormatError when it is not there."""
    payload = plan.section(name)
    if payload is None:
        raise FormatError(f"the file has no section '{name}': it runs from C, but Python needs it")
    return memoryview(payload)


def _load_onnx(location: Path, shapes: InputShapes | None) -> Model:
    from octavo.importers.onnx import load_onnx

    return Model(load_onnx(location, shapes), path=str(location))


def _load_tflite(location: Path, shapes: InputShapes | None) -> Model:
    from octavo.importers.tflite import load_tflite

    return Model(load_tflite(location, shapes), path=str(location))


def _load_octavo(location: Path, shapes: InputShapes | None) -> Model:
    from octavo.plan.deflated import read_deflated

    unfolded = read_deflated(location)
    plan = Plan.open(str(location)) if unfolded is None else Plan.from_bytes(unfolded)
    model = Model(plan, path=str(location))
    _section(plan, "graph")
    _ = model.inputs  # a file without a readable card is refused here, not at the first use
    return model if shapes is None else Model(model._sized(shapes), path=str(location))

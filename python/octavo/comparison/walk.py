# SPDX-License-Identifier: Apache-2.0
"""`octavo.compare`: both networks over the data, batch by batch, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.comparison.data import Data, Preprocess, batches_of, sample_count
from octavo.comparison.gains import Gains, find_gains, stored_gains
from octavo.comparison.own import LayerFunction
from octavo.comparison.result import Comparison
from octavo.comparison.statistics import InputStatistics, OutputStatistics, TensorStatistics
from octavo.comparison.truth import ENGINES, Truth
from octavo.errors import InvalidArgumentError
from octavo.ir import Graph, Node, Value
from octavo.model import Model, Source, load
from octavo.ops.precision import executed
from octavo.reference import real_value

__all__ = ["Progress", "compare"]

Array = NDArray[Any]
#: Called with the number of samples done and of all samples (None: not known yet).
Progress = Callable[[int, int | None], None]
_MODELS = (".octavo", ".onnx", ".tflite")


def compare(
    model: Source | Model,
    inputs: Source | Model | Data | None = None,
    data: Data | None = None,
    *,
    reference: Source | Model | None = None,
    isa: str | None = None,
    threads: int = 1,
    own: bool = True,
    engine: str = "auto",
    preprocess: Preprocess = None,
    progress: Progress | None = None,
) -> Comparison:
    """Runs a quantized model and its float reference over the same data, layer by layer.

        compare(q, "float.onnx", data)      # the reference as a path or a Model
        compare(q, data, reference=model)   # the same
        compare(q, data)                    # against what q was quantized from

    `data` is one batch (a dict of name -> array, or an array for a model with one input), a list or
    iterator of batches, the path of a .npy or .npz file, or a folder of images, prepared as the
    model was saved with or as `preprocess` says; statistics are sums over batches, so any number of
    samples takes the memory of one batch. Batches are cut where the model's first
    axis is a batch; other shapes must be what the model takes.

    The reference is the one given, else the network the model was quantized from, else the model's
    own graph with dequantized weights and unrounded activations. It runs on the C++ float kernels;
    `engine="numpy"` runs it in NumPy, which is the check of them. `own=False` leaves out the
    layers' own errors, half of the time.

    Raises what `load`, `Model.compile` and `Session.run` raise, and InvalidArgumentError when the
    reference has no tensor in common with the model or there is no data.
    """
    if engine not in ENGINES:
        raise InvalidArgumentError(f"engine='{engine}': choose one of {', '.join(ENGINES)}")
    quantized = model if isinstance(model, Model) else load(model)
    if _is_model(inputs):
        if reference is not None:
            raise InvalidArgumentError("two references: give the second argument or reference=")
        reference, inputs = inputs, None  # type: ignore[assignment]
    if (inputs is None) == (data is None):
        raise InvalidArgumentError(
            "give the data once: compare(q, reference, data) or compare(q, data)"
        )
    samples = data if data is not None else inputs
    if reference is not None and not isinstance(reference, Model):
        reference = load(reference)
    walk = _Walk(quantized, reference, isa=isa, threads=threads, own=own, engine=engine)
    total = sample_count(samples)  # type: ignore[arg-type]
    for batch in batches_of(quantized, samples, preprocess):  # type: ignore[arg-type]
        walk.add(batch)
        if progress is not None:
            progress(walk.samples, total)
    return walk.result()


def _is_model(given: Any) -> bool:
    """A Model or the path of one, rather than data."""
    if isinstance(given, (str, os.PathLike)):
        return Path(given).suffix.lower() in _MODELS
    return isinstance(given, Model)


class _Pair:
    """Both networks, ready for inputs of some shapes."""

    def __init__(
        self,
        model: Model,
        reference: Model | None,
        shapes: Mapping[str, tuple[int, ...]],
        **how: Any,
    ) -> None:
        self.graph = model.graph_for(shapes)
        self.session = model.compile(
            isa=how["isa"], threads=how["threads"], shapes=shapes, keep_all=True
        )
        source = reference.source if reference else None
        self.truth = Truth(model, shapes, source, engine=how["engine"], threads=how["threads"])
        self.names: dict[str, str] = {}  # tensor of the model -> of the reference
        self.functions: dict[str, LayerFunction] = {}
        for node in self.graph.nodes:
            for value in self.graph.outputs_of(node):
                name = self.truth.counterpart(node, value)
                if name is not None:
                    self.names[value.name] = name
        self.gains: Gains = {}
        if self.truth.given:
            self.gains = stored_gains(self.truth.graph, model.source.metadata)
            self.gains = self.gains or find_gains(self.graph, self.truth.graph, self._twin)
        for node in self.graph.nodes:
            if how["own"] and node.outputs[0] in self.names:
                self.functions[node.name] = LayerFunction(
                    self.graph,
                    node,
                    self.truth.graph,
                    self._twin(node),
                    gains=self.gains,
                    engine=how["engine"],
                )

    def _twin(self, node: Node) -> Node | None:
        name = self.names.get(node.outputs[0])
        return None if name is None else self.truth.twin(node, name, scaled=name in self.gains)

    def run(self, batch: Mapping[str, Array]) -> tuple[_Stored, Mapping[str, Array]]:
        results = self.session.run(batch)
        return _Stored(self, batch, results), self.truth.network.run(batch)


class _Stored:
    """The quantized network's tensors after a run: as stored, and as real numbers."""

    def __init__(
        self, pair: _Pair, batch: Mapping[str, Array], results: Mapping[str, Array]
    ) -> None:
        self._graph: Graph = pair.graph
        self._session = pair.session
        self._known = {**batch, **results}
        self._real: dict[str, Array] = {}
        self.plan: dict[str, Array] = {}  # 8-bit tensors as the plan stores them
        self._readers = {name: len(nodes) for name, nodes in pair.graph.consumers.items()}

    def __call__(self, name: str) -> Array:
        """Real numbers."""
        if name not in self._real:
            value = self._graph.values[name]
            if name in self._known:
                got = self._known[name]
                if value.is_8bit:
                    self.plan[name] = _as_plan(value, got)
            else:
                got = self._session.read_tensor(name)
                if value.is_8bit:
                    self.plan[name] = got
                    got = _as_graph(value, got)
            self._real[name] = real_value(value, got)
        return self._real[name]

    def done(self, node: Node) -> None:
        """Forgets what no later node reads."""
        for name in dict.fromkeys(node.inputs):
            if name in self._readers:
                self._readers[name] -= 1
                if not self._readers[name]:
                    self._real.pop(name, None)
                    self.plan.pop(name, None)


class _Walk:
    """The sums over all batches."""

    def __init__(self, model: Model, reference: Model | None, **how: Any) -> None:
        self.model, self.reference, self._how = model, reference, how
        self.samples = 0
        self._pairs: dict[tuple[tuple[str, tuple[int, ...]], ...], _Pair] = {}
        self._tensors: dict[tuple[str, str], TensorStatistics] = {}
        self._outputs: dict[str, OutputStatistics] = {}
        self._inputs: dict[str, InputStatistics] = {}

    def _pair(self, batch: Mapping[str, Array]) -> _Pair:
        shapes = {name: tuple(array.shape) for name, array in batch.items()}
        key = tuple(sorted(shapes.items()))
        if key not in self._pairs:
            while len(self._pairs) >= 2:  # the usual shapes, and the last, smaller batch
                self._pairs.pop(next(iter(self._pairs)))
            self._pairs[key] = _Pair(self.model, self.reference, shapes, **self._how)
        return self._pairs[key]

    def add(self, batch: Mapping[str, Array]) -> None:
        """Runs one batch through both networks."""
        pair = self._pair(batch)
        stored, truth = pair.run(batch)
        for name, array in batch.items():
            self._inputs.setdefault(name, InputStatistics.of(name, array)).add(array)
        for node in pair.graph.nodes:
            function = pair.functions.get(node.name)
            own = function({n: stored(n) for n in function.inputs}) if function else {}
            for value in pair.graph.outputs_of(node):
                if value.name in pair.names:
                    expected = truth[pair.names[value.name]]
                    gain = pair.gains.get(pair.names[value.name])
                    if gain is not None:
                        expected = gain.apply(expected)
                    self._add(pair, node, value, stored, expected, own.get(value.name))
            stored.done(node)
        self.samples += max((len(a) for a in batch.values() if a.ndim), default=1)

    def _add(
        self,
        pair: _Pair,
        node: Node,
        value: Value,
        stored: _Stored,
        expected: Array,
        own: Array | None,
    ) -> None:
        key = (node.name, value.name)
        found = self._tensors.get(key)
        if found is None:
            tensor, precision = pair.names[value.name], executed(pair.graph, node)
            found = self._tensors[key] = TensorStatistics(node, value, tensor, precision)
        found.fits(value)
        got = stored(value.name)
        found.add(got, expected, stored.plan.get(value.name), own)
        if value.name in pair.graph.outputs:
            ranked = _is_ranked(expected, pair.graph)
            output = self._outputs.setdefault(value.name, OutputStatistics(value.name))
            output.add(got, expected, ranked=ranked)

    def result(self) -> Comparison:
        """The figures. Raises InvalidArgumentError when there are none."""
        if not self._pairs:
            raise InvalidArgumentError("there is no data to compare the networks on")
        if not self._tensors:
            raise InvalidArgumentError(
                "the reference shares no tensor name and shape with the model"
            )
        layers = tuple(found.error() for found in self._tensors.values())
        names = [name for _, name in self._tensors]
        return Comparison(
            layers=layers,
            outputs=tuple(e for e, n in zip(layers, names, strict=True) if n in self._outputs),
            end_to_end=tuple(output.error() for output in self._outputs.values()),
            samples=self.samples,
            statistics={found.node.name: found for found in self._tensors.values()},
            inputs=self._inputs,
            graph=(last := next(reversed(self._pairs.values()))).graph,
            reference=last.truth.graph,
            gains=last.gains,
        )


def _is_ranked(output: Array, graph: Graph) -> bool:
    """Does this output look like one score for each class?"""
    if output.dtype.kind != "f" or output.ndim < 2:
        return False
    classes = output.size // max(1, len(output))
    flat = max(output.shape[1:]) == classes >= 2
    return flat and all(graph.values[name].shape != output.shape for name in graph.inputs)


def _as_graph(value: Value, plan: Array) -> Array:
    """The plan's u8 numbers as the graph's type."""
    return (plan ^ np.uint8(0x80)).view(np.int8) if value.dtype == "s8" else plan


def _as_plan(value: Value, stored: Array) -> Array:
    """The graph's numbers as the plan's u8."""
    return stored.view(np.uint8) ^ np.uint8(0x80) if value.dtype == "s8" else stored

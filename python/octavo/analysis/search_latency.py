# SPDX-License-Identifier: Apache-2.0
"""Latency on this CPU, now: of whole models beside a yardstick, of layers, of conversions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.ir import Affine, Graph, Node, Value, verify
from octavo.model import Model

__all__ = ["Stopwatch", "conversion_us", "first_sample", "layer_us"]

Array = NDArray[Any]
#: At least this many rounds, however slow, and no more than that, however quick.
_LEAST, _MOST = 5, 20_000


class Stopwatch:
    """Times models against a yardstick that runs in turns with them, so that a clock that drifts or
    a neighbour that disturbs meets both."""

    def __init__(self, yardstick: Model, sample: Mapping[str, Array], threads: int) -> None:
        self._sample = {name: np.ascontiguousarray(array) for name, array in sample.items()}
        self._shapes = {name: array.shape for name, array in self._sample.items()}
        self._threads = threads
        self._yardstick = self._bound(yardstick)

    def _bound(self, model: Model) -> Any:
        session = model.compile(threads=self._threads, shapes=self._shapes)
        return session.bind(self._sample)

    def times(self, model: Model, seconds: float = 0.5) -> tuple[float, float]:
        """(milliseconds of the model, milliseconds of the yardstick): the fastest of many runs in
        turns, which take about `seconds` in all."""
        runs = (self._bound(model), self._yardstick)
        best = [float("inf"), float("inf")]
        begin = time.perf_counter()
        for count in range(_MOST):
            for index, run in enumerate(runs):
                start = time.perf_counter()
                run()
                best[index] = min(best[index], time.perf_counter() - start)
            if count >= _LEAST and time.perf_counter() - begin > seconds:
                break
        return 1e3 * best[0], 1e3 * best[1]


def layer_us(
    models: Mapping[str, Model], sample: Mapping[str, Array], threads: int, rounds: int = 3
) -> dict[str, dict[str, float]]:
    """Precision -> node -> microseconds of its steps: the least of several profiles, the models in
    turns."""
    arrays = {name: np.ascontiguousarray(array) for name, array in sample.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    sessions = {
        precision: model.compile(threads=threads, shapes=shapes)
        for precision, model in models.items()
    }
    found: dict[str, dict[str, float]] = {precision: {} for precision in models}
    for _ in range(rounds):
        for precision, session in sessions.items():
            now: dict[str, float] = {}
            for row in session.profile(arrays, repeats=10):
                now[row.kernel.node] = now.get(row.kernel.node, 0.0) + row.us
            for node, us in now.items():
                found[precision][node] = min(us, found[precision].get(node, us))
    return found


def conversion_us(sizes: Iterable[int], threads: int) -> dict[int, tuple[float, float]]:
    """Elements -> (microseconds of QuantizeLinear, of DequantizeLinear) of a tensor."""
    wanted = sorted(set(sizes))
    if not wanted:
        return {}
    values: dict[str, Value] = {}
    nodes: list[Node] = []
    outputs: list[str] = []
    affine = Affine.per_tensor(0.05, 128)
    for size in wanted:
        shape = (1, size)
        for name, dtype in ((f"x{size}", "f32"), (f"q{size}", "u8"), (f"y{size}", "f32")):
            values[name] = Value(name, dtype, shape, affine if dtype == "u8" else None)
        nodes.append(Node(f"Q{size}", "QuantizeLinear", (f"x{size}",), (f"q{size}",)))
        nodes.append(Node(f"D{size}", "DequantizeLinear", (f"q{size}",), (f"y{size}",)))
        outputs.append(f"y{size}")
    inputs = tuple(f"x{size}" for size in wanted)
    graph = verify(Graph("conversions", tuple(nodes), values, inputs, tuple(outputs)))
    arrays = {f"x{size}": np.ones((1, size), np.float32) for size in wanted}
    timed = layer_us({"all": Model(graph)}, arrays, threads)["all"]
    return {size: (timed.get(f"Q{size}", 0.0), timed.get(f"D{size}", 0.0)) for size in wanted}


def first_sample(batches: Sequence[Mapping[str, Array]], model: Model) -> dict[str, Array]:
    """One sample, as large as the model's inputs are declared."""
    sizes = {info.name: model.source.values[info.name].shape for info in model.inputs}
    return {
        name: np.ascontiguousarray(array[: sizes[name][0]] if sizes[name] else array)
        for name, array in batches[0].items()
    }

# SPDX-License-Identifier: Apache-2.0
"""Runs the float network over calibration data and collects the statistics of its tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.errors import InvalidArgumentError
from octavo.ir import Graph
from octavo.plan.encode import ConstantPool
from octavo.plan.graph_json import graph_json
from octavo.quantization.checkpoint import Checkpoint
from octavo.quantization.confidence import Confidence, confidence_of
from octavo.quantization.data import Batches, Data, named, open_data
from octavo.quantization.observers import Statistics
from octavo.quantization.preprocessing import Preprocessing
from octavo.quantization.recipe import Settings
from octavo.quantization.runner import GraphRunner
from octavo.quantization.sampling import Cutter, Reservoir

__all__ = ["Calibration", "Cutter", "Progress", "calibrate", "graph_digest"]

Array = NDArray[Any]
Arrays = dict[str, Array]
#: Called with (stage, done, total) as work goes on; `total` is None where nobody knows it.
Progress = Callable[[str, int, int | None], None]


@dataclass
class Calibration:
    """What calibration found: `statistics` by tensor of the graph with `digest`, over `samples`.

    `kept` are the inputs of up to `Recipe.optimization_samples` of them (96 MB at most), drawn
    without bias and in their order; `data_digest` identifies all data, in order; `preprocessing` is
    what made inputs of images, if it was images, and `sources` are their files.
    """

    statistics: dict[str, Statistics]
    samples: int
    kept: list[Arrays]
    digest: str
    data_digest: str = ""
    preprocessing: Preprocessing | None = None
    sources: Sequence[str] = ()

    def confidence(self, settings: Mapping[str, Settings] | Settings | None = None) -> Confidence:
        """How settled the ranges are that `settings` (by tensor, or one for all) would choose."""
        told = settings or Settings()
        return confidence_of(self.statistics, told, self.samples, self.sources)


def graph_digest(graph: Graph) -> str:
    """Identifies structure and constants of a graph (hexadecimal)."""
    pool = ConstantPool()
    found = hashlib.blake2b(graph_json(graph.with_(notes={}), pool), digest_size=16)
    found.update(pool.payload())
    return found.hexdigest()


class _Collector:
    """The pass over the data, sample by sample."""

    def __init__(
        self,
        graph: Graph,
        values: Collection[str],
        reservoir: Reservoir,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.statistics = {name: Statistics(name) for name in values}
        self.digest = hashlib.blake2b(digest_size=16)
        self.samples = 0  # of the data so far
        self.counted = 0  # in the statistics: ahead of `samples` while a resumed run catches up
        self._graph = graph
        self._runner = GraphRunner(graph)
        self._cutter = Cutter(self._runner, values)
        self._reservoir = reservoir
        self._observed = [name for name in values if graph.values[name].data is None]
        self._checkpoint = checkpoint
        self._expected = ""  # the digest of what is counted
        self._whole = True  # between two samples, not within one
        if checkpoint is not None and (found := checkpoint.load(values)) is not None:
            self.counted, self._expected, self.statistics = found

    def add(self, arrays: Arrays) -> Iterator[int]:
        """Takes in a batch; yields the number of samples so far."""
        count = self._cutter.cut(arrays)
        start = 0
        while start < count:
            stop = min(start + self._cutter.chunk, count)
            if self.samples < self.counted:
                stop = min(stop, start + self.counted - self.samples)
            for index in range(start, stop):
                self._note(self._cutter.part(arrays, index, index + 1) if count > 1 else arrays)
            if self.samples < self.counted:
                self.samples += stop - start
                self._check()
            else:
                self._whole = False
                self._runner.run(self._cutter.part(arrays, start, stop) if count > 1 else arrays)
                for name in self._observed:
                    self.statistics[name].add(self._runner.read(name), stop - start)
                self.samples += stop - start
                self.counted = self.samples
                self._whole = True
                if self._checkpoint is not None and self._checkpoint.due():
                    self.save()
            start = stop
            yield self.samples

    def _note(self, sample: Arrays) -> None:
        for name in self._graph.inputs:
            array = np.ascontiguousarray(sample[name])
            self.digest.update(f"{name}\0{array.dtype}{array.shape}".encode())
            self.digest.update(array.reshape(-1).data.cast("B"))
        self._reservoir.offer(sample)

    def _check(self) -> None:
        """Is the data of the checkpoint what came again?"""
        assert self._checkpoint is not None
        if self.samples == self.counted and self.digest.hexdigest() != self._expected:
            self._checkpoint.refuse("other data, or the same in another order")

    def save(self) -> None:
        """Writes the checkpoint, unless the statistics are within a sample or behind the file's."""
        if self._checkpoint is not None and self._whole and self.samples == self.counted > 0:
            self._checkpoint.save(self.counted, self.digest.hexdigest(), self.statistics)

    def finish(self, graph: Graph, batches: Batches) -> Calibration:
        """What was found, once the data has ended."""
        if self.samples == 0:
            raise InvalidArgumentError(
                "calibration yielded no batch; give at least one (32 and more are usual)"
            )
        if self.samples < self.counted:
            assert self._checkpoint is not None
            self._checkpoint.refuse(f"more data: {self.counted} samples")
        self.save()
        for name, statistics in self.statistics.items():
            constant = graph.values[name].data
            if constant is not None:
                statistics.add_constant(constant)
        return Calibration(
            self.statistics,
            self.samples,
            self._reservoir.kept(),
            graph_digest(graph),
            self.digest.hexdigest(),
            batches.preprocessing,
            batches.sources,
        )


def calibrate(
    graph: Graph,
    values: Collection[str],
    data: Data | Batches,
    *,
    keep: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> Calibration:
    """Statistics of `values` (names of float32 tensors of `graph`) over all of `data`, in one pass.

    `graph` runs as it is. `data` is anything that `open_data` takes; `keep` of its samples are
    drawn by `seed` and returned. `checkpoint` is written every few seconds and when the work is
    interrupted; one that is there is gone on from, to the same result bit by bit. The data is read
    again from its beginning then, to see that it is the same.

    Raises InvalidArgumentError, ShapeError, QuantizationError (NaN or infinity, naming the batch or
    the tensor), FormatError (a damaged checkpoint) and what planning the graph raises.
    """
    collector = _Collector(graph, values, Reservoir(keep, seed), checkpoint)
    batches = open_data(graph, data)
    try:
        for what, batch in batches:
            for done in collector.add(named(graph, batch, what)):
                if progress is not None:
                    progress("calibrate", done, batches.total)
    except KeyboardInterrupt:
        collector.save()
        raise
    return collector.finish(graph, batches)

# SPDX-License-Identifier: Apache-2.0
"""`octavo.profile`: where the time of a model goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from octavo.model import Model, Source, load
from octavo.report.layers import layer_table
from octavo.report.trace import trace_document, write_trace
from octavo.session import LayerProfile

__all__ = ["Profile", "profile"]

Array = NDArray[Any]


class Profile(list[LayerProfile]):
    """One `LayerProfile` per step; printing it gives the table. `trace` is the fastest run as a
    Chrome trace event document."""

    def __init__(self, layers: list[LayerProfile], trace: dict[str, Any]) -> None:
        super().__init__(layers)
        self.trace = trace

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the trace as JSON, for ui.perfetto.dev or chrome://tracing."""
        write_trace(path, self.trace)

    def __str__(self) -> str:
        return layer_table(self)


def profile(
    model: Source | Model,
    inputs: Mapping[str, Array] | Array,
    *,
    threads: int = 1,
    isa: str | None = None,
    tune: bool | Source = False,
    repeats: int = 20,
    trace: str | os.PathLike[str] | None = None,
) -> Profile:
    """Times every step of `model` (a Model, or the path of one) over `repeats` runs on `inputs`.

    `trace` names a file for the timeline of the fastest run, which ui.perfetto.dev opens. Raises as
    `load`, `Model.compile` and `Session.run`, InvalidArgumentError when the file cannot be written.
    """
    loaded = model if isinstance(model, Model) else load(model)
    arrays = inputs if isinstance(inputs, Mapping) else {loaded.inputs[0].name: inputs}
    shapes = {name: array.shape for name, array in arrays.items()}
    session = loaded.compile(threads=threads, isa=isa, tune=tune, shapes=shapes)
    layers = session.profile(inputs, repeats)
    found = Profile(layers, trace_document(loaded.name, session.timeline(inputs, repeats)))
    if trace is not None:
        found.save(trace)
    return found

# SPDX-License-Identifier: Apache-2.0
"""`octavo.explain`: what a quantized model does here, what is wrong with it, what to try.

Everything in an explanation was measured in the call that made it: errors by `octavo.compare`,
times by `Session.profile`, claims by `explain_claims`. What could not be measured is None, with the
reason beside it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.analysis.diagnosis import Diagnosis, diagnose
from octavo.comparison import Comparison, Progress, compare
from octavo.comparison.data import Data, Preprocess, batches_of
from octavo.errors import InvalidArgumentError
from octavo.files import write_atomic
from octavo.model import Model, Source, load
from octavo.quantization.preprocessing import METADATA_KEY
from octavo.report.explain_claims import Claim, Subject, measure_claims
from octavo.report.explain_layers import explained_layers
from octavo.session import cpu_info

__all__ = ["Explanation", "explain"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Explanation:
    """All findings about a quantized model; `layers` has one plain dict for each executed step."""

    about: Mapping[str, Any]
    claims: tuple[Claim, ...]
    diagnosis: Diagnosis
    layers: tuple[Mapping[str, Any], ...]
    comparison: Comparison = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is not known is None."""
        found = self.comparison.to_dict()
        return {
            "format": "octavo-explanation",
            "version": 1,
            **self.about,
            "claims": [asdict(claim) for claim in self.claims],
            "end_to_end": found["end_to_end"],
            "findings": self.diagnosis.to_dict(),
            "layers": [dict(row) for row in self.layers],
            "compared": found["layers"],
        }

    def to_json(self) -> str:
        """The same as text; numbers that are not finite are null."""
        return json.dumps(_finite(self.to_dict()), indent=2, ensure_ascii=False)

    def to_html(self, *, histograms: int = 80) -> str:
        """One page that needs no network: charts inline, no external file. `histograms` is for how
        many layers, those with most noise of their own first. Needs the extra `octavo[report]`
        (MissingExtraError)."""
        from octavo.report.explain_page import render_page

        return render_page(self, histograms)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the page (`.html`) or the data (`.json`), atomically."""
        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending not in (".html", ".htm", ".json"):
            raise InvalidArgumentError(f"'{path}': the ending must be .html or .json")
        text = self.to_json() if ending == ".json" else self.to_html()
        write_atomic(path, text.encode())


def explain(
    model: Source | Model,
    data: Data,
    reference: Source | Model | None = None,
    *,
    labels: Array | None = None,
    threads: int = 1,
    isa: str | None = None,
    seconds: float = 1.0,
    preprocess: Preprocess = None,
    progress: Progress | None = None,
    command: str | None = None,
) -> Explanation:
    """Measures a quantized model beside its float reference and says what hurts, and what to do.

    `model`, `reference`, `data` and `preprocess` as for `octavo.compare`; `labels`, class numbers
    [samples], add top-1 accuracy before and after and read the data once more, so that they cannot
    be an iterator. Latency is measured on the first sample for `seconds`, both networks in turn.
    `command` is what the report says it was made with.

    Raises what `octavo.compare` raises.
    """
    quantized = model if isinstance(model, Model) else load(model)
    if reference is not None and not isinstance(reference, Model):
        reference = load(reference)
    elif reference is None and quantized.reference is not None:
        reference = Model(quantized.reference)
    batches = _First(batches_of(quantized, data, preprocess))
    comparison = compare(
        quantized,
        batches,
        reference=reference,
        isa=isa,
        threads=threads,
        progress=progress,
    )
    sample = _one(quantized, batches.first)
    shapes = {name: array.shape for name, array in sample.items()}
    session = quantized.compile(threads=threads, isa=isa, shapes=shapes)
    profile = session.profile(sample, repeats=30)
    diagnosis = diagnose(comparison, metadata=quantized.source.metadata, profile=profile)
    subject = Subject(quantized, reference, sample, threads, isa, seconds)
    scored = None
    if labels is not None:
        scored = (lambda: batches_of(quantized, data, preprocess)), np.asarray(labels)
    claims = measure_claims(subject, session, comparison, scored)
    return Explanation(
        about=_about(quantized, reference, comparison, session.isa, threads, command),
        claims=tuple(claims),
        diagnosis=diagnosis,
        layers=tuple(explained_layers(profile, comparison, diagnosis)),
        comparison=comparison,
    )


class _First:
    """An iterator that remembers its first item."""

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        self.first: dict[str, Array] = {}

    def __iter__(self) -> Any:
        for batch in self._batches:
            self.first = self.first or batch
            yield batch


def _one(model: Model, batch: Mapping[str, Array]) -> dict[str, Array]:
    """The first sample, where the first axis is a batch of any size."""
    symbolic = all(info.shape and isinstance(info.shape[0], str) for info in model.inputs)
    return {
        name: np.ascontiguousarray(array[:1] if symbolic else array)
        for name, array in batch.items()
    }


def _about(
    model: Model,
    reference: Model | None,
    comparison: Comparison,
    isa: str | None,
    threads: int,
    command: str | None,
) -> dict[str, Any]:
    from octavo import __version__

    info = cpu_info()
    return {
        "model": model.name,
        "path": model.path,
        "reference": None if reference is None else reference.path or reference.name,
        "inputs": [str(item) for item in model.inputs],
        "outputs": [str(item) for item in model.outputs],
        "macs": model.macs,
        "preprocessing": dict(model.source.metadata.get(METADATA_KEY, {})) or None,
        "samples": comparison.samples,
        "cpu": info["brand"],
        "isa": isa or info["best_isa"],
        "threads": threads,
        "octavo": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command or "octavo.explain(...)",
    }


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return value if not isinstance(value, float) or np.isfinite(value) else None

# SPDX-License-Identifier: Apache-2.0
"""Accuracy, size, speed and memory of both networks, measured here and now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octavo.comparison import Comparison
from octavo.errors import InvalidArgumentError, OctavoError
from octavo.model import Model
from octavo.session import Session

__all__ = ["Claim", "Subject", "measure_claims"]

Array = NDArray[Any]
#: What gives the batches once more, and the labels of all samples.
Scored = tuple[Callable[[], Iterable[Mapping[str, Array]]], Array]
_NO_REFERENCE = "no float reference was given"


@dataclass(frozen=True)
class Claim:
    """One measured figure of both networks; `unit` is "%", "dB", "", "B" or "ms". None is not
    known, and `absent` says why. `better` is "less", "more" or "" (not to be ranked)."""

    name: str
    unit: str
    floating: float | None
    quantized: float | None
    better: str = ""
    absent: str | None = None


@dataclass(frozen=True)
class Subject:
    """What is measured, on which sample."""

    model: Model
    reference: Model | None
    sample: Mapping[str, Array]
    threads: int
    isa: str | None
    seconds: float


def measure_claims(
    subject: Subject,
    session: Session,
    comparison: Comparison,
    scored: Scored | None,
) -> list[Claim]:
    """All claims, accuracy first, with the quantized network's `session`.

    Raises InvalidArgumentError when labels and samples do not fit.
    """
    floating, why = _float_session(subject)
    return [
        *_accuracy(subject, floating, why, scored),
        *_fidelity(comparison),
        *_sizes(subject),
        *_latency(subject, session, floating, why),
        *_memory(session, floating, why),
    ]


def _float_session(subject: Subject) -> tuple[Session | None, str | None]:
    if subject.reference is None:
        return None, _NO_REFERENCE
    try:
        shapes = {name: array.shape for name, array in subject.sample.items()}
        return subject.reference.compile(
            threads=subject.threads, isa=subject.isa, shapes=shapes
        ), None
    except OctavoError as error:
        return None, f"the float network does not run here: {error}"


def _accuracy(
    subject: Subject,
    floating: Session | None,
    why: str | None,
    scored: Scored | None,
) -> list[Claim]:
    if scored is None:
        return [Claim("top-1 accuracy", "%", None, None, "more", "no labels were given")]
    before = None
    if subject.reference is not None and floating is not None:
        before = _top1(subject.reference, scored, subject)
    after = _top1(subject.model, scored, subject)
    return [Claim("top-1 accuracy", "%", before, after, "more", why)]


def _top1(model: Model, scored: Scored, subject: Subject) -> float:
    """Percent of samples whose largest output is the label's."""
    session = model.compile(threads=subject.threads, isa=subject.isa)
    batches, labels = scored
    ranks: list[Array] = []
    for batch in batches():
        output = next(iter(session.run(batch).values()))
        ranks.append(output.reshape(len(output), -1).argmax(axis=1))
    found = np.concatenate(ranks) if ranks else np.zeros(0, np.int64)
    if found.shape != labels.reshape(-1).shape:
        raise InvalidArgumentError(f"{labels.size} labels for {found.size} samples")
    return 100.0 * float(np.mean(found == labels.reshape(-1)))


def _fidelity(comparison: Comparison) -> list[Claim]:
    claims = []
    for output in comparison.end_to_end:
        of = f" of {output.output}" if len(comparison.end_to_end) > 1 else ""
        agreement = output.top1_agreement
        claims += [
            Claim(
                f"top-1 agreement{of}",
                "%",
                None,
                None if agreement is None else 100.0 * agreement,
                "more",
                "the output is not a row of scores" if agreement is None else None,
            ),
            Claim(f"SQNR{of}", "dB", None, output.sqnr_db, "more"),
            Claim(f"cosine{of}", "", None, output.cosine, "more"),
        ]
    return claims


def _sizes(subject: Subject) -> list[Claim]:
    def file_bytes(model: Model | None) -> float | None:
        path = model.path if model is not None else None
        return float(Path(path).stat().st_size) if path and Path(path).is_file() else None

    before, after = file_bytes(subject.reference), file_bytes(subject.model)
    absent = None if before and after else "the model was not loaded from a file"
    weights = None if subject.reference is None else float(subject.reference.weight_bytes)
    return [
        Claim("file", "B", before, after, "less", absent),
        Claim(
            "weights",
            "B",
            weights,
            float(subject.model.weight_bytes),
            "less",
            _NO_REFERENCE if weights is None else None,
        ),
    ]


def _latency(
    subject: Subject, session: Session, floating: Session | None, why: str | None
) -> list[Claim]:
    calls: list[Callable[[], object]] = [session.bind(dict(subject.sample))]
    if floating is not None:
        calls.append(floating.bind(dict(subject.sample)))
    times = _interleaved(calls, subject.seconds)
    before = times[1] if floating is not None else (None, None)
    return [
        Claim("latency, fastest", "ms", before[0], times[0][0], "less", why),
        Claim("latency, median", "ms", before[1], times[0][1], "less", why),
    ]


def _interleaved(calls: list[Callable[[], object]], seconds: float) -> list[tuple[float, float]]:
    """(fastest, median) in ms of each, called in turn so that all see the same noise."""
    found: list[list[int]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    for call in calls:
        call()
    while time.perf_counter() < end or len(found[0]) < 5:
        for call, times in zip(calls, found, strict=True):
            call()  # brings the weights back into the caches that the other has filled
            start = time.perf_counter_ns()
            call()
            times.append(time.perf_counter_ns() - start)
    return [(min(times) / 1e6, statistics.median(times) / 1e6) for times in found]


def _memory(session: Session, floating: Session | None, why: str | None) -> list[Claim]:
    def both(name: str, what: str, better: str = "less") -> Claim:
        before = None if floating is None else float(getattr(floating, what))
        return Claim(name, "B", before, float(getattr(session, what)), better, why)

    return [
        both("activations (arena)", "arena_bytes"),
        both("weights as packed", "packed_bytes"),
        both("scratch", "scratch_bytes", ""),
    ]

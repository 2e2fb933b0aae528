# SPDX-License-Identifier: Apache-2.0
"""Measures one model on every runtime: outputs compared first, then timed interleaved."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import octavo
from octavo.benchmark.agreement import agreement, output_steps
from octavo.benchmark.load import Load, measure_load
from octavo.benchmark.results import OCTAVO, ModelResult, RuntimeResult
from octavo.benchmark.runtimes import Feed, LoadedModel, OctavoRuntime, Runtime
from octavo.benchmark.timing import TURN_SECONDS, interleave
from octavo.errors import OctavoError
from octavo.report.layers import layer_rows

__all__ = ["Alternative", "Settings", "Subject", "measure", "reason"]

_PROFILE_REPEATS = 20


@dataclass(frozen=True)
class Settings:
    """How to measure. `bound`: time calls on arrays bound beforehand instead of plain calls;
    `load_repeats`: fresh processes per runtime (0: no load figures, which are always untuned);
    `layers`: a row per step; `isa` and `tune` as in `Model.compile`."""

    rounds: int = 10
    seed: int = 0
    turn_seconds: float = TURN_SECONDS
    bound: bool = False
    load_repeats: int = 3
    layers: bool = True
    isa: str | None = None
    tune: bool | str = False


@dataclass(frozen=True)
class Alternative:
    """Another file for one runtime, with inputs of its own; `note` says how it differs."""

    path: Path
    feed: Feed
    note: str | None = None


@dataclass(frozen=True)
class Subject:
    """A model to measure. The first of `feeds` is the one that gets timed, all are compared;
    `alternatives` maps a runtime's name to the file it reads instead."""

    name: str
    path: Path
    feeds: Sequence[Feed]
    alternatives: Mapping[str, Alternative] = field(default_factory=dict)

    def for_runtime(self, runtime: Runtime) -> Alternative:
        """The file and input that this runtime gets."""
        default = Alternative(self.path, self.feeds[0])
        return self.alternatives.get(runtime.name, default)


def reason(error: BaseException) -> str:
    """Class and first line of an error."""
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text.splitlines()[0]}"


def measure(
    subject: Subject,
    runtimes: Mapping[str, Runtime],
    threads: Sequence[int],
    settings: Settings,
) -> Iterator[ModelResult]:
    """Figures of the model, one result per thread count. What a single runtime cannot do goes into
    its entry; the first thread count also has agreement and load figures.

    Raises:
        OctavoError: Octavo cannot load the model.
        ValueError: two runtimes disagree about an output's shape.
    """
    model = octavo.load(subject.path)
    digest = hashlib.sha256(subject.path.read_bytes()).hexdigest()
    for index, count in enumerate(threads):
        result = ModelResult(subject.name, count, macs=model.macs, sha256=digest)
        loaded = _load_all(result, subject, runtimes, model)
        if index == 0:
            _compare(result, subject, loaded, model)
        _time(result, subject, runtimes, loaded, settings)
        own = loaded.get(OCTAVO)
        if own is not None:
            result.bytes = dict(own.bytes_of)
            if settings.layers:
                profile = own.session.profile(subject.feeds[0], repeats=_PROFILE_REPEATS)
                result.layers = layer_rows(profile)
        del loaded, own
        if index == 0 and settings.load_repeats:
            result.loads = _loads(result, subject, runtimes, model, settings)
        yield result


def _load_all(
    result: ModelResult, subject: Subject, runtimes: Mapping[str, Runtime], model: octavo.Model
) -> dict[str, LoadedModel]:
    """Every runtime that loads and runs the model; the others' reasons go into `result`."""
    loaded: dict[str, LoadedModel] = {}
    for name, runtime in runtimes.items():
        source = subject.for_runtime(runtime)
        entry = result.runtimes[name] = RuntimeResult(note=source.note)
        if source.path.suffix not in runtime.formats:
            entry.unread, entry.note = True, f"does not read {source.path.suffix} files"
            continue
        try:
            if isinstance(runtime, OctavoRuntime):
                shapes = {key: array.shape for key, array in source.feed.items()}
                one = runtime.adapt(model, result.threads, shapes)
            else:
                one = runtime.load(source.path, result.threads)
            one.call(source.feed)
            entry.precision = dict(one.precision())
        except OctavoError:
            raise
        except Exception as error:  # runtimes raise classes of their own; the report shows it
            entry.failure = reason(error)
        else:
            loaded[name] = one
    return loaded


def _compare(
    result: ModelResult, subject: Subject, loaded: Mapping[str, LoadedModel], model: octavo.Model
) -> None:
    """Compare every runtime that reads the same file with octavo."""
    same = {name: one for name, one in loaded.items() if name not in subject.alternatives}
    if OCTAVO not in same:
        return
    steps = output_steps(model)
    expected = [same.pop(OCTAVO).outputs(feed) for feed in subject.feeds[:1]]
    expected += [loaded[OCTAVO].outputs(feed) for feed in subject.feeds[1:]]
    for name, one in same.items():
        actual = [one.outputs(feed) for feed in subject.feeds]
        result.runtimes[name].agreement = agreement(expected, actual, steps)


def _time(
    result: ModelResult,
    subject: Subject,
    runtimes: Mapping[str, Runtime],
    loaded: Mapping[str, LoadedModel],
    settings: Settings,
) -> None:
    contenders: dict[str, Callable[[], Any]] = {
        name: one.contender(subject.for_runtime(runtimes[name]).feed, bound=settings.bound)
        for name, one in loaded.items()
        if runtimes[name].timed
    }
    own = runtimes.get(OCTAVO)
    peaks = [own.peak()] if isinstance(own, OctavoRuntime) else []
    timings = interleave(
        contenders, settings.rounds, seed=settings.seed, turn_seconds=settings.turn_seconds
    )
    if isinstance(own, OctavoRuntime):  # the clock may have changed meanwhile: the better counts
        result.peak_gmacs_per_s = max(*peaks, own.peak())
    for name, timing in timings.items():
        result.runtimes[name].timing = timing
    result.derive()


def _loads(
    result: ModelResult,
    subject: Subject,
    runtimes: Mapping[str, Runtime],
    model: octavo.Model,
    settings: Settings,
) -> dict[str, Load]:
    """Load figures of every runtime that was timed, and of octavo from its own file format too."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for name in result.timings:
            source = subject.for_runtime(runtimes[name])
            sources[f"{name} {source.path.suffix}"] = (runtimes[name], source.path, source.feed)
        if OCTAVO in result.timings and subject.path.suffix != ".octavo":
            plan = Path(folder) / "model.octavo"
            model.save(plan)
            sources[f"{OCTAVO} {plan.suffix}"] = (runtimes[OCTAVO], plan, subject.feeds[0])
        found = {}
        for label, (runtime, path, feed) in sources.items():
            try:
                found[label] = measure_load(
                    runtime,
                    path,
                    feed,
                    threads=result.threads,
                    isa=settings.isa,
                    repeats=settings.load_repeats,
                )
            except RuntimeError as error:
                result.runtimes[runtime.name].failure = reason(error)
    return found

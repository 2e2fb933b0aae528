# SPDX-License-Identifier: Apache-2.0
"""Measures one QDQ model on every runtime: outputs compared first, then timed interleaved."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx

from bench import onnx_info
from bench.inputs import random_feed
from bench.results import ModelResult, RuntimeResult, agreement
from bench.runtimes import Feed, LoadedModel, OctavoRuntime, Runtime
from bench.timing import interleave

AGREEMENT_INPUTS = 8


def reason(error: Exception) -> str:
    """Class and first line of an error."""
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text.splitlines()[0]}"


def _feeds(model: onnx.ModelProto) -> list[Feed]:
    """Seeded inputs at batch 1; the first is the one that gets timed."""
    specs = onnx_info.input_specs(model)
    return [
        {spec.name: random_feed(spec.shape, spec.dtype, seed) for spec in specs}
        for seed in range(1, AGREEMENT_INPUTS + 1)
    ]


def _load_all(
    result: ModelResult, path: Path, runtimes: Mapping[str, Runtime], threads: int, feed: Feed
) -> dict[str, LoadedModel]:
    """Every runtime that loads and runs the model; the others' reasons go into `result`."""
    loaded: dict[str, LoadedModel] = {}
    for name, runtime in runtimes.items():
        entry = result.runtimes[name] = RuntimeResult()
        try:
            model = runtime.load(path, threads)
            model.outputs(feed)
        except Exception as error:  # runtimes raise classes of their own; the report shows it
            entry.failure = reason(error)
        else:
            loaded[name] = model
    return loaded


def _compare(
    result: ModelResult,
    loaded: Mapping[str, LoadedModel],
    feeds: list[Feed],
    steps: Mapping[str, float | None],
) -> None:
    """Compare every runtime with the first: octavo where it runs."""
    names = list(loaded)
    result.reference = names[0]
    expected = [loaded[names[0]].outputs(feed) for feed in feeds]
    for name in names[1:]:
        actual = [loaded[name].outputs(feed) for feed in feeds]
        result.runtimes[name].agreement = agreement(expected, actual, steps)


def _macs(model: onnx.ModelProto) -> int | None:
    try:
        return onnx_info.count_macs(model)
    except ValueError:
        return None  # shapes that inference cannot know: the table shows times without GMAC/s


def _bound(model: LoadedModel, feed: Feed) -> Callable[[], object]:
    call = model.call
    return lambda: call(feed)


def measure(
    name: str, path: Path, runtimes: Mapping[str, Runtime], *, threads: int, rounds: int
) -> ModelResult:
    """Figures of the model at `path` (QDQ ONNX with static shapes) on every runtime.

    Raises:
        TypeError: an input is of a dtype for which there is no random input.
        ValueError: two runtimes disagree about an output's shape.
    """
    model = onnx.load_model(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = ModelResult(name, macs=_macs(model), sha256=digest)
    feeds = _feeds(model)
    loaded = _load_all(result, path, runtimes, threads, feeds[0])
    if not loaded:
        return result
    _compare(result, loaded, feeds, onnx_info.output_steps(model))
    octavo = runtimes.get(OctavoRuntime.name)
    if isinstance(octavo, OctavoRuntime):
        result.peak_gmacs_per_s = octavo.peak()
    timed = {key: one for key, one in loaded.items() if runtimes[key].timed}
    contenders = {key: _bound(one, feeds[0]) for key, one in timed.items()}
    for key, timing in interleave(contenders, rounds, settle=threads > 1).items():
        result.runtimes[key].timing = timing
    result.derive(threads)
    return result

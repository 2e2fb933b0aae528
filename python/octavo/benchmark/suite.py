# SPDX-License-Identifier: Apache-2.0
"""From subjects to a report and its files: what both command lines share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from octavo.benchmark.machine import machine_info, measure_bandwidth
from octavo.benchmark.measure import Settings, Subject, measure, reason
from octavo.benchmark.results import ModelResult, Report
from octavo.benchmark.runtimes import Runtime
from octavo.errors import InvalidArgumentError, OctavoError

__all__ = ["add_measuring_arguments", "new_report", "run_subjects", "settings_of", "thread_counts"]


def names(text: str) -> list[str]:
    """a,b -> ["a", "b"]."""
    return [name for name in text.split(",") if name]


def thread_counts(text: str) -> list[int]:
    """1,2 -> [1, 2]. Raises InvalidArgumentError."""
    try:
        return [int(name) for name in names(text)]
    except ValueError:
        raise InvalidArgumentError(f"--threads {text}: pass numbers, e.g. 1,2") from None


def add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    """--threads, --rounds, --order-seed, --bound, --load-repeats, --isa, --tune, --png,
    --roofline."""
    add = parser.add_argument
    add("--threads", default="1", metavar="N,M", help="thread counts, each measured (default 1)")
    add("--rounds", type=int, default=10, help="turns per runtime, about 50 ms each (default 10)")
    add("--order-seed", type=int, default=0, help="seed of the runtimes' order in each round")
    add("--bound", action="store_true", help="time calls on arrays bound once, not plain calls")
    add("--load-repeats", type=int, default=3, help="processes per load figure, 0 for none (3)")
    add("--isa", metavar="NAME", help="restrict octavo's instruction sets, e.g. scalar or avx2")
    add(
        "--tune", nargs="?", const=True, default=False, metavar="FILE",
        help="octavo measures which kernel is fastest for each layer; FILE (JSON) remembers",
    )  # fmt: skip
    add("--png", type=Path, metavar="FILE", help="write a bar chart")
    add("--roofline", type=Path, metavar="FILE", help="write a plot of every layer")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that the arguments ask for. Raises InvalidArgumentError."""
    for name, least in (("rounds", 1), ("load_repeats", 0)):
        if getattr(arguments, name) < least:
            option = "--" + name.replace("_", "-")
            raise InvalidArgumentError(f"{option} {getattr(arguments, name)}: at least {least}")
    return Settings(
        rounds=arguments.rounds,
        seed=arguments.order_seed,
        bound=arguments.bound,
        load_repeats=arguments.load_repeats,
        isa=arguments.isa,
        tune=arguments.tune,
    )


def new_report(
    command: list[str],
    settings: Settings,
    threads: Sequence[int],
    runtimes: Mapping[str, Runtime],
    not_run: Mapping[str, str],
) -> Report:
    """A report without models yet; bandwidths are measured here."""
    bandwidth = measure_bandwidth()
    return Report(
        command=command,
        settings={**asdict(settings), "threads": list(threads), "batch": 1},
        machine=machine_info(),
        versions={
            **{name: runtime.version for name, runtime in runtimes.items()},
            "numpy": metadata.version("numpy"),
        },
        runtime_settings={name: runtime.settings for name, runtime in runtimes.items()},
        not_run=dict(not_run),
        limits={"l2_gb_per_s": bandwidth.l2, "memory_gb_per_s": bandwidth.memory},
    )


def run_subjects(
    report: Report,
    subjects: Iterable[Subject | ModelResult],
    runtimes: Mapping[str, Runtime],
    settings: Settings,
    progress: Callable[[str], None],
) -> None:
    """Measure every subject into `report`; a ModelResult among them is taken as it is (a failure).
    A model that fails must not hide the others' figures."""
    threads: list[int] = report.settings["threads"]
    for subject in subjects:
        if isinstance(subject, ModelResult):
            report.models.append(subject)
            continue
        # Plain lines: a spinner's refresh thread would run during the timing.
        progress(subject.name)
        try:
            report.models.extend(measure(subject, runtimes, threads, settings))
        except (OctavoError, TypeError, ValueError) as error:
            failure = reason(error)
            report.models.append(ModelResult(subject.name, threads[0], failure=failure))

# SPDX-License-Identifier: Apache-2.0
"""octavo doctor: what this machine can do, and whether every kernel agrees with the scalar one."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform

from octavo import __version__
from octavo.cli.common import print_json
from octavo.report.table import Column, heading, render, style
from octavo.selftest import run_selftest
from octavo.session import cpu_info, measure_peak

HELP = "show CPU, instruction sets and versions, and test every kernel against scalar"
EXAMPLE = "octavo doctor --json"

_CACHES = {"L1d": "l1d", "L2": "l2", "L3": "l3"}

_PACKAGES = ("numpy", "onnx", "onnxruntime", "openvino", "rich")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="seed of the self-test (default 0)")


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"octavo": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def run(arguments: argparse.Namespace) -> int:
    info = cpu_info()
    peaks = {
        row["name"]: measure_peak(row["name"])
        for row in info["isas"]
        if row["built"] and row["supported"]
    }
    rows = run_selftest(arguments.seed)
    failed = [row for row in rows if row.status == "FAILED"]
    document = {
        "cpu": info,
        "peak_gmacs": peaks,
        "versions": _versions(),
        "selftest": [row.__dict__ for row in rows],
        "ok": not failed,
    }
    if arguments.json:
        print_json(document)
        return 1 if failed else 0
    print(heading("CPU") + f"  {info['brand']}, {info['cpus']} CPUs")
    caches = (
        f"{name} {info[key] / 1024:,.0f} KiB" if info[key] else f"{name} unknown"
        for name, key in _CACHES.items()
    )
    print(f"  caches {', '.join(caches)}")
    columns = (Column("ISA"), Column("built"), Column("usable"), Column("int8 peak", right=True))
    cells = [
        [
            row["name"] + (" (default)" if row["name"] == info["best_isa"] else ""),
            "yes" if row["built"] else "no",
            "yes" if row["supported"] else "no",
            f"{peaks[row['name']]:.1f} GMAC/s" if row["name"] in peaks else "",
        ]
        for row in info["isas"]
    ]
    print(render(columns, cells))
    print()
    print(heading("versions"))
    for name, version in _versions().items():
        print(f"  {name:12} {version or 'not installed'}")
    print()
    print(heading("kernels against scalar") + f"  seed {arguments.seed}")
    print(
        render(
            (Column("kernel"), Column("ISA"), Column("cases", right=True), Column("result")),
            [[row.kernel, row.isa, str(row.cases), row.status] for row in rows],
        )
    )
    verdict = f"{len(failed)} kernels FAILED" if failed else "all usable kernels equal scalar"
    print(style(f"  {verdict}", "red" if failed else "green"))
    return 1 if failed else 0

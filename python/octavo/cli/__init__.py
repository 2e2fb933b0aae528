# SPDX-License-Identifier: Apache-2.0
"""The command `octavo`. One file per subcommand, each with `add_parser` and `run`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from octavo.errors import OctavoError

__all__ = ["main"]

COMMANDS = (
    "demo",
    "quantize",
    "inspect",
    "run",
    "compare",
    "explain",
    "sensitivity",
    "search",
    "bench",
    "profile",
    "doctor",
)


def _parser() -> argparse.ArgumentParser:
    from octavo import __version__

    parser = argparse.ArgumentParser(
        prog="octavo",
        description="Quantized neural networks on CPUs: same bits everywhere, and fast.",
    )
    parser.add_argument("--version", action="version", version=f"octavo {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"octavo.cli.{name}_command")
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"example: {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        if not getattr(module, "OWN_JSON", False):
            sub.add_argument("--json", action="store_true", help="print machine-readable JSON")
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns 0, 1 for an OctavoError or a failing system call (one line on
    stderr), 130 for Ctrl-C."""
    if sys.stdout is None:  # started with stdout closed
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (open until the process ends)
    try:
        arguments = _parser().parse_args(argv)
        status = int(arguments.run(arguments) or 0)
        sys.stdout.flush()  # a full disk or a closed pipe shows here, not while exiting
        return status
    except OctavoError as error:
        print(f"octavo: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        # CPython remembers an interrupt that passed through `exec`, as it does in the middle of an
        # import with dataclasses, and would end the process by SIGINT whatever is returned here.
        # Running code anew makes it forget.
        exec("")
        hint = f": {stop}" if str(stop) else ""
        print(f"octavo: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # e.g. `octavo inspect m.onnx | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # e.g. no space left for the output
        print(f"octavo: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1

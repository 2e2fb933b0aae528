#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whether clang takes the Arm sources too: each as the cross build compiles it, no output.

    tools/aarch64/build && python tools/aarch64/clang_syntax.py build/aarch64

macOS and Android compile with clang, whose arm_neon.h has macros where gcc's has functions. Exits
with 1 if a file has an error or a warning; needs clang++-19 and the headers of the cross compiler.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLANG = ["clang++-19", "--target=aarch64-linux-gnu", "-fsyntax-only", "-Werror"]
GCC_ONLY = ("-moverride", "-Wno-psabi")
#: Where the architecture shows; the rest is what the native clang build compiles.
FOLDERS = ("base", "kernels")


def command_of(entry: dict[str, str]) -> list[str]:
    """gcc's command line with clang in the place of gcc, and without what only gcc knows."""
    words = iter(shlex.split(entry["command"]))
    found = list(CLANG)
    for word in words:
        if word in ("-o", "-MF", "-MT"):
            next(words)
        elif word.startswith(("-D", "-I", "-W", "-m", "-std", "-ff", "-fno-")):
            if not word.startswith(GCC_ONLY):
                found.append(word)
        elif word in ("-isystem", "-idirafter"):
            found += [word, next(words)]
    return [*found, "-Wno-unknown-pragmas", entry["file"]]  # GCC ivdep


def errors_in(entry: dict[str, str]) -> str:
    done = subprocess.run(command_of(entry), cwd=entry["directory"], capture_output=True, text=True)
    return done.stderr if done.returncode else ""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: clang_syntax.py build/aarch64", file=sys.stderr)
        return 2
    entries = json.loads((Path(arguments[0]) / "compile_commands.json").read_text("utf-8"))
    entries = [e for e in entries if any(f"/csrc/{folder}/" in e["file"] for folder in FOLDERS)]
    if not entries:
        print(f"{arguments[0]}: no sources in compile_commands.json", file=sys.stderr)
        return 1
    with ThreadPoolExecutor(2) as pool:
        failures = [text for text in pool.map(errors_in, entries) if text]
    print("\n".join([*failures, f"clang_syntax: {len(entries)} files, {len(failures)} refused"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

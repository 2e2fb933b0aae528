#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Whole networks as plans with one seeded input each, for runs under qemu.

    python tools/aarch64/whole_networks.py networks.npz

The models of tests/models and MobileNetV2 of the benchmark zoo, in the file format of
tools/golden.py --cases. Needs the extra `onnx`; a model whose file this machine lacks is named.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import golden_cases
import octavo
import witness_models
from bench import qdq_cache

SEED = 20240607


def _files(scratch: Path) -> Iterator[tuple[str, Path]]:
    for model in witness_models.MODELS:
        try:
            yield model.name, model.write(scratch)
        except witness_models.NotAvailableError as missing:
            print(f"{model.name}: {missing}")
    yield "mobilenet_v2", qdq_cache.quantized_model("mobilenet_v2", qdq_cache.default_cache())


def main(arguments: list[str]) -> int:
    (target,) = arguments
    cases = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, path in _files(Path(scratch)):
            model = octavo.load(path)
            feed = witness_models.feed(onnx.load(path), SEED)
            inputs = tuple(feed[info.name] for info in model.inputs)
            cases.append(golden_cases.Case(name, model.plan_bytes().data, inputs))
    golden_cases.save(Path(target), {"networks": cases})
    print(f"{len(cases)} networks: {', '.join(case.name for case in cases)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

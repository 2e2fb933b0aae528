# SPDX-License-Identifier: Apache-2.0
"""The zoo, quantized once: QDQ files in a cache folder, named by what they were made from."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import onnx

import octavo
from bench import zoo
from bench.zoo_blocks import INPUT_NAME
from octavo.benchmark.static_shapes import fix_shapes

CALIBRATION_BATCHES = 8
# Seeds from here on, so that no measured input was calibrated on.
CALIBRATION_SEED = 1000
_ZOO_SOURCES = ("zoo.py", "zoo_blocks.py", "zoo_transformer.py", "inputs.py", "qdq_cache.py")


def default_cache() -> Path:
    """Folder for quantized models: XDG_CACHE_HOME or ~/.cache, then octavo-bench."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "octavo-bench"


def _quantizer_sources() -> list[Path]:
    """Source files of octavo that decide what a QDQ file holds."""
    package = Path(octavo.__file__).parent
    return sorted(f for sub in ("quantization", "exporters") for f in (package / sub).glob("*.py"))


def cache_key() -> str:
    """Hash of the sources that a QDQ file depends on: the zoo's and the quantizer's."""
    digest = hashlib.sha256()
    sources = [Path(__file__).parent / name for name in _ZOO_SOURCES]
    for source in sources + _quantizer_sources():
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def quantized_model(name: str, cache: Path) -> Path:
    """Path of the zoo model `name` as QDQ at batch 1, made now unless the cache has it."""
    target = cache / f"{name}-{cache_key()}.onnx"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    calibration = [
        {INPUT_NAME: zoo.random_input(name, CALIBRATION_SEED + i)}
        for i in range(CALIBRATION_BATCHES)
    ]
    # Same file system as the target, so that the last step is an atomic rename.
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        float_path, qdq_path = Path(scratch) / "float.onnx", Path(scratch) / "qdq.onnx"
        onnx.save_model(zoo.ZOO[name](), float_path)
        octavo.quantize(str(float_path), calibration=calibration).to_onnx(str(qdq_path))
        fix_shapes(qdq_path, qdq_path)
        qdq_path.replace(target)
    return target

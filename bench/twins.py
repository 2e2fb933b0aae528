# SPDX-License-Identifier: Apache-2.0
"""MLPerf Tiny's own int8 TFLite files, for LiteRT beside our networks of the same architecture.

Looked up under OCTAVO_SHARED (default: ../shared beside the repository), not part of the project.
Topology, shapes and multiply-accumulates are the same, weights and input values are not: times can
be compared, outputs cannot.
"""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(os.environ.get("OCTAVO_SHARED", Path(__file__).resolve().parents[2] / "shared"))
NOTE = "same architecture, other weights"

TWINS = {
    "kws_ds_cnn": "kws_ref_model.tflite",
    "resnet8": "pretrainedResnet_quant.tflite",
    "vww_mobilenet_v1_025_96": "vww_96_int8.tflite",
    "ad_autoencoder": "ad01_int8.tflite",
}


def absent() -> str | None:
    """Why no file is there; None where at least one is."""
    folder = SHARED / "models" / "mlperf_tiny"
    if any((folder / file).is_file() for file in TWINS.values()):
        return None
    return "MLPerf Tiny's TFLite files are not under OCTAVO_SHARED, models/mlperf_tiny"


def twin(name: str) -> Path | None:
    """The TFLite file of the same architecture; None where there is none, or it is absent."""
    path = SHARED / "models" / "mlperf_tiny" / TWINS.get(name, "none")
    return path if path.is_file() else None

# SPDX-License-Identifier: Apache-2.0
"""One small adapter per runtime: import it, load a QDQ ONNX file, call it.

Each adapter gives its runtime the settings that suit a latency benchmark: a fixed number of
threads, full graph optimisation, static shapes (the files are fixed to batch 1), and no copies
of inputs and outputs where the runtime lets the caller choose.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Feed = Mapping[str, npt.NDArray[Any]]
Outputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run: `call` is what gets timed, `outputs` copies its result by name."""

    call: Callable[[Feed], Any]
    named: Callable[[Any], Outputs]

    def outputs(self, feed: Feed) -> Outputs:
        """Run once; arrays are copies, which a later call does not overwrite."""
        return {name: np.array(value) for name, value in self.named(self.call(feed)).items()}


class Runtime(Protocol):
    """An importable runtime.

    Constructing one imports its package and raises ImportError where that is missing.
    """

    name: str
    install: str
    version: str
    timed: bool

    def load(self, path: Path, threads: int) -> LoadedModel:
        """Load a QDQ ONNX file with static shapes for `threads` threads."""


class OctavoRuntime:
    """This project; also quantizes the zoo and measures the GEMM peak."""

    name = "octavo"
    install = "pip install ."
    timed = True

    def __init__(self, isa: str | None = None) -> None:
        self._octavo = importlib.import_module("octavo")
        self._core = importlib.import_module("octavo._core")
        self.version = str(self._octavo.__version__)
        self.cpu_info: dict[str, Any] = dict(self._octavo.cpu_info())
        self._isa = isa
        self.isa = str(isa or os.environ.get("OCTAVO_ISA") or self.cpu_info["best_isa"])

    def load(self, path: Path, threads: int) -> LoadedModel:
        session = self._octavo.load(str(path)).compile(threads=threads, isa=self._isa)
        return LoadedModel(session.run, dict)

    def quantize(self, float_path: Path, calibration: list[Feed], qdq_path: Path) -> None:
        """Quantize a float ONNX file and write it as QDQ."""
        model = self._octavo.quantize(str(float_path), calibration=calibration)
        model.to_onnx(str(qdq_path))

    def quantizer_sources(self) -> list[Path]:
        """Source files that decide what a QDQ file holds, for cache keys."""
        package = Path(str(self._octavo.__file__)).parent
        return sorted(
            f for sub in ("quantization", "exporters") for f in (package / sub).glob("*.py")
        )

    def peak(self) -> float:
        """GEMM peak of one core for the ISA in use, GMAC/s, measured now."""
        return float(self._core.measure_peak(self.isa))


class OnnxRuntime:
    """ONNX Runtime, CPU provider."""

    name = "onnxruntime"
    install = "pip install onnxruntime"
    timed = True
    _optimization = "ORT_ENABLE_ALL"

    def __init__(self) -> None:
        self._ort = importlib.import_module("onnxruntime")
        self.version = str(self._ort.__version__)

    def load(self, path: Path, threads: int) -> LoadedModel:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        levels = self._ort.GraphOptimizationLevel
        options.graph_optimization_level = getattr(levels, self._optimization)
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        session = self._ort.InferenceSession(str(path), options, providers=providers)
        names = [output.name for output in session.get_outputs()]
        return LoadedModel(
            lambda feed: session.run(names, feed),
            lambda result: dict(zip(names, result, strict=True)),
        )


class OnnxRuntimeUnfused(OnnxRuntime):
    """ONNX Runtime without graph optimisation: Q and DQ as written, everything else in float32.

    A witness for outputs, not a contender: where a peer's int8 kernels saturate (16-bit sums of
    u8·s8 pairs on CPUs without VNNI), it tells which side of a difference is right.
    """

    name = "onnxruntime-unfused"
    timed = False
    _optimization = "ORT_DISABLE_ALL"


class OpenVino:
    """OpenVINO, CPU device, latency hint."""

    name = "openvino"
    install = "pip install openvino"
    timed = True

    def __init__(self) -> None:
        self._ov = importlib.import_module("openvino")
        # "2026.1.0-12345-abcdef" → the release alone.
        self.version = str(self._ov.__version__).split("-")[0]

    def load(self, path: Path, threads: int) -> LoadedModel:
        config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        compiled = self._ov.Core().compile_model(str(path), "CPU", config)
        request = compiled.create_infer_request()
        names = [output.any_name for output in compiled.outputs]
        return LoadedModel(
            lambda feed: request.infer(feed, share_inputs=True, share_outputs=True),
            lambda result: dict(zip(names, result.to_tuple(), strict=True)),
        )


PEERS: dict[str, type[OnnxRuntime] | type[OpenVino]] = {
    OnnxRuntime.name: OnnxRuntime,
    OnnxRuntimeUnfused.name: OnnxRuntimeUnfused,
    OpenVino.name: OpenVino,
}


def open_runtimes(peers: list[str], isa: str | None) -> tuple[dict[str, Runtime], dict[str, str]]:
    """Octavo and the peers that can be imported, and for the rest how to install them."""
    runtimes: dict[str, Runtime] = {}
    missing: dict[str, str] = {}
    factories: list[tuple[str, str, Callable[[], Runtime]]] = [
        (OctavoRuntime.name, OctavoRuntime.install, lambda: OctavoRuntime(isa))
    ]
    factories += [(name, PEERS[name].install, PEERS[name]) for name in peers]
    for name, install, factory in factories:
        try:
            runtimes[name] = factory()
        except ImportError as error:
            missing[name] = f"{error}: {install}"
    return runtimes, missing

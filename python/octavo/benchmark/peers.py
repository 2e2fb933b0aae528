# SPDX-License-Identifier: Apache-2.0
"""One adapter per peer. Each gets the settings that suit a latency benchmark: a fixed number of
threads, full graph optimisation, the pool's default spinning, no copies where that is a choice.
"""

from __future__ import annotations

import importlib
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from octavo.benchmark.runtimes import Feed, LoadedModel, OctavoRuntime, Outputs, Runtime
from octavo.model import Source

__all__ = ["PEERS", "open_runtime", "open_runtimes"]

_ORT_INT8 = {
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
}
_ORT_FLOAT = {
    "Attention",
    "Conv",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gemm",
    "MatMul",
    "MultiHeadAttention",
    "NhwcFusedConv",
}


class OnnxRuntime:
    """ONNX Runtime, CPU provider."""

    name = "onnxruntime"
    package = "onnxruntime"
    timed = True
    formats: tuple[str, ...] = (".onnx",)
    settings = "CPUExecutionProvider, ORT_ENABLE_ALL, ORT_SEQUENTIAL, intra_op threads, spinning on"
    _optimization = "ORT_ENABLE_ALL"

    def __init__(self) -> None:
        self._ort = importlib.import_module("onnxruntime")
        self.version = str(self._ort.__version__)

    def load(self, path: Path, threads: int) -> LoadedModel:
        session = self._session(path, threads)
        names = [output.name for output in session.get_outputs()]
        return LoadedModel(
            call=lambda feed: session.run(names, feed),
            named=lambda result: dict(zip(names, result, strict=True)),
            bind=lambda feed: self._bind(session, feed, names),
            precision=lambda: self._precision(path),
        )

    def _session(self, path: Path, threads: int, optimized: str | None = None) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._ort.ExecutionMode.ORT_SEQUENTIAL
        levels = self._ort.GraphOptimizationLevel
        options.graph_optimization_level = getattr(levels, self._optimization)
        options.log_severity_level = 3
        if optimized is not None:
            options.optimized_model_filepath = optimized
        providers = ["CPUExecutionProvider"]
        return self._ort.InferenceSession(str(path), options, providers=providers)

    def _bind(self, session: Any, feed: Feed, names: list[str]) -> Callable[[], Any]:
        binding = session.io_binding()
        for name, array in feed.items():
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(array))
        # Outputs of one run, bound again: memory of the right shapes that later runs write.
        for name, array in zip(names, session.run(names, feed), strict=True):
            binding.bind_ortvalue_output(name, self._ort.OrtValue.ortvalue_from_numpy(array))
        return lambda: session.run_with_iobinding(binding)

    def _precision(self, path: Path) -> Mapping[str, int]:
        """Operations with multiply-accumulates of the optimized graph, as ORT writes it out."""
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "optimized.onnx"
            self._session(path, 1, str(target))
            kinds = [node.op_type for node in onnx.load_model(target).graph.node]
        counts = {"int8": _ORT_INT8, "float32": _ORT_FLOAT}
        found = {name: sum(kind in ops for kind in kinds) for name, ops in counts.items()}
        return {name: count for name, count in found.items() if count}


class OnnxRuntimeUnfused(OnnxRuntime):
    """ONNX Runtime without graph optimisation: Q and DQ as written, everything else in float32.

    A witness for outputs, not a contender: where a peer's int8 kernels saturate (16-bit sums of
    u8·s8 pairs on CPUs without VNNI), it tells which side of a difference is right.
    """

    name = "onnxruntime-unfused"
    timed = False
    settings = "as onnxruntime, ORT_DISABLE_ALL; a witness for outputs, not timed"
    _optimization = "ORT_DISABLE_ALL"


class OpenVino:
    """OpenVINO, CPU device, latency hint."""

    name = "openvino"
    package = "openvino"
    timed = True
    formats: tuple[str, ...] = (".onnx", ".tflite")
    settings = (
        "CPU, INFERENCE_NUM_THREADS, PERFORMANCE_HINT=LATENCY, INFERENCE_PRECISION_HINT=f32 (where "
        "not int8), infer(share_inputs, share_outputs)"
    )

    def __init__(self) -> None:
        self._ov = importlib.import_module("openvino")
        # "2026.1.0-12345-abcdef" → the release alone.
        self.version = str(self._ov.__version__).split("-")[0]

    def load(self, path: Path, threads: int) -> LoadedModel:
        config = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        compiled = self._ov.Core().compile_model(str(path), "CPU", config)
        request = compiled.create_infer_request()
        names = [output.any_name for output in compiled.outputs]

        def named(result: Any) -> Outputs:
            return dict(zip(names, result.to_tuple(), strict=True))

        def bind(feed: Feed) -> Callable[[], Any]:
            fixed = compiled.create_infer_request()
            for name, array in feed.items():
                fixed.set_tensor(name, self._ov.Tensor(array, shared_memory=True))
            return lambda: fixed.infer(share_outputs=True)

        return LoadedModel(
            call=lambda feed: request.infer(feed, share_inputs=True, share_outputs=True),
            named=named,
            bind=bind,
            precision=lambda: self._precision(compiled),
        )

    @staticmethod
    def _precision(compiled: Any) -> Mapping[str, int]:
        """Runtime precision of the layers with multiply-accumulates, as OpenVINO executes them."""
        counts: Counter[str] = Counter()
        for op in compiled.get_runtime_model().get_ops():
            info = op.get_rt_info()
            kind = info["layerType"].astype(str)
            if kind in ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "MHA"):
                found = info["runtimePrecision"].astype(str)
                names = {"u8": "int8", "i8": "int8", "f32": "float32"}
                counts[names.get(found, found)] += 1
        return counts


class LiteRt:
    """LiteRT (formerly TensorFlow Lite) with its default XNNPACK delegate; reads .tflite only."""

    name = "litert"
    package = "ai_edge_litert.interpreter"
    timed = True
    formats: tuple[str, ...] = (".tflite",)
    settings = "XNNPACK delegate (default), num_threads, set_tensor + invoke + get_tensor"

    def __init__(self) -> None:
        self._module = importlib.import_module("ai_edge_litert.interpreter")
        self.version = metadata.version("ai-edge-litert")

    def load(self, path: Path, threads: int) -> LoadedModel:
        interpreter = self._module.Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
        inputs = {d["name"]: d["index"] for d in interpreter.get_input_details()}
        outputs = {d["name"]: d["index"] for d in interpreter.get_output_details()}
        sources, targets = list(inputs.items()), list(outputs.values())

        def call(feed: Feed) -> list[Any]:
            for name, index in sources:
                interpreter.set_tensor(index, feed[name])
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in targets]

        return LoadedModel(
            call=call,
            named=lambda result: dict(zip(outputs, result, strict=True)),
            precision=lambda: self._precision(interpreter),
        )

    @staticmethod
    def _precision(interpreter: Any) -> Mapping[str, int]:
        """Element types of the model's inputs: the file's own, LiteRT does not convert."""
        kinds = {np.dtype(d["dtype"]).name for d in interpreter.get_input_details()}
        return {("int8" if kind in ("int8", "uint8") else kind): 1 for kind in kinds}

    def feed(self, path: Path, seed: int) -> Feed:
        """Random inputs over the whole range of the file's own input types."""
        interpreter = self._module.Interpreter(model_path=str(path))
        rng = np.random.default_rng(seed)
        arrays: dict[str, Any] = {}
        for detail in interpreter.get_input_details():
            dtype, shape = np.dtype(detail["dtype"]), tuple(detail["shape"])
            if dtype.kind == "f":
                arrays[detail["name"]] = rng.standard_normal(shape, np.float32).astype(dtype)
            else:
                limits = np.iinfo(dtype)
                values = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
                arrays[detail["name"]] = values
        return arrays


PEERS: dict[str, Callable[[], Runtime]] = {
    OnnxRuntime.name: OnnxRuntime,
    OnnxRuntimeUnfused.name: OnnxRuntimeUnfused,
    OpenVino.name: OpenVino,
    LiteRt.name: LiteRt,
}


def open_runtime(name: str, isa: str | None = None) -> Runtime:
    """A runtime by name. Raises ImportError where its package is missing."""
    return OctavoRuntime(isa) if name == OctavoRuntime.name else PEERS[name]()


def open_runtimes(
    peers: list[str], isa: str | None, tune: bool | Source = False
) -> tuple[dict[str, Runtime], dict[str, str]]:
    """Octavo and the peers that can be imported, and for the rest how to install them."""
    runtimes: dict[str, Runtime] = {OctavoRuntime.name: OctavoRuntime(isa, tune)}
    missing: dict[str, str] = {}
    for name in peers:
        try:
            runtimes[name] = open_runtime(name)
        except ImportError as error:
            missing[name] = f"{error}: pip install 'octavo[bench]'"
    return runtimes, missing

# SPDX-License-Identifier: Apache-2.0
"""Small TFLite models written in the tests with the flatbuffers builder, and LiteRT as witness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

tflite = pytest.importorskip("tflite", reason="NOT RUN: the package tflite is not installed")
import flatbuffers  # noqa: E402

SEED = 20241121
_ELEMENTS = {
    "float32": "FLOAT32", "float16": "FLOAT16", "int32": "INT32", "uint8": "UINT8",
    "int64": "INT64", "bool": "BOOL", "int16": "INT16", "int8": "INT8",
}  # fmt: skip


@dataclass
class Tensor:
    name: str
    shape: Sequence[int]
    kind: str = "float32"
    data: np.ndarray | None = None
    scale: Any = None
    zero_point: Any = 0
    axis: int = 0
    signature: Sequence[int] | None = None


@dataclass
class Operator:
    op: str
    inputs: list[int]
    outputs: list[int]
    table: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class Lite:
    """A model under construction; methods return tensor numbers."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(SEED)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.version = 3
        self.identifier = b"TFL3"

    def tensor(self, shape: Sequence[int], kind: str = "float32", **fields: Any) -> int:
        fields.setdefault("name", f"t{len(self.tensors)}")
        self.tensors.append(Tensor(shape=shape, kind=kind, **fields))
        return len(self.tensors) - 1

    def input(self, shape: Sequence[int], kind: str = "float32", **fields: Any) -> int:
        fields.setdefault("name", f"x{len(self.inputs)}")
        self.inputs.append(self.tensor(shape, kind, **fields))
        return self.inputs[-1]

    def const(self, data: Any, **fields: Any) -> int:
        data = np.asarray(data)
        return self.tensor(data.shape, str(data.dtype), data=data, **fields)

    def op(
        self, op: str, inputs: Sequence[int], output: int | Sequence[int],
        table: str = "", **options: Any,
    ) -> int:  # fmt: skip
        outputs = [output] if isinstance(output, int) else list(output)
        self.operators.append(Operator(op, list(inputs), outputs, table, options))
        return outputs[0]

    def weights(self, *shape: int, kind: str = "float32", axis: int | None = None) -> int:
        """Random weights; int8 per channel along `axis`, uint8 per tensor around 120."""
        if kind == "float32":
            return self.const(self.rng.normal(0, 0.5, shape).astype(np.float32))
        if kind == "uint8":
            data = self.rng.integers(1, 256, shape).astype(np.uint8)
            return self.const(data, scale=[0.007], zero_point=[120])
        count = 1 if axis is None else shape[axis]
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = self.rng.uniform(0.002, 0.01, count)
        return self.const(data, scale=scale, zero_point=[0] * count, axis=axis or 0)

    def bias(self, count: int, x: int, w: int) -> int:
        if self.tensors[w].kind == "float32":
            return self.const(self.rng.normal(0, 1, count).astype(np.float32))
        scale = np.asarray(self.tensors[x].scale) * np.asarray(self.tensors[w].scale)
        data = self.rng.integers(-4000, 4000, count).astype(np.int32)
        return self.const(data, scale=scale, zero_point=[0] * scale.size)

    def build(self, *outputs: int) -> bytes:
        """The file."""
        self.outputs = list(outputs) or self.outputs
        b = flatbuffers.Builder(1024)
        buffers = [_table(b, "Buffer")]
        tensors = []
        for t in self.tensors:
            number = 0
            if t.data is not None:
                raw = b.CreateByteVector(np.ascontiguousarray(t.data).tobytes())
                buffers.append(_table(b, "Buffer", Data=raw))
                number = len(buffers) - 1
            tensors.append(_tensor(b, t, number))
        names = list(dict.fromkeys(item.op for item in self.operators))
        codes = [_code(b, name) for name in names]
        operators = [_operator(b, item, names) for item in self.operators]
        graph = _table(
            b, "SubGraph", Tensors=_offsets(b, tensors), Inputs=_ints(b, self.inputs),
            Outputs=_ints(b, self.outputs), Operators=_offsets(b, operators),
        )  # fmt: skip
        model = _table(
            b, "Model", Version=self.version, OperatorCodes=_offsets(b, codes),
            Subgraphs=_offsets(b, [graph]), Buffers=_offsets(b, buffers),
        )  # fmt: skip
        b.Finish(model, self.identifier)
        return bytes(b.Output())


def _table(b: Any, name: str, **fields: Any) -> int:
    getattr(tflite, f"{name}Start")(b)
    for key, value in fields.items():
        if value is not None:
            getattr(tflite, f"{name}Add{key}")(b, value)
    return int(getattr(tflite, f"{name}End")(b))


def _ints(b: Any, numbers: Sequence[int]) -> int:
    return int(b.CreateNumpyVector(np.asarray(numbers, np.int32)))


def _offsets(b: Any, items: Sequence[int]) -> int:
    b.StartVector(4, len(items), 4)
    for item in reversed(items):
        b.PrependUOffsetTRelative(item)
    return int(b.EndVector())


def _tensor(b: Any, t: Tensor, number: int) -> int:
    quantization = None
    if t.scale is not None:
        scale = b.CreateNumpyVector(np.atleast_1d(np.asarray(t.scale, np.float32)))
        points = b.CreateNumpyVector(np.atleast_1d(np.asarray(t.zero_point, np.int64)))
        quantization = _table(
            b, "QuantizationParameters", Scale=scale, ZeroPoint=points, QuantizedDimension=t.axis
        )
    signature = None if t.signature is None else _ints(b, t.signature)
    kind = getattr(tflite.TensorType, _ELEMENTS.get(t.kind, t.kind))
    return _table(
        b, "Tensor", Name=b.CreateString(t.name), Shape=_ints(b, t.shape), Type=kind,
        Buffer=number, Quantization=quantization, ShapeSignature=signature,
    )  # fmt: skip


def _code(b: Any, name: str) -> int:
    custom, _, label = name.partition(" ")
    text = b.CreateString(label) if label else None
    number = getattr(tflite.BuiltinOperator, custom)
    return _table(
        b, "OperatorCode", DeprecatedBuiltinCode=min(number, 127), BuiltinCode=number,
        CustomCode=text, Version=1,
    )  # fmt: skip


def _operator(b: Any, item: Operator, names: list[str]) -> int:
    options, kind = None, 0
    if item.table:
        fields = {
            key: _ints(b, value) if isinstance(value, (list, tuple)) else value
            for key, value in item.options.items()
        }
        options, kind = _table(b, item.table, **fields), getattr(tflite.BuiltinOptions, item.table)
    return _table(
        b, "Operator", OpcodeIndex=names.index(item.op), Inputs=_ints(b, item.inputs),
        Outputs=_ints(b, item.outputs), BuiltinOptionsType=kind, BuiltinOptions=options,
    )  # fmt: skip


@pytest.fixture
def lite() -> Lite:
    return Lite()


@pytest.fixture
def litert_run() -> Callable[..., list[np.ndarray]]:
    """Outputs of LiteRT's own kernels, without delegates."""
    package = pytest.importorskip(
        "ai_edge_litert.interpreter", reason="NOT RUN: LiteRT is not installed: .[bench]"
    )

    def run(model: bytes, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        plain = package.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = package.Interpreter(
            model_content=model, num_threads=1, experimental_op_resolver_type=plain
        )
        for detail in interpreter.get_input_details():
            interpreter.resize_tensor_input(detail["index"], feed[detail["name"]].shape)
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            interpreter.set_tensor(detail["index"], feed[detail["name"]])
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]

    return run


def feed_for(model: Lite) -> dict[str, np.ndarray]:
    """Seeded inputs; integers over their whole range."""
    rng = np.random.default_rng(SEED)
    found = {}
    for number in model.inputs:
        t = model.tensors[number]
        if t.kind == "float32":
            found[t.name] = rng.normal(0, 2, tuple(t.shape)).astype(np.float32)
        else:
            low, high = np.iinfo(t.kind).min, np.iinfo(t.kind).max
            found[t.name] = rng.integers(low, high, tuple(t.shape), t.kind, endpoint=True)
    return found


@pytest.fixture
def feed() -> Callable[[Lite], dict[str, np.ndarray]]:
    return feed_for

# SPDX-License-Identifier: Apache-2.0
"""What runs each step of a prepared plan, and what the step reads and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from octavo.ir import DTYPES

__all__ = ["KernelInfo", "kernel_infos"]

#: Precisions that compute in float32.
_FLOAT = ("float32", "weights int8")


@dataclass(frozen=True)
class KernelInfo:
    """What runs a step: `precision` is "int8", "int16" (s16 activations), "dynamic int8"
    (activations quantized on the fly), "weights int8" (8-bit weights, float32 arithmetic),
    "float32" or "copy"; `reason` says why a step of a quantized model is in float32; `inputs` and
    `outputs` are texts such as "u8 1×112×112×32"; `bytes` is the least that the step moves: inputs,
    outputs and constants, each once."""

    step: int
    node: str
    op: str
    kernel: str
    isa: str
    precision: str
    macs: int
    threads: int
    reason: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    bytes: int = 0


def kernel_infos(plan: Any, core: Any, reasons: Mapping[str, str]) -> list[KernelInfo]:
    """Of a `_core.Plan` and the `_core.Session` made from it; `reasons` maps float nodes to why."""
    tensors = {t["name"]: t for part in (plan.tensors, plan.inputs, plan.outputs) for t in part}
    infos = []
    for entry, step in zip(core.kernels(), plan.steps, strict=True):
        inputs, outputs = ([tensors[name] for name in step[role]] for role in ("inputs", "outputs"))
        infos.append(
            KernelInfo(
                step=entry["step"],
                node=entry["name"],
                op=entry["kind"],
                kernel=entry["kernel"],
                isa=entry["isa"],
                precision=entry["precision"],
                macs=entry["macs"],
                threads=entry["threads"],
                reason=reasons.get(entry["name"]) if entry["precision"] in _FLOAT else None,
                inputs=tuple(map(_text, inputs)),
                outputs=tuple(map(_text, outputs)),
                bytes=step["constant_bytes"] + sum(map(_bytes, inputs + outputs)),
            )
        )
    return infos


def _bytes(tensor: Mapping[str, Any]) -> int:
    return int(math.prod(tensor["shape"])) * np.dtype(DTYPES[tensor["dtype"]]).itemsize


def _text(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['dtype']} {'×'.join(map(str, tensor['shape'])) or 'scalar'}"

# SPDX-License-Identifier: Apache-2.0
"""Files by other quantizers load, run in integers, and mean what ONNX Runtime makes of them.

Layers that differ do so on rounding boundaries; see test_exported.py.
"""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from bench.onnx_info import output_steps

import octavo
from witness import TIE, onnx_runtime, takes_precise
from witness_layers import pieces, run_piece, stored_tensors, with_outputs

pytestmark = pytest.mark.witness
#: (format, activations, weights, per channel)
STATIC = [
    ("QDQ", "QUInt8", "QInt8", True),
    ("QDQ", "QInt8", "QInt8", True),
    ("QDQ", "QUInt8", "QUInt8", False),
    ("QDQ", "QUInt8", "QInt8", False),
    ("QOperator", "QUInt8", "QInt8", True),
    ("QOperator", "QInt8", "QInt8", True),
    ("QOperator", "QUInt8", "QUInt8", False),
]


def judge(path, images, layers, outputs, tie=TIE):
    """Fills both tallies: layers on ONNX Runtime's own tensors, and the network's outputs."""
    model, loaded = onnx.load(path), octavo.load(path)
    precise = takes_precise(model)  # with s8 weights and activations its kernels do not saturate
    source, names = model.graph.input[0].name, stored_tensors(model)
    values = onnx_runtime(with_outputs(model, names), precise=precise).run(names, {source: images})
    known = {source: images, **dict(zip(names, values, strict=True))}
    for piece in pieces(model):
        ours = run_piece(model, piece, known)
        steps = layers.add(ours.stored, known[piece.output])
        fraction = np.abs(ours.real - np.floor(ours.real) - 0.5)
        assert np.all(fraction[steps > 0] < tie), f"{piece.op} {piece.output}"
    (theirs,) = onnx_runtime(model, precise=precise).run(None, {source: images})
    (step,) = output_steps(model).values()
    ours = next(iter(loaded.compile().run(images).values()))
    outputs.add(ours, theirs, step or float(np.abs(theirs).max()) / 255)
    print(f"layers equal {layers.share:.6f}, outputs {outputs.share:.5f}, {outputs.largest} steps")
    return loaded


class Reader:
    """Calibration data as onnxruntime.quantization reads them."""

    def __init__(self, batches):
        self.batches = iter(batches)

    def get_next(self):
        batch = next(self.batches, None)
        return None if batch is None else {"x": batch}


@pytest.mark.parametrize("case", STATIC, ids=lambda case: "-".join(map(str, case)))
def test_onnxruntime_static(case, float_small, tally, tmp_path):
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    path, calibration, images = float_small
    form, activations, weights, per_channel = case
    target = tmp_path / "q.onnx"
    quantize_static(
        path, target, Reader(calibration), quant_format=QuantFormat[form],
        activation_type=QuantType[activations], weight_type=QuantType[weights],
        per_channel=per_channel,
    )  # fmt: skip
    layers, outputs = tally(), tally()
    model = judge(target, images, layers, outputs)
    assert not model.float_reasons
    model.compile(strict=True)
    assert layers.largest <= 1
    assert layers.share >= 0.999
    assert outputs.largest <= 1
    assert outputs.share >= 0.9


@pytest.mark.parametrize("full", [False, True])
def test_nncf(full, float_small, tally, tmp_path):
    """NNCF leaves the network's output in float32: its last layer runs in integers all the same."""
    nncf = pytest.importorskip("nncf", reason="NOT RUN: nncf is not installed")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    path, calibration, images = float_small
    data = nncf.Dataset([{"x": row[None]} for batch in calibration for row in batch])
    target = tmp_path / "nncf.onnx"
    onnx.save_model(nncf.quantize(onnx.load(path), data, fast_bias_correction=not full), target)
    layers, outputs = tally(), tally()
    # ONNX Runtime computes the convolution behind Concat in float32: its noise widens the boundary
    model = judge(target, images, layers, outputs, tie=5e-3)
    assert not model.float_reasons
    assert layers.largest <= 1
    assert layers.share >= 0.95  # an average pool of equal scales: one mean in four is a tie
    assert outputs.largest <= 3


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("weights", ["QInt8", "QUInt8"])
def test_onnxruntime_dynamic(weights, per_channel, float_small, tmp_path):
    """Activations quantized on the fly give the same integers; float32 in between may round."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path, _, images = float_small
    prepared, target = tmp_path / "prepared.onnx", tmp_path / "q.onnx"
    quant_pre_process(path, prepared)
    quantize_dynamic(prepared, target, weight_type=QuantType[weights], per_channel=per_channel)
    model = octavo.load(target)
    assert not model.float_reasons
    (theirs,) = onnx_runtime(onnx.load(target), precise=False).run(None, {"x": images})
    ours = next(iter(model.compile().run(images).values()))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * float(np.abs(theirs).max()))

# SPDX-License-Identifier: Apache-2.0
"""QDQ files that we write mean the same in ONNX Runtime and OpenVINO: layer by layer and whole.

Layer by layer means on ONNX Runtime's own 8-bit inputs. A layer that differs does so by one step,
where the real value lies on a rounding boundary; in a deep network such a step spreads.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bench.onnx_info import output_steps

import octavo
from witness import TIE, onnx_runtime
from witness_layers import piece_model, pieces, run_piece, stored_tensors, with_outputs

pytestmark = pytest.mark.witness
NETS = ("small", "digits", "resnet20", "squeezenet1_1", "mobilenet_v2")


def whole(path, images):
    """(ours, step of the output)."""
    ours = next(iter(octavo.load(path).compile().run(images).values()))
    (step,) = output_steps(onnx.load(path)).values()
    return ours, step


def tensors(model, images):
    """Every 8-bit tensor as ONNX Runtime computes it, and the input."""
    names, source = stored_tensors(model), model.graph.input[0].name
    found = onnx_runtime(with_outputs(model, names)).run(names, {source: images})
    return {source: images, **dict(zip(names, found, strict=True))}


def compare_layers(model, images, found, other=None):
    """Adds every layer to `found`; another runtime's result beside ONNX Runtime's, if given.

    Asserts that values which differ lie on a rounding boundary.
    """
    known = tensors(model, images)
    for piece in pieces(model):
        ours = run_piece(model, piece, known)
        result = ours.stored
        if other is not None:
            feed = {name: known[name] for name in piece.inputs}
            result = other(piece_model(model, piece, known), feed)
        steps = found.add(result, known[piece.output])
        fraction = np.abs(ours.real - np.floor(ours.real) - 0.5)
        assert np.all(fraction[steps > 0] < TIE), f"{piece.op} {piece.output}"


@pytest.mark.parametrize("name", NETS)
def test_onnxruntime(name, exported, tally):
    path, images = exported(name)
    model = onnx.load(path)
    layers = tally()
    images = images if name in NETS[:2] else images[:1]
    compare_layers(model, images, layers)
    assert layers.largest <= 1
    # "small" averages 2×2 values between equal scales: a quarter of them lie on a boundary, and it
    # depends on the scale whether float32 shows it.
    assert layers.share >= (0.98 if name == "small" else 0.999)
    ours, step = whole(path, images)
    source = model.graph.input[0].name
    exact, saturating = tally(), tally()
    exact.add(ours, onnx_runtime(model).run(None, {source: images})[0], step)
    saturating.add(ours, onnx_runtime(model, precise=False).run(None, {source: images})[0], step)
    print(
        f"{name}: {layers.count} values of layers equal {layers.share:.6f}, outputs "
        f"{exact.share:.5f}; by ONNX Runtime's saturating kernels {saturating.share:.5f}"
    )
    if layers.share == 1:  # nothing on a boundary that could spread
        assert exact.share == 1


@pytest.mark.parametrize("name", NETS[:3])
def test_openvino_layers(name, exported, halved, openvino_run, tally):
    """Integer kernels on weights that cannot saturate."""
    path, images = exported(name)
    found = tally()
    compare_layers(halved(onnx.load(path)), images[:1], found, openvino_run)
    print(f"{name}: {found.count} values of layers equal {found.share:.6f}")
    assert found.largest <= 1
    assert found.share >= (0.99 if name == "small" else 0.999)  # means of equal scale: many ties


@pytest.mark.parametrize("name", ["small", "digits"])
def test_openvino_layers_in_float32(name, exported, openvino_run, tally):
    """The file as it is, with OpenVINO's integer kernels switched off."""
    path, images = exported(name)
    found = tally()

    def run(model, feed):
        return openvino_run(model, feed, integer=False)

    compare_layers(onnx.load(path), images, found, run)
    print(f"{name}: {found.count} values of layers equal {found.share:.6f}")
    assert found.share >= 0.99


@pytest.mark.parametrize("name", NETS[:-1])
def test_openvino(name, exported, halved, openvino_run, tally, tmp_path):
    """Whole networks, weights of 7 bits: OpenVINO leaves out roundings between layers that it fuses
    and divides by reciprocals, so that outputs are a step beside here and there."""
    path, images = exported(name)
    model, file = halved(onnx.load(path)), tmp_path / "halved.onnx"
    onnx.save_model(model, file)
    exact, full = tally(), tally()
    ours, step = whole(file, images)
    exact.add(ours, openvino_run(model, {model.graph.input[0].name: images}), step)
    ours, step = whole(path, images)
    full.add(ours, openvino_run(onnx.load(path), {model.graph.input[0].name: images}), step)
    print(f"{name}: outputs equal {exact.share:.5f}, with 8-bit weights {full.share:.5f}")
    assert exact.largest <= 1
    assert exact.share >= 0.75

# SPDX-License-Identifier: Apache-2.0
"""Small quantized networks with data, and changes that damage them."""

import tempfile
from dataclasses import replace
from functools import lru_cache
from importlib import resources

import numpy as np
import pytest
from planted import stored_name
from small_nets import images, residual_net

import octavo
from octavo.ir import Affine
from octavo.quantization.recipe import Recipe

#: Recovery methods would hide what some tests plant in the float network.
PLAIN = Recipe(equalize=False, smooth=None)


@lru_cache
def residual():
    return octavo.quantize(residual_net(3), [images(32, 53)]), images(48, 60)


@lru_cache
def digits():
    def shipped(name):
        with resources.as_file(resources.files("octavo.demo") / name) as path:
            return octavo.load(path)

    with (
        resources.as_file(resources.files("octavo.demo") / "digits_heldout.npz") as path,
        np.load(path) as data,
    ):
        x = data["test_images"][:64].astype(np.float32).reshape(-1, 1, 8, 8) / 16
    int8, floating = shipped("digits_int8.octavo"), shipped("digits_f32.octavo")
    return octavo.Model(int8.source, reference=floating.source), x


@lru_cache
def encoder():
    zoo = pytest.importorskip("bench.zoo_transformer", reason="NOT RUN: onnx is not installed")
    import onnx

    sizes = zoo.Encoder(layers=1, width=36, heads=3, hidden=70, positions=21)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save_model(zoo.EncoderBuilder("encoder", sizes, seed=5).build(), f"{folder}/e.onnx")
        graph = octavo.load(f"{folder}/e.onnx").source
    rng = np.random.default_rng(0)
    batches = [rng.normal(0, 1, (1, 21, 36)).astype(np.float32) for _ in range(12)]
    return octavo.quantize(octavo.Model(graph), batches[:8], recipe=PLAIN), batches[8:]


NETS = {"residual": residual, "digits": digits, "encoder": encoder}


def nodes(model, *ops):
    return [node.name for node in model.source.nodes if node.op in ops]


def changed(model, name, value):
    graph = model.source
    return octavo.Model(
        graph.with_(values={**graph.values, name: value}), reference=model.reference
    )


def edit(model, node_name, where, change):
    """The model with `change` applied to the stored "output", "weights" or "bias" of a node."""
    graph = model.source
    (node,) = [node for node in graph.nodes if node.name == node_name]
    if where == "bias":
        name = graph.producers[node.inputs[2]].inputs[0]
    else:
        name = stored_name(graph, node, where)
    return changed(model, name, change(graph.values[name]))


def scaled(factor, shift=0, channel=None):
    def change(value):
        scale = value.affine.scale.astype(np.float32).copy()
        if channel is None:
            scale = (scale * np.float32(factor)).astype(np.float32)
        else:
            scale[channel] *= np.float32(factor)
        zero = np.clip(value.affine.zero_point + shift, 0, 255).astype(np.int32)
        return replace(value, quant=Affine(scale, zero, value.affine.axis))

    return change


def data(function):
    def change(value):
        return replace(value, data=np.ascontiguousarray(function(value.data.copy())))

    return change


def shuffled(weights):
    return np.random.default_rng(1).permutation(weights.reshape(-1)).reshape(weights.shape)


def one_channel(weights):
    weights[1] = np.random.default_rng(2).integers(-100, 100, weights[1].shape)
    return weights


def zero_weight_points(value):
    points = np.full_like(value.affine.zero_point, 40)
    return replace(value, quant=Affine(value.affine.scale, points, value.affine.axis))


def rounded_away(value):
    """The channel's scale is so large that its weights round to zero."""
    weights = value.data.copy()
    weights[2] = 0
    return replace(scaled(300.0, channel=2)(value), data=weights)


def shifted_bias(value):
    return replace(value, data=(value.data + np.int32(np.abs(value.data).max() * 4)))

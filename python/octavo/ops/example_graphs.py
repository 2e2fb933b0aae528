# SPDX-License-Identifier: Apache-2.0
"""Terse builders of one-node graphs: the material of every op's `examples`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from octavo import quant
from octavo.errors import InvalidArgumentError
from octavo.ir import DTYPES, Affine, Graph, Node, Shape, Value, constant, verify
from octavo.ops.base import Array, Example, get

#: Every 8-bit result is one rounding away from the real one; 0.01 is room for float32 arithmetic.
ONE_ROUNDING = 0.51
#: Absolute bound of float32 results of magnitude about 1 to 30.
FLOAT_BOUND = 1e-4


def f32(name: str, *shape: int) -> Value:
    """A float32 activation."""
    return Value(name, "f32", shape)


def q8(
    name: str, shape: Shape, dtype: str = "u8", scale: float = 0.05, zero_point: int = 3
) -> Value:
    """An 8-bit activation with one scale."""
    return Value(name, dtype, shape, Affine.per_tensor(scale, zero_point))


def weight_q8(
    rng: np.random.Generator,
    shape: Shape,
    dtype: str = "s8",
    *,
    per_channel: bool = True,
    zero_points: bool = False,
) -> Value:
    """Constant weights `w` [O, ...] over the whole 8-bit range, scales 0.005 to 0.02."""
    low, high = quant.QRANGE[dtype]
    data = rng.integers(low, high + 1, shape).astype(DTYPES[dtype])
    count: Shape = (shape[0],) if per_channel else ()
    scale = rng.uniform(0.005, 0.02, count).astype(np.float32)
    middle = 128 if dtype == "u8" else 0
    spread = rng.integers(-9, 10, count) if zero_points else np.zeros(count, np.int64)
    zero_point = np.asarray(middle + spread, np.int32)
    return constant("w", data, Affine(scale, zero_point, 0 if per_channel else None))


def bias_s32(rng: np.random.Generator, x: Value, w: Value) -> Value:
    """A constant bias `b` [O] at scale s_x * s_w, a few thousand steps wide."""
    data = rng.integers(-3000, 3001, w.shape[0]).astype(np.int32)
    scale = np.float32(x.scale) * w.affine.scale
    return constant("b", data, Affine(scale, np.zeros_like(scale, np.int32), w.affine.axis))


def const_f32(name: str, rng: np.random.Generator, *shape: int) -> Value:
    """A normal-distributed float32 constant."""
    return constant(name, rng.standard_normal(shape).astype(np.float32))


def fit(values: Array, dtype: str) -> Affine:
    """Parameters under which all of `values` and 0 are representable with a step to spare."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if dtype == "s16":
        return Affine.per_tensor(max(high, -low, 1e-3) / 32766, 0)
    scale = max(high - low, 1e-3) / 253
    return Affine.per_tensor(scale, int(np.rint(quant.QRANGE[dtype][0] + 1 - low / scale)))


def dequantized(value: Value, stored: Array) -> Array:
    """The real numbers that stored ones mean; float32 passes through."""
    if value.quant is None:
        return stored
    affine = value.affine
    shape = (-1, *(1,) * (stored.ndim - 1 - affine.axis)) if affine.axis is not None else ()
    return quant.dequantize(stored, affine.scale.reshape(shape), affine.zero_point.reshape(shape))


def draw(rng: np.random.Generator, value: Value) -> Array:
    """Input data: the whole range of an 8-bit type, or a normal distribution."""
    if value.dtype == "f32":
        return rng.standard_normal(value.shape).astype(np.float32)
    if value.dtype not in quant.STORED_RANGE:
        raise InvalidArgumentError(f"'{value.name}': no random data of type {value.dtype}")
    low, high = quant.STORED_RANGE[value.dtype]
    return rng.integers(low, high + 1, value.shape).astype(DTYPES[value.dtype])


def graph_of(
    op: str, inputs: Sequence[Value | None], output: Value, attrs: Mapping[str, Any]
) -> Graph:
    """A verified graph of one node; the shape of `output` is inferred, constants are no inputs."""
    present = [value for value in inputs if value is not None]
    names = tuple("" if value is None else value.name for value in inputs)
    node = Node(op.lower(), op, names, (output.name,), dict(attrs))
    (shape,) = get(node).infer(node, list(inputs))
    values = {value.name: value for value in (*present, replace(output, shape=shape))}
    feeds = tuple(dict.fromkeys(value.name for value in present if value.data is None))
    return verify(Graph(node.name, (node,), values, feeds, (output.name,)))


def example(
    label: str,
    rng: np.random.Generator,
    op: str,
    inputs: Sequence[Value | None],
    dtype: str = "f32",
    *,
    params: Affine | None = None,
    feeds: Mapping[str, Array] | None = None,
    bound: float | None = None,
    **attrs: object,
) -> Example:
    """A one-node example with output `y` of type `dtype`.

    8-bit output parameters are `params`, or fitted to the real result without its clamp, so that a
    fused clamp has something to do. Inputs not in `feeds` are drawn at random.
    """
    fed = dict(feeds or {})
    args: list[Array | None] = []
    for value in inputs:
        if value is None:
            args.append(None)
            continue
        if value.data is None and value.name not in fed:
            fed[value.name] = draw(rng, value)
        args.append(dequantized(value, fed[value.name] if value.data is None else value.data))
    output = Value("y", dtype, ())
    if dtype in quant.STORED_RANGE:
        if params is None:
            bare = {key: value for key, value in attrs.items() if key != "clamp"}
            node = Node(op, op, (), (), bare)
            params = fit(get(node).float_ref(node, args)[0], dtype)
        output = replace(output, quant=params)
    default = FLOAT_BOUND if dtype == "f32" else ONE_ROUNDING
    graph = graph_of(op, inputs, output, attrs)
    return Example(label, graph, fed, default if bound is None else bound)

# SPDX-License-Identifier: Apache-2.0
"""What `lower` emits, run step by step in NumPy from nothing but docs/format.md.

Plan tensors are views of bytes, as in C++; an op whose steps carry a wrong number fails here
whether or not the C++ core is built.
"""

import math

import numpy as np
import pytest

from octavo import quant
from octavo.errors import UnsupportedError
from octavo.ir import DTYPES, Affine, Value, verify
from octavo.ops.example_graphs import f32, graph_of
from octavo.ops.window import Window, convolve
from octavo.plan import lowering


def _window(ints):
    return Window(tuple(ints[0:2]), tuple(ints[2:4]), tuple(ints[4:6]), tuple(ints[6:10]))


def _conv_s8(step, x, y, window, groups):
    w, bias, m, *zero_point = step.consts
    zero = zero_point[0].reshape(-1, *(1,) * (w.ndim - 1)) if zero_point else 0
    centred = x.astype(np.float64) - step.inputs[0].zero_point
    weights = w.astype(np.float64) - zero
    acc = convolve(centred, weights, window, groups) if window else centred @ weights.T
    qmin, qmax, rounding = step.ints[-3:]
    assert rounding == 0 and bias.dtype == np.int32 and m.dtype == np.float32
    y[...] = quant.requantize(acc + bias, m, step.outputs[0].zero_point, qmin, qmax)


def _conv_f32(step, x, y, window, groups):
    w, bias, *stored = step.consts
    if stored:
        ones = (1,) * (w.ndim - 1)
        scale, zero = (
            item.reshape(-1, *ones) for item in (*stored, np.zeros(len(w), np.int32))[:2]
        )
        w = quant.dequantize(w, scale, zero)
    product = convolve(x, w, window, groups) if window else x @ w.T
    y[...] = np.clip(product + bias, *np.float32(step.floats))


def _conv_s16(step, x, y, window, groups):
    w, bias, scale, *zero_point = step.consts
    zero = zero_point[0].reshape(-1, *(1,) * (w.ndim - 1)) if zero_point else 0
    centred = x.astype(np.float64) - step.inputs[0].zero_point
    weights = w.astype(np.float64) - zero
    acc = convolve(centred, weights, window, groups) if window else centred @ weights.T
    m = np.float64(np.float32(step.inputs[0].scale)) * scale.astype(np.float64)
    m = m / np.float64(np.float32(step.outputs[0].scale))
    qmin, qmax, _ = step.ints[-3:]
    y[...] = quant.requantize_wide(acc + bias, m, step.outputs[0].zero_point, qmin, qmax)


def _dynamic(step, x, y, window, groups):
    w, bias, scale, *zero_point = step.consts
    zero = zero_point[0].reshape(-1, *(1,) * (w.ndim - 1)) if zero_point else 0
    weights = w.astype(np.float64) - zero
    axes = {(True, True): (1, 2, 3), (True, False): (-1,)}.get((bool(step.ints[-1]), bool(window)))
    low = np.minimum(x.min(axis=axes, keepdims=True), 0)
    high = np.maximum(x.max(axis=axes, keepdims=True), 0)
    x_scale, x_zero = quant.dynamic_parameters(low, high)
    q = quant.quantize(x, x_scale, x_zero, "u8").astype(np.float64) - x_zero
    acc = convolve(q, weights, window, groups) if window else q @ weights.T
    result = acc.astype(np.float32) * (x_scale * scale) + bias
    y[...] = np.clip(result, *np.float32(step.floats))


def _real_sums(step, x, y):
    w, bias, scale, *zero_point = step.consts
    ref = step.inputs[0]
    weights = w.astype(np.float64) - (zero_point[0].reshape(-1, 1) if zero_point else 0)
    acc = (x.astype(np.float64) - ref.zero_point) @ weights.T
    result = acc.astype(np.float32) * (np.float32(ref.scale) * scale) + bias
    y[...] = np.clip(result, *np.float32(step.floats))


def _binary_s8(step, a, b, y):
    a, b = (
        data.astype(np.int64) - ref.zero_point
        for data, ref in zip((a, b), step.inputs, strict=True)
    )
    z, (qmin, qmax, _) = step.outputs[0].zero_point, step.ints
    if step.kind == "add_s8":
        y[...] = quant.add(a, b, *step.floats, z, qmin, qmax)
    else:
        y[...] = quant.requantize(a * b, step.floats[0], z, qmin, qmax)


def _gather(step, indices, *rest):
    *data, y = rest
    table = data[0] if data else step.consts[0].reshape(y.shape[0], -1, y.shape[2])
    count = table.shape[1]
    wrapped = np.where(indices < 0, indices + count, indices)
    y[...] = table[:, np.clip(wrapped, 0, count - 1)]


def _layer_norm_s8(step, x, y):
    qmin, qmax, _ = step.ints
    d = x.astype(np.int64) - step.inputs[0].zero_point
    y[...] = quant.layer_norm(d, *step.floats, *step.consts, step.outputs[0].zero_point, qmin, qmax)


def _layer_norm_f32(step, x, y):
    d = x - x.mean(axis=-1, keepdims=True, dtype=np.float64)
    scale, bias = step.consts
    y[...] = d / np.sqrt(np.square(d).mean(axis=-1, keepdims=True) + step.floats[0]) * scale + bias


def _matmul_s8(step, a, b, y):
    left, right = (
        data.astype(np.float64) - ref.zero_point
        for data, ref in zip((a, b), step.inputs, strict=True)
    )
    qmin, qmax, _ = step.ints
    zero_point = step.outputs[0].zero_point
    y[...] = quant.requantize(left @ right, step.floats[0], zero_point, qmin, qmax)


def _binary_f32(step, a, b, y):
    function = (np.add, np.subtract, np.multiply, np.divide)[step.ints[0]]
    y[...] = np.clip(function(a, b), *np.float32(step.floats))


def _unary_f32(step, x, y):
    first, second = (*step.floats, 0, 0)[:2]
    functions = (
        lambda v: np.clip(v, np.float32(first), np.float32(second)),
        lambda v: np.where(v < 0, v * np.float32(first), v),
        lambda v: 1 / (1 + np.exp(-v)),
        np.tanh,
        lambda v: np.clip(np.float32(first) * v + np.float32(second), 0, 1),
        lambda v: v * np.clip(v + 3, 0, 6) / 6,
        np.exp,
        np.sqrt,
        np.vectorize(math.erf),
        lambda v: v / 2 * (1 + np.vectorize(math.erf)(v / math.sqrt(2))),
        lambda v: v / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    )
    y[...] = functions[step.ints[0]](x)


def _maxpool(step, x, y):
    window = _window(step.ints)
    lowest = 0 if x.dtype == np.uint8 else -np.inf
    stacked = np.stack([view for _, _, view in window.taps(window.pad(x, lowest))])
    low, high = step.ints[10:12] if x.dtype == np.uint8 else step.floats
    y[...] = np.clip(stacked.max(axis=0), low, high)


def _avgpool(step, x, y):
    window, include_pad = _window(step.ints), step.ints[-1]
    integer = x.dtype == np.uint8
    centred = x.astype(np.int64) - step.inputs[0].zero_point if integer else x
    acc = sum(view for _, _, view in window.taps(window.pad(centred, 0)))
    count = window.valid_counts(*x.shape[1:3])
    count = np.full_like(count, np.prod(window.kernel)) if include_pad else count
    if not integer:
        y[...] = np.clip(acc / count, *step.floats)
        return
    a, b = step.inputs[0], step.outputs[0]
    m = np.float32(a.scale) / (np.float32(b.scale) * count.astype(np.float32))
    y[...] = quant.requantize(acc, m, b.zero_point, *step.ints[10:12])


def _softmax_s8(step, x, y):
    a, b = step.inputs[0], step.outputs[0]
    np.testing.assert_array_equal(step.consts[0], quant.softmax_table(a.scale))
    y[...] = quant.softmax(x, a.scale, b.scale, b.zero_point, *step.ints[:2])


def _softmax_f32(x, y):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y[...] = e / e.sum(axis=-1, keepdims=True)


def _fill(step, y):
    bits = np.array(step.ints, np.int32)
    y[...] = bits.view(y.dtype)[0] if len(bits) == 1 else bits.astype(y.dtype)


def _quantize(step, x, y):
    x = x.transpose(step.ints) if step.ints else x
    if step.consts:
        x = x * step.consts[0] + step.consts[1]
    ref = step.outputs[0]
    y[...] = quant.quantize(x, ref.scale, ref.zero_point, ref.dtype)


def _copy(x, y):
    assert x.shape == y.shape and x.dtype == y.dtype
    y[...] = x


def _resize(step, x, y):
    """Nearest: pixels are copied. Linear: four of them, weighted along rows, then columns."""
    rows, columns, *weights = step.consts
    if not step.ints[0]:
        y[...] = x[:, rows][:, :, columns]
        return
    one = 1.0 if x.dtype == np.float32 else 2048
    down, right = (w.astype(np.float64 if one == 1.0 else np.int64) for w in weights)
    down, right = down[:, None, None], right[:, None]
    below, beside = np.minimum(rows + 1, x.shape[1] - 1), np.minimum(columns + 1, x.shape[2] - 1)
    exact = x.astype(down.dtype) - (0 if one == 1.0 else step.inputs[0].zero_point)
    mixed = exact[:, rows] * (one - down) + exact[:, below] * down
    mixed = mixed[:, :, columns] * (one - right) + mixed[:, :, beside] * right
    if one == 1.0:
        y[...] = mixed
        return
    qmin, qmax, rounding = step.ints[1:]
    assert rounding == 0
    y[...] = quant.requantize(mixed, step.floats[0], step.outputs[0].zero_point, qmin, qmax)


KINDS = {
    "conv_s8": lambda s, x, y: _conv_s8(s, x, y, _window(s.ints), s.ints[10]),
    "linear_s8": lambda s, x, y: _conv_s8(s, x, y, None, 1),
    "conv_f32": lambda s, x, y: _conv_f32(s, x, y, _window(s.ints), s.ints[10]),
    "linear_f32": lambda s, x, y: _conv_f32(s, x, y, None, 1),
    "conv_s16": lambda s, x, y: _conv_s16(s, x, y, _window(s.ints), s.ints[10]),
    "linear_s16": lambda s, x, y: _conv_s16(s, x, y, None, 1),
    "conv_dynamic_s8": lambda s, x, y: _dynamic(s, x, y, _window(s.ints), s.ints[10]),
    "linear_dynamic_s8": lambda s, x, y: _dynamic(s, x, y, None, 1),
    "matmul_f32": lambda s, a, b, y: np.clip(a @ b, *s.floats, out=y),
    "add_s8": _binary_s8,
    "mul_s8": _binary_s8,
    "matmul_s8": _matmul_s8,
    "layer_norm_s8": _layer_norm_s8,
    "layer_norm_f32": _layer_norm_f32,
    "cast": lambda s, x, y: np.copyto(y, x, casting="unsafe"),
    "linear_s8_f32": _real_sums,
    "gather": _gather,
    "mean_f32": lambda s, x, y: np.mean(x, axis=-1, keepdims=True, out=y),
    "binary_f32": _binary_f32,
    "unary_f32": _unary_f32,
    "lut_s8": lambda s, x, y: np.take(s.consts[0], x, out=y),
    "maxpool_s8": _maxpool,
    "maxpool_f32": _maxpool,
    "avgpool_s8": _avgpool,
    "avgpool_f32": _avgpool,
    "resize_s8": _resize,
    "resize_f32": _resize,
    "softmax_s8": _softmax_s8,
    "softmax_f32": lambda _, x, y: _softmax_f32(x, y),
    "copy": lambda _, x, y: _copy(x, y),
    "fill": _fill,
    "quantize": _quantize,
    "dequantize": lambda s, x, y: np.copyto(
        y, quant.dequantize(x, s.inputs[0].scale, s.inputs[0].zero_point)
    ),
    "flip": lambda _, x, y: np.copyto(y, (x.view(np.uint8) ^ 0x80).view(y.dtype)),
    "load_constant": lambda s, y: np.copyto(y, s.consts[0].reshape(y.shape)),
}


def run_plan(graph, feeds):
    """Outputs of a lowered graph, each step as docs/format.md describes it."""
    lowered = lowering.lower(verify(graph))
    memory = {}
    for name, ref in zip(graph.inputs, lowered.inputs, strict=True):
        memory[ref.storage] = feeds[name]
    for ref in lowered.outputs:
        memory[ref.storage] = np.zeros(ref.dims, DTYPES[ref.dtype])

    def view(ref):
        if ref.storage not in memory:
            memory[ref.storage] = np.full(ref.storage.size, 0xA5, np.uint8)
        buffer = memory[ref.storage]
        return np.ndarray(ref.dims, DTYPES[ref.dtype], buffer, ref.offset, ref.strides)

    for step in lowered.steps:
        KINDS[step.kind](step, *map(view, step.inputs), *map(view, step.outputs))
    return [memory[ref.storage] for ref in lowered.outputs], lowered.steps


def test_steps_give_the_norm(case):
    (result,), _ = run_plan(case.example.graph, case.example.inputs)
    case.check(result)


def test_macs_are_those_of_the_steps(case):
    _, steps = run_plan(case.example.graph, case.example.inputs)
    values = case.example.graph
    assert sum(step.macs for step in steps) == case.op.macs(
        case.node, values.inputs_of(case.node), [case.output]
    )


@pytest.mark.parametrize("op", ["Conv", "Linear"])
def test_computed_weights_are_refused_by_name(op):
    shape = (4, 1, 1, 3) if op == "Conv" else (4, 3)
    inputs = [f32("x", 1, 2, 2, 3), f32("w", *shape)]
    graph = graph_of(op, inputs, Value("y", "f32", ()), {})
    with pytest.raises(UnsupportedError, match=rf"node '{op.lower()}'.*'w' is computed"):
        lowering.lower(graph)


def test_per_channel_activation_is_refused_by_name():
    quantization = Affine(np.full(3, 0.1, np.float32), np.zeros(3, np.int32), 1)
    graph = graph_of("QuantizeLinear", [f32("x", 2, 3)], Value("y", "u8", (), quantization), {})
    with pytest.raises(UnsupportedError, match=r"quantizelinear.*'y' has per-channel parameters"):
        lowering.lower(graph)

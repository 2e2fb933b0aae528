# SPDX-License-Identifier: Apache-2.0
"""Outside witness: the same examples as one-node ONNX models in ONNX's ReferenceEvaluator.

Spatial tensors go to NCHW and back. The witness computes in other float types and in another order
than the norm, so 8-bit results may be 1 apart where the real result is a tie, and only there.
"""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="NOT RUN: onnx is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnxruntime import InferenceSession  # noqa: E402

pytestmark = pytest.mark.witness

_DIRECT = (
    "Erf",
    "Add",
    "Mul",
    "Sub",
    "Div",
    "MatMul",
    "Sigmoid",
    "Tanh",
    "HardSwish",
    "Exp",
    "Sqrt",
)
_SPATIAL = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool")
_PASSED_ON = {
    "Gelu": ("approximate",),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
    "Concat": ("axis",),
    "Flatten": ("axis",),
    "Softmax": ("axis",),
    "Transpose": ("perm",),
}
_AS_INPUTS = {
    "Reshape": (("shape",), np.int64),
    "Squeeze": (("axes",), np.int64),
    "Unsqueeze": (("axes",), np.int64),
    "Clip": (("lo", "hi"), np.float32),
    "Slice": (("starts", "ends", "axes", "steps"), np.int64),
}
_IDENTITIES = ("QuantizeLinear", "DequantizeLinear", "Requantize", "QuantCast")
#: A real result this close to a half, in output steps, is a tie: float32 sums err by less.
_TIE = 2e-3
#: Weights of linear resizing are rounded to 1 / 2048 on both axes (docs/numerics.md).
_RESIZE_TIE = 0.14


def _nchw(array):
    return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array


def _evaluate(op, operands, attributes):
    """One ONNX node on arrays; None is an absent operand."""
    names = ["" if data is None else f"i{index}" for index, data in enumerate(operands)]
    feeds = {name: data for name, data in zip(names, operands, strict=True) if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(data.dtype), data.shape)
        for name, data in feeds.items()
    ]
    node = helper.make_node(op, names, ["y"], **attributes)
    output = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([node], "one_node", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    return ReferenceEvaluator(model).run(None, feeds)[0]


def _resized(case, x):
    """By ONNX Runtime: the reference evaluator rounds coordinates of other precision."""
    attrs = case.node.attrs
    n, _, _, channels = x.shape
    options = {
        "mode": attrs["mode"],
        "coordinate_transformation_mode": attrs["coordinates"],
        "nearest_mode": attrs["rounding"],
    }
    names, where = ["x", "", "s"], np.array([1, 1, *attrs.get("scales", (1, 1))], np.float32)
    if "size" in attrs:
        names, where = ["x", "", "", "s"], np.array([n, channels, *attrs["size"]], np.int64)
    graph = helper.make_graph(
        [helper.make_node("Resize", names, ["y"], **options)],
        "one_node",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, _nchw(x).shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(where, "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": _nchw(x)})[0].transpose(0, 2, 3, 1)


def _window_attributes(case):
    """Attributes of ONNX's spatial ops; pads have the same order, (top, left, bottom, right)."""
    attrs = case.node.attrs
    if case.node.op == "GlobalAveragePool":
        return {}
    kernel = attrs["kernel"] if "kernel" in attrs else case.inputs[1].shape[1:3]
    found = {"kernel_shape": kernel, "pads": attrs.get("pads", (0, 0, 0, 0))}
    for key in ("strides", "dilations"):
        found[key] = attrs.get(key, (1, 1))
    if case.node.op == "Conv":
        found["group"] = attrs.get("groups", 1)
    if case.node.op == "AveragePool":
        found["count_include_pad"] = int(attrs["count_include_pad"])
    return found


def _witness(case, operands):
    """ONNX's answer on float32 operands, in our layout, before a fused clamp."""
    op, attrs = case.node.op, case.node.attrs
    if op in _SPATIAL:
        moved = [data if data is None else _nchw(data) for data in operands]
        return _evaluate(op, moved, _window_attributes(case)).transpose(0, 2, 3, 1)
    if op == "Resize":
        return _resized(case, operands[0])
    if op in _DIRECT:
        return _evaluate(op, operands, {})
    if op in _PASSED_ON:
        return _evaluate(op, operands, {key: attrs[key] for key in _PASSED_ON[op]})
    if op in _AS_INPUTS:
        keys, dtype = _AS_INPUTS[op]
        values = {**attrs, "axes": attrs.get("axes", range(operands[0].ndim))}
        return _evaluate(op, [operands[0], *(np.array(values[k], dtype) for k in keys)], {})
    if op == "Linear":
        x, w, bias = operands
        y = _evaluate("MatMul", [x, w.T], {})
        return y if bias is None else _evaluate("Add", [y, bias], {})
    if op == "Gather":
        data, indices = operands
        count = data.shape[attrs["axis"]]  # ONNX leaves indices outside undefined
        inside = np.clip(np.where(indices < 0, indices + count, indices), 0, count - 1)
        return _evaluate("Gather", [data, inside], {"axis": attrs["axis"]})
    if op == "Cast":
        return _evaluate("Cast", operands, {"to": 1})
    if op == "LayerNorm":
        return _evaluate("LayerNormalization", operands, {"epsilon": attrs["epsilon"]})
    if op == "ReduceMean":
        axes = np.array(attrs["axes"], np.int64)
        return _evaluate("ReduceMean", [operands[0], axes], {"keepdims": int(attrs["keepdims"])})
    if op == "Pad":
        pads = np.array([*attrs["begin"], *attrs["end"]], np.int64)
        border = np.float32(attrs["value"])
        if border.ndim == 0:
            return _evaluate("Pad", [operands[0], pads, border], {})
        channels = np.split(operands[0], len(border), axis=-1)
        parts = [_evaluate("Pad", [x, pads, b], {}) for x, b in zip(channels, border, strict=True)]
        return np.concatenate(parts, axis=-1)
    if op == "BatchNorm":
        axis = attrs["axis"] % operands[0].ndim
        x = np.moveaxis(operands[0], axis, 1)
        y = _evaluate("BatchNormalization", [x, *operands[1:]], {"epsilon": attrs["epsilon"]})
        return np.moveaxis(y, 1, axis)
    assert op in _IDENTITIES
    y = _in_order(case, operands[0])
    if "gain" in attrs:
        y = _evaluate("Mul", [y, np.float32(attrs["gain"])], {})
        y = _evaluate("Add", [y, np.float32(attrs["shift"])], {})
    return y


def _in_order(case, x):
    """x with its axes in the order the node asks for."""
    return x.transpose(case.node.attrs.get("perm", range(x.ndim)))


def test_float_meaning(case):
    """float_ref on real operands, those of 8-bit examples included."""
    y = _witness(case, case.real())
    lo, hi = case.node.attrs.get("clamp") or (-np.inf, np.inf)
    (mine,) = case.op.float_ref(case.node, case.real())
    np.testing.assert_allclose(mine, np.clip(y, lo, hi), rtol=2e-5, atol=2e-4)


def _quantization(value):
    """(scale, zero point) as ONNX operands."""
    dtype = {"u8": np.uint8, "s8": np.int8}[value.dtype]
    return value.affine.scale, value.affine.zero_point.astype(dtype)


def _equal_but_for_ties(case, theirs):
    mine = case.expected()
    assert mine.dtype == theirs.dtype
    steps = case.float_result() / case.output.scale
    width = _RESIZE_TIE if case.node.op == "Resize" else _TIE
    tie = np.abs(steps - np.floor(steps) - 0.5) < width
    apart = np.abs(mine.astype(np.int64) - theirs.astype(np.int64))
    assert apart.max() <= 1
    np.testing.assert_array_equal(mine[~tie], theirs[~tie])


def test_integer_norm(qlinear_case):
    """int_ref against QLinearConv, QLinearMatMul, QuantizeLinear and DequantizeLinear."""
    case = qlinear_case
    x, w, bias = (*case.stored(), None, None)[:3]
    if case.node.op == "QuantizeLinear":
        # The witness converts infinities to int32 before it clamps, which is undefined.
        finite = np.clip(_witness(case, [x]), -1e6, 1e6)
        y = _evaluate("QuantizeLinear", [finite, *_quantization(case.output)], {})
        np.testing.assert_array_equal(case.expected(), y)
        return
    first = [_nchw(x), *_quantization(case.inputs[0])]
    if case.node.op == "DequantizeLinear":
        y = _evaluate("DequantizeLinear", [x, *first[1:]], {})
        np.testing.assert_array_equal(case.expected(), y)
        return
    last = _quantization(case.output)
    if case.node.op == "Conv":
        operands = [*first, _nchw(w), *_quantization(case.inputs[1]), *last, bias]
        y = _evaluate("QLinearConv", operands, _window_attributes(case)).transpose(0, 2, 3, 1)
    else:
        y = _evaluate("QLinearMatMul", [*first, w.T, *_quantization(case.inputs[1]), *last], {})
    _equal_but_for_ties(case, y)


def test_integer_form_equals_quantized_float(stored_case):
    """int_ref against QuantizeLinear(op(dequantized operands)): what a QDQ group means."""
    case = stored_case
    lo, hi = case.node.attrs.get("clamp") or (-np.inf, np.inf)
    real = np.clip(_witness(case, case.real()), max(lo, -1e6), min(hi, 1e6)).astype(np.float32)
    y = _evaluate("QuantizeLinear", [real, *_quantization(case.output)], {})
    _equal_but_for_ties(case, y)

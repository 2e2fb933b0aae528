# SPDX-License-Identifier: Apache-2.0
"""Every wrong call is a documented error that names the tensor, the value and the way out; nothing
is converted silently and inputs are never written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import octavo
from octavo.errors import (
    FormatError,
    InvalidArgumentError,
    IsaError,
    LimitError,
    MissingExtraError,
    OctavoError,
    ShapeError,
)

DEMO = Path(octavo.__file__).parent / "demo"


@pytest.fixture(scope="module")
def model() -> octavo.Model:
    return octavo.load(DEMO / "digits_int8.octavo")


@pytest.fixture(scope="module")
def session(model: octavo.Model) -> octavo.Session:
    return model.compile()


def digits(batch: int = 1) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.random((batch, 1, 8, 8), np.float32)


class Subclass(np.ndarray):
    """An ndarray subclass with the right contents."""


BAD_INPUTS: dict[str, tuple[Callable[[], Any], type[OctavoError], str]] = {
    "float64": (lambda: digits().astype(np.float64), InvalidArgumentError, "float64"),
    "float16": (lambda: digits().astype(np.float16), InvalidArgumentError, "float16"),
    "int64": (lambda: digits().astype(np.int64), InvalidArgumentError, "int64"),
    "bool": (lambda: digits() > 0.5, InvalidArgumentError, "bool"),
    "complex": (lambda: digits().astype(np.complex64), InvalidArgumentError, "complex64"),
    "object": (lambda: digits().astype(object), InvalidArgumentError, "object"),
    "byte-swapped": (lambda: digits().astype(">f4"), InvalidArgumentError, "byte order"),
    "Fortran order": (lambda: np.asfortranarray(digits(3)), InvalidArgumentError, "contiguous"),
    "strided": (lambda: digits(4)[::2], InvalidArgumentError, "contiguous"),
    "reversed": (lambda: digits()[..., ::-1], InvalidArgumentError, "contiguous"),
    "broadcast": (
        lambda: np.broadcast_to(np.float32(0), (1, 1, 8, 8)),
        InvalidArgumentError,
        "contiguous",
    ),
    "rank 3": (lambda: digits()[0], ShapeError, r"\(1, 8, 8\)"),
    "rank 0": (lambda: np.zeros((), np.float32), ShapeError, r"\(\)"),
    "wrong width": (lambda: np.zeros((1, 1, 8, 9), np.float32), ShapeError, r"\(1, 1, 8, 9\)"),
    "empty batch": (lambda: np.zeros((0, 1, 8, 8), np.float32), ShapeError, r"\(0, 1, 8, 8\)"),
    "list": (lambda: [[1.0]], InvalidArgumentError, "list"),
    "None": (lambda: None, InvalidArgumentError, "NoneType"),
    "no such input": (lambda: {"nope": digits()}, InvalidArgumentError, "nope"),
    "too many inputs": (
        lambda: {"x": digits(), "input": digits(), "nope": digits()},
        InvalidArgumentError,
        "nope",
    ),
    "no input": (dict, InvalidArgumentError, "missing"),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_bad_input(session: octavo.Session, kind: str) -> None:
    make, error, words = BAD_INPUTS[kind]
    with pytest.raises(error, match=words) as caught:
        session.run(make())
    assert len(str(caught.value)) <= 700


def test_unaligned_input_is_exact_or_refused(session: octavo.Session) -> None:
    raw = np.zeros(4 * 64 + 1, np.uint8)
    view = raw[1:].view(np.float32).reshape(1, 1, 8, 8)
    view[...] = digits()
    expected = next(iter(session.run(digits()).values()))
    try:
        got = next(iter(session.run(view).values()))
    except InvalidArgumentError as error:
        assert "align" in str(error)
        return
    np.testing.assert_array_equal(got, expected)


def test_read_only_input_is_fine_and_never_written(session: octavo.Session) -> None:
    x = digits(2)
    x.setflags(write=False)
    before = x.copy()
    session.run(x)
    np.testing.assert_array_equal(x, before)


def test_subclasses_may_mean_more_than_their_bytes(session: octavo.Session) -> None:
    for odd in (digits().view(Subclass), np.ma.masked_array(digits(), digits() > 0.5)):
        with pytest.raises(InvalidArgumentError, match=r"numpy\.ndarray"):
            session.run(odd)


def test_a_mapped_file_is_a_plain_array(session: octavo.Session, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", digits())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = next(iter(session.run(digits()).values()))
    np.testing.assert_array_equal(next(iter(session.run(mapped).values())), expected)


def test_read_only_out_is_refused(session: octavo.Session) -> None:
    out = next(iter(session.run(digits()).values())).copy()
    out.setflags(write=False)
    with pytest.raises(InvalidArgumentError, match=r"read-only|writ"):
        session.run(digits(), out=out)


def test_out_of_wrong_shape_or_dtype_is_refused(session: octavo.Session) -> None:
    good = next(iter(session.run(digits()).values()))
    with pytest.raises(OctavoError):
        session.run(digits(), out=np.zeros((7, *good.shape), good.dtype))
    with pytest.raises(InvalidArgumentError, match="float64"):
        session.run(digits(), out=good.astype(np.float64))


def test_out_is_written_and_returned(session: octavo.Session) -> None:
    expected = next(iter(session.run(digits()).values()))
    out = np.full_like(expected, np.nan)
    returned = next(iter(session.run(digits(), out=out).values()))
    assert returned is out
    np.testing.assert_array_equal(out, expected)


def test_special_floats_do_not_crash_and_equal_scalar(model: octavo.Model) -> None:
    x = digits()
    x.reshape(-1)[:6] = [np.nan, np.inf, -np.inf, 1e38, -0.0, 1e-45]
    results = []
    for isa in octavo.cpu_info()["isas"]:
        if isa["supported"] and isa["built"]:
            outputs = model.compile(isa=isa["name"]).run(x)
            results.append(next(iter(outputs.values())).tobytes())
    assert len(set(results)) == 1


def test_batches_are_planned_on_demand_and_equal_single_rows(session: octavo.Session) -> None:
    x = digits(5)
    rows = [next(iter(session.run(x[i : i + 1].copy()).values())) for i in range(5)]
    np.testing.assert_array_equal(next(iter(session.run(x).values())), np.concatenate(rows))


@pytest.mark.parametrize("isa", ["AVX2", "sse9", "", " avx2", "scalar\0", "é"])
def test_unknown_isa_names_the_known_ones(model: octavo.Model, isa: str) -> None:
    if isa == "":
        model.compile(isa=isa)  # empty means unset, like an empty environment variable
        return
    with pytest.raises(IsaError, match="unknown ISA"):
        model.compile(isa=isa)


def test_unknown_isa_in_the_environment(
    model: octavo.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTAVO_ISA", "sse9")
    with pytest.raises(IsaError, match="sse9"):
        model.compile()


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", None, True, 10**6])
def test_bad_thread_counts(model: octavo.Model, threads: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="threads"):
        model.compile(threads=threads)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no such file"):
        octavo.load(tmp_path / "absent.octavo")
    with pytest.raises(InvalidArgumentError, match="no such file"):
        octavo.load(tmp_path)
    odd = tmp_path / "model.pt"
    odd.write_bytes(b"x")
    with pytest.raises(InvalidArgumentError, match=r"\.onnx"):
        octavo.load(odd)
    lite = tmp_path / "model.tflite"
    lite.write_bytes(b"x")
    with pytest.raises((FormatError, MissingExtraError), match="TFLite"):
        octavo.load(lite)
    for content in (b"", b"OCTAVO", b"\0" * 4096, (DEMO / "digits_int8.octavo").read_bytes()[:-1]):
        broken = tmp_path / "broken.octavo"
        broken.write_bytes(content)
        with pytest.raises(FormatError):
            octavo.load(broken)
        broken_onnx = tmp_path / "broken.onnx"
        broken_onnx.write_bytes(content)
        with pytest.raises(OctavoError):
            octavo.load(broken_onnx)


def test_every_error_class_is_an_octavo_error() -> None:
    from octavo import errors

    for name in errors.__all__:
        item = getattr(errors, name)
        if isinstance(item, type):
            assert issubclass(item, octavo.OctavoError) and issubclass(item, ValueError)
            assert item.__doc__


@pytest.mark.parametrize(
    "shapes",
    [{"x": 5}, {"x": (2.0, 1, 8, 8)}, {"x": ("N", 1, 8, 8)}, {"x": None}, [(1, 1, 8, 8)], "x"],
    ids=str,
)
def test_shapes_are_tuples_of_whole_numbers(model: octavo.Model, shapes: Any) -> None:
    name = model.inputs[0].name
    renamed = {name: next(iter(shapes.values()))} if isinstance(shapes, dict) else shapes
    with pytest.raises(InvalidArgumentError, match="shape"):
        model.compile(shapes=renamed)
    with pytest.raises(InvalidArgumentError, match="shape"):
        octavo.load(DEMO / "digits_int8.octavo", shapes=renamed)


def test_dimensions_beyond_the_format_are_refused(model: octavo.Model) -> None:
    with pytest.raises(LimitError, match="2,147,483,647"):
        model.compile(shapes={model.inputs[0].name: (2**31, 1, 8, 8)})


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.octavo"
    path.write_bytes((DEMO / "digits_int8.octavo").read_bytes()[:-1])
    with pytest.raises(FormatError, match=r"cut\.octavo"):
        octavo.load(path)

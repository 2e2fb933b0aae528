# SPDX-License-Identifier: Apache-2.0
"""`.octavo` files for shipping: the same model in fewer bytes, refused whole where damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from mixed_nets import _Chain

import octavo
from octavo.cli import main
from octavo.errors import FormatError, UnsupportedError
from octavo.plan import Plan
from octavo.plan.container import Section, pack_container
from octavo.plan.deflated import deflate, read_deflated
from octavo.quantization.recipe import Recipe, Settings


@pytest.fixture(scope="module")
def model() -> octavo.Model:
    chain = _Chain(np.random.default_rng(1), (1, 8, 8, 8))
    for out, kernel, groups in ((64, 1, 1), (64, 3, 64), (32, 3, 1)):
        chain.conv(out, kernel, groups)
    x = np.random.default_rng(2).standard_normal((4, 1, 8, 8, 8)).astype(np.float32)
    recipe = Recipe(
        defaults=Settings(rounding="nearest", bias_correction="none"), equalize=False, smooth=None
    )
    return octavo.quantize(octavo.Model(chain.graph()), list(x), recipe=recipe)


def test_a_compressed_file_is_the_same_model(model: octavo.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "plain.octavo")
    model.save(tmp_path / "small.octavo", compress=True)
    plain, small = ((tmp_path / f"{name}.octavo").read_bytes() for name in ("plain", "small"))
    assert read_deflated(tmp_path / "plain.octavo") is None
    assert read_deflated(tmp_path / "small.octavo") == plain
    weights = 8 * 64 + 9 * 64 + 9 * 64 * 32
    assert len(small) < len(plain) * 0.96 and len(plain) < weights * 1.30
    x = np.random.default_rng(3).standard_normal((1, 8, 8, 8)).astype(np.float32)
    loaded = octavo.load(tmp_path / "small.octavo")
    (want,) = model.compile().run({"x": x}).values()
    (got,) = loaded.compile().run({"x": x}).values()
    np.testing.assert_array_equal(got, want)
    assert loaded.plan_bytes().data == plain
    bound = octavo.load(tmp_path / "small.octavo", shapes={"x": (1, 8, 8, 8)})
    assert bound.inputs == model.inputs


def test_the_core_refuses_it_by_name(model: octavo.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "small.octavo", compress=True)
    with pytest.raises(UnsupportedError, match="'deflated' is required"):
        Plan.open(str(tmp_path / "small.octavo"))
    (tmp_path / "twice.octavo").write_bytes(deflate((tmp_path / "small.octavo").read_bytes()))
    with pytest.raises(UnsupportedError, match="'deflated' is required"):
        octavo.load(tmp_path / "twice.octavo")


def test_damage_anywhere_is_refused(model: octavo.Model, tmp_path: Path) -> None:
    good, path = deflate(model.plan_bytes().data), tmp_path / "m.octavo"
    rng = np.random.default_rng(4)
    places = [*range(0, 128, 3), *rng.integers(128, len(good), 60)]
    for place, bit in zip(places, rng.integers(0, 8, len(places)), strict=True):
        bad = bytearray(good)
        bad[place] ^= 1 << bit
        path.write_bytes(bytes(bad))
        with pytest.raises((FormatError, UnsupportedError)):
            octavo.load(path)
    for size in (0, 7, 64, 96, 127, 128, 140, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(FormatError):
            octavo.load(path)


@pytest.mark.parametrize("size", [0, 10, 24, 1 << 20, 1 << 40, 2**64 - 1])
@pytest.mark.parametrize("tail", [b"", b"\0" * (32 << 20)])
def test_no_more_is_unfolded_than_announced(size: int, tail: bytes, tmp_path: Path) -> None:
    inner = struct.pack("<8sIIQ", b"OCTAVO\x1a\n", 1, 2, size) + tail
    stream = zlib.compress(inner, 9)
    path = tmp_path / "bomb.octavo"
    path.write_bytes(pack_container([Section("deflated", stream, required=True)]))
    with pytest.raises(FormatError, match=r"unfold|octavo file"):
        octavo.load(path)


def test_the_flag_is_for_octavo_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["quantize", "m.onnx", "--calibration", "d.npy", "--output", "q.onnx", "--compress"])
        != 0
    )
    assert "--compress is for .octavo files" in capsys.readouterr().err

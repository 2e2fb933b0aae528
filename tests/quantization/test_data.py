# SPDX-License-Identifier: Apache-2.0
"""Calibration data: every source gives the same statistics, and what is broken is named."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_nets import UNIT, net, pictures, write_pictures

import octavo
from octavo.errors import FormatError, InvalidArgumentError, QuantizationError, ShapeError
from octavo.ir import Graph, Node, Value, verify
from octavo.quantization import calibrate_model, run_quantizer
from octavo.quantization.data import open_data
from octavo.quantization.preprocessing import Preprocessing

Image = pytest.importorskip("PIL.Image", reason="NOT RUN: needs .[dev]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "images")


def state(found: Any) -> dict[str, np.ndarray]:
    return {
        f"{name}/{key}": array
        for name, statistics in found.statistics.items()
        for key, array in statistics.state().items()
    }


def test_every_source_gives_the_same_statistics(folder: Path, tmp_path: Path) -> None:
    model = net()
    pixels = pictures(7)
    floats = np.stack([UNIT.apply_pixels(p) for p in pixels])
    np.save(tmp_path / "f.npy", floats)
    np.savez(tmp_path / "f.npz", x=floats)
    np.savez_compressed(tmp_path / "c.npz", anything=floats)
    np.savez(tmp_path / "u.npz", images=pixels, labels=np.arange(7))

    def images(data: Any) -> Any:
        return open_data(model.source, data, preprocess=UNIT)

    sources = {
        "folder": images(folder),
        "npy": tmp_path / "f.npy",
        "npz": str(tmp_path / "f.npz"),
        "compressed": tmp_path / "c.npz",
        "uint8": images(tmp_path / "u.npz"),
        "uint8 array": images(pixels),
        "array": floats,
        "dict": {"x": floats},
        "stack of batches": floats[:, None],
        "list": [floats[:3], {"x": floats[3:]}],
        "generator": (floats[i : i + 2] for i in range(0, 7, 2)),
        "callable": lambda: iter([floats]),
    }
    expected = calibrate_model(model, [floats])
    assert expected.samples == 7
    for kind, source in sources.items():
        found = calibrate_model(model, source)
        assert found.samples == 7, kind
        assert found.data_digest == expected.data_digest, kind
        for key, array in state(expected).items():
            np.testing.assert_array_equal(state(found)[key], array, err_msg=f"{kind}: {key}")


def test_samples_are_spread_over_files_and_first_of_iterators(folder: Path) -> None:
    model = net()
    floats = np.arange(10, dtype=np.float32)[:, None, None, None] + np.zeros((6, 5, 3), np.float32)
    taken = [batch["x"] for _, batch in open_data(model.source, floats, samples=4)]
    assert np.concatenate(taken)[:, 0, 0, 0].tolist() == [0, 2, 5, 7]
    first = [floats[:3], floats[3:]]
    taken = [batch for _, batch in open_data(model.source, first, samples=4)]
    assert np.concatenate(taken)[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    spread = open_data(model.source, folder, samples=2, preprocess=UNIT)
    assert [Path(what.split("'")[1]).name for what, _ in spread] == ["0.png", "3.png"]
    assert calibrate_model(model, open_data(model.source, iter(first), samples=5)).samples == 5


@pytest.mark.parametrize("bad", [0, -1, 2.0, True])
def test_a_bad_number_of_samples(bad: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="samples"):
        open_data(net().source, [], samples=bad)


def test_a_large_file_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).standard_normal((300, 6, 5, 3)).astype(np.float32)
    np.savez(tmp_path / "f.npz", x=data)
    sizes = [len(b["x"]) for _, b in open_data(net().source, tmp_path / "f.npz")]
    assert max(sizes) == 32 and sum(sizes) == 300
    monkeypatch.setattr("octavo.quantization.array_files._SKIP_BYTES", 1000)
    found = [b["x"] for _, b in open_data(net().source, tmp_path / "f.npz", samples=7)]
    np.testing.assert_array_equal(np.concatenate(found), data[[i * 300 // 7 for i in range(7)]])


def broken(path: Path) -> Any:
    return octavo.quantize(net(), path, preprocess=UNIT if path.is_dir() else None)


def test_a_broken_image_is_named(folder: Path) -> None:
    target = folder / "a" / "2.PNG"
    target.write_bytes(target.read_bytes()[:60])
    with pytest.raises(FormatError, match=r"image 2, '.*2\.PNG' cannot be decoded"):
        broken(folder)
    target.write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"2\.PNG"):
        broken(folder)
    Image.fromarray(pictures(1, (3, 3))[0]).save(target)
    with pytest.raises(ShapeError, match=r"image 2.*\(1, 3, 3, 3\)"):
        broken(folder)
    crop = Preprocessing(crop=(6, 5), layout="NHWC")
    with pytest.raises(ShapeError, match=r"2\.PNG': 3×3 pixels .* 6×5: resize"):
        octavo.quantize(net(), folder, preprocess=crop)


def test_a_folder_without_images_or_preprocessing(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgumentError, match="no images"):
        broken(tmp_path / "empty")
    with pytest.raises(InvalidArgumentError, match="preprocess='imagenet'"):
        octavo.quantize(net(), folder)


def test_broken_files_are_named(tmp_path: Path) -> None:
    good, rng = np.zeros((4, 6, 5, 3), np.float32), np.random.default_rng(0)
    np.save(tmp_path / "short.npy", good)
    data = (tmp_path / "short.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(data[:-8])
    (tmp_path / "junk.npy").write_bytes(b"junk")
    (tmp_path / "junk.npz").write_bytes(b"junk")
    np.save(tmp_path / "object.npy", np.array([None, 1], object), allow_pickle=True)
    np.save(tmp_path / "fortran.npy", np.asfortranarray(good))
    np.save(tmp_path / "scalar.npy", np.float32(1))
    np.savez(tmp_path / "names.npz", a=good, b=good)
    np.savez_compressed(tmp_path / "cut.npz", x=rng.random((20, 6, 5, 3), np.float32))
    data = bytearray((tmp_path / "cut.npz").read_bytes())
    data[1200:1260] = bytes(60)
    (tmp_path / "cut.npz").write_bytes(data)
    for name, error, words in [
        ("short.npy", FormatError, "ends too early"),
        ("junk.npy", FormatError, "not a NumPy"),
        ("junk.npz", FormatError, "not a NumPy"),
        ("object.npy", FormatError, "objects"),
        ("fortran.npy", FormatError, "ascontiguousarray"),
        ("scalar.npy", FormatError, "first axis"),
        ("names.npz", InvalidArgumentError, r"\['a', 'b'\].*\['x'\]"),
        ("cut.npz", FormatError, "damaged"),
        ("none.npy", InvalidArgumentError, "no such file"),
    ]:
        with pytest.raises(error, match=words):
            broken(tmp_path / name)


def test_wrong_numbers_are_named_by_file_and_sample(tmp_path: Path) -> None:
    data = np.zeros((40, 6, 5, 3), np.float32)
    data[37, 2] = np.nan
    np.save(tmp_path / "x.npy", data)
    with pytest.raises(QuantizationError, match=r"x\.npy', samples 32 to 39.*\(sample 5 of it\)"):
        broken(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", data.astype(np.float64))
    with pytest.raises(InvalidArgumentError, match=r"x\.npy.*float64"):
        broken(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", data[:, :5])
    with pytest.raises(ShapeError, match=r"x\.npy"):
        broken(tmp_path / "x.npy")


def test_a_fixed_batch_takes_multiples(tmp_path: Path, folder: Path) -> None:
    model = net(None, 3)
    with pytest.raises(InvalidArgumentError, match=r"7 .* multiple of 3.* 6"):
        open_data(model.source, folder, preprocess=UNIT)
    spread = open_data(model.source, folder, preprocess=UNIT, samples=6)
    assert [np.shape(batch) for _, batch in spread] == [(3, 6, 5, 3)] * 2
    found = calibrate_model(model, np.zeros((33, 6, 5, 3), np.float32) + 1)
    assert found.samples == 11


def time_major() -> octavo.Model:
    """y = x @ x.T @ x with x [T,4]: the first axis is no batch."""
    values = {
        "x": Value("x", "f32", (1, 4)),
        "t": Value("t", "f32", (4, 1)),
        "s": Value("s", "f32", (1, 1)),
        "y": Value("y", "f32", (1, 4)),
    }
    nodes = (
        Node("turn", "Transpose", ("x",), ("t",), {"perm": (1, 0)}),
        Node("scores", "MatMul", ("x", "t"), ("s",)),
        Node("mix", "MatMul", ("s", "x"), ("y",)),
    )
    graph = Graph("g", nodes, values, ("x",), ("y",), {"x": ("T", None)})
    return octavo.Model(verify(graph))


def test_an_axis_that_is_no_batch_is_not_cut() -> None:
    rng = np.random.default_rng(0)
    batches = [rng.standard_normal((n, 4)).astype(np.float32) for n in (3, 5)]
    found = calibrate_model(time_major(), batches)
    assert found.samples == 2
    scores = [b @ b.T for b in batches]
    np.testing.assert_allclose(found.statistics["s"].highs, [s.max() for s in scores], rtol=1e-5)


def test_kept_samples_are_drawn_by_the_seed() -> None:
    data = np.arange(50, dtype=np.float32)[:, None, None, None] + np.zeros((6, 5, 3), np.float32)

    def kept(seed: int, cut: int) -> list[float]:
        batches: Iterator[np.ndarray] = (data[i : i + cut] for i in range(0, 50, cut))
        recipe = octavo.Recipe(optimization_samples=8, seed=seed)
        result = run_quantizer(net().source, batches, recipe=recipe)
        return [float(sample["x"].flat[0]) for sample in result.calibration.kept]

    assert len(kept(0, 50)) == 8
    assert kept(0, 50) == kept(0, 7) == sorted(kept(0, 50))
    assert kept(0, 50) != kept(1, 50)


def test_progress_tells_stage_done_and_total() -> None:
    data = np.ones((40, 6, 5, 3), np.float32)
    for source, total in ((data, 40), (iter([data]), None)):
        told: list[tuple[str, int, int | None]] = []
        octavo.quantize(net(), source, progress=lambda *step, told=told: told.append(step))
        steps = [(done, of) for stage, done, of in told if stage == "calibrate"]
        assert steps[-1] == (40, total) and sorted(steps) == steps
    octavo.quantize(net(), data, progress=True)  # no terminal: nothing to see


def test_a_number_that_is_not_finite_is_named_by_tensor_and_sample() -> None:
    data = np.ones((6, 6, 5, 3), np.float32)
    data[4] = 3e38
    with pytest.raises(QuantizationError, match=r"samples 4 to \d: tensor 'y': .*infinity"):
        octavo.quantize(net(), [data[:4], data[4:]])


def test_the_result_does_not_depend_on_the_isa(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(5).standard_normal((20, 6, 5, 3)).astype(np.float32)
    found = []
    for isa in ("scalar", ""):
        monkeypatch.setenv("OCTAVO_ISA", isa)
        found.append(octavo.quantize(net(), data).plan_bytes().data)
    assert found[0] == found[1]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="NOT RUN: needs /proc")
def test_memory_does_not_grow_with_the_data() -> None:
    rng = np.random.default_rng(6)
    sizes: list[int] = []

    def batches() -> Iterator[np.ndarray]:
        for _ in range(40):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes.append(pages * resource.getpagesize())
            yield rng.standard_normal((700, 6, 5, 3), np.float32)  # 250 KB

    octavo.quantize(net(), batches(), recipe=octavo.Recipe(optimization_samples=4))
    assert len(sizes) == 40
    assert max(sizes[10:]) - sizes[10] < 5e6  # of 8 MB that came by


@pytest.mark.parametrize("offset, value, why", [(0, 1, "encrypted"), (2, 99, "compression")])
def test_archives_that_cannot_be_unpacked(tmp_path, offset, value, why):
    """An encrypted member, and a compression method that nobody knows."""
    path = tmp_path / "x.npz"
    np.savez(path, x=np.zeros((2, 6, 5, 3), np.float32))
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags + offset] = value
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"x.npz.*{why}"):
        list(open_data(net().source, path))

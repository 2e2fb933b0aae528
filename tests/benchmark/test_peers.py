# SPDX-License-Identifier: Apache-2.0
"""Adapters against real packages, each where it is installed; and what is said where it is not."""

import builtins
import importlib
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.benchmark.load import measure_load
from octavo.benchmark.machine import measure_bandwidth, resident_bytes
from octavo.benchmark.measure import Settings, Subject, measure
from octavo.benchmark.peers import PEERS, open_runtime, open_runtimes
from octavo.benchmark.runtimes import OctavoRuntime, describe_precision

QUICK = Settings(rounds=1, turn_seconds=0.001, load_repeats=0)
MODULES = {"onnxruntime": "onnxruntime", "openvino": "openvino"}


@pytest.fixture(params=MODULES)
def peer(request):
    pytest.importorskip("onnx", reason="NOT RUN: needs .[dev]")
    reason = f"NOT RUN: {request.param} is not installed: .[bench]"
    pytest.importorskip(MODULES[request.param], reason=reason)
    return request.param


@pytest.fixture
def shipped():
    """shipped(name) -> path of a model that the package contains."""

    def path(name):
        with resources.as_file(resources.files("octavo.demo") / name) as found:
            return Path(found)

    return path


def digits_feed():
    rng = np.random.default_rng(5)
    return {"x": rng.uniform(0, 1, (1, 1, 8, 8)).astype(np.float32)}


def feed_of(path):
    (info,) = octavo.load(path).inputs
    return {info.name: digits_feed()["x"]}


@pytest.mark.witness
@pytest.mark.parametrize(
    "file, precision", [("digits_qdq.onnx", "int8"), ("digits_f32.onnx", "float32")]
)
@pytest.mark.parametrize("bound", [False, True], ids=["call", "bound"])
def test_every_runtime_says_which_precision_it_ran(peer, shipped, file, precision, bound):
    path = shipped(file)
    runtimes, missing = open_runtimes([peer], None)
    assert not missing
    subject = Subject("digits", path, [feed_of(path)])
    settings = Settings(rounds=1, turn_seconds=0.001, load_repeats=0, bound=bound)
    (result,) = measure(subject, runtimes, [1], settings)
    for name in ("octavo", peer):
        entry = result.runtimes[name]
        assert entry.failure is None
        assert set(entry.precision) == {precision}, name
        assert entry.timing.min_ms > 0
    assert result.best_peer == peer
    assert result.macs > 0
    found = result.runtimes[peer].agreement
    assert found.max_abs < (1.0 if precision == "int8" else 1e-4)


@pytest.mark.witness
def test_load_figures_of_a_fresh_process(peer, shipped):
    path = shipped("digits_qdq.onnx")
    runtime = open_runtime(peer)
    found = measure_load(runtime, path, feed_of(path), threads=1, isa=None, repeats=1)
    assert found.import_ms > 1 and found.load_ms > 0
    if resident_bytes() is not None:
        assert found.peak_bytes >= found.resident_bytes > 0


def test_octavo_file_loads_in_a_fresh_process(shipped):
    path = shipped("digits_int8.octavo")
    found = measure_load(OctavoRuntime(), path, feed_of(path), threads=1, isa=None, repeats=2)
    assert found.repeats == 2 and 0 < found.load_ms < 10_000


def test_a_process_that_fails_says_why(shipped, tmp_path):
    path = tmp_path / "broken.octavo"
    path.write_bytes(b"no plan")
    feed = feed_of(shipped("digits_int8.octavo"))
    with pytest.raises(RuntimeError, match=r"octavo in a fresh process: .*FormatError"):
        measure_load(OctavoRuntime(), path, feed, threads=1, isa=None, repeats=1)


def test_a_peer_that_cannot_read_the_file_is_marked_unread(shipped):
    class Other(OctavoRuntime):
        name, formats = "other", (".tflite",)

    path = shipped("digits_int8.octavo")
    runtimes = {"octavo": OctavoRuntime(), "other": Other()}
    (result,) = measure(Subject("digits", path, [feed_of(path)]), runtimes, [1], QUICK)
    assert result.runtimes["other"].unread
    assert result.best_peer is None


def test_a_peer_that_fails_does_not_hide_octavo(shipped):
    class Failing:
        name = package = version = settings = "failing"
        timed, formats = True, (".octavo",)

        def load(self, path, threads):
            raise RuntimeError("no such operator\nmore lines")

    path = shipped("digits_int8.octavo")
    runtimes = {"octavo": OctavoRuntime(), "failing": Failing()}
    (result,) = measure(Subject("digits", path, [feed_of(path)]), runtimes, [1], QUICK)
    assert result.runtimes["failing"].failure == "RuntimeError: no such operator"
    assert result.runtimes["octavo"].timing is not None


def test_missing_peers_name_the_extra(monkeypatch):
    def refuse(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", refuse)
    found, missing = open_runtimes(["onnxruntime", "openvino", "litert"], isa=None)
    assert set(found) == {"octavo"}
    assert set(missing) == {"onnxruntime", "openvino", "litert"}
    assert all(why.endswith("pip install 'octavo[bench]'") for why in missing.values())


def test_charts_without_matplotlib_name_the_extra(monkeypatch):
    from octavo.benchmark.chart import new_figure

    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(octavo.OctavoError, match=r"octavo\[bench\]"):
        new_figure(1, 1)


def test_every_peer_states_its_settings():
    for name, factory in PEERS.items():
        assert factory.settings and factory.name == name


def test_precision_in_words():
    assert describe_precision({"int8": 52}) == "int8"
    assert describe_precision({"float32": 2, "int8": 50}) == "int8 50, float32 2"
    assert describe_precision({}) == "unknown"


def test_bandwidth_of_the_nearer_memory_is_not_absurd():
    found = measure_bandwidth()
    assert 0.1 < found.memory < 10_000
    assert 0.1 < found.l2 < 10_000

# SPDX-License-Identifier: Apache-2.0
"""The C interface: through ctypes in the extension, and from a C program linked to the library."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from networks import run, small_net, small_net_inputs

from octavo import _core

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "release"
SOURCE = ["-I", str(ROOT / "csrc/capi"), str(ROOT / "examples/run_model.c")]
OK, FORMAT, SHAPE, LIMIT, ISA, INVALID = 0, 1, 3, 4, 5, 6


class Info(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_int),
        ("rank", ctypes.c_int32),
        ("dims", ctypes.c_int32 * 8),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
        ("bytes", ctypes.c_size_t),
    )


@pytest.fixture(scope="module")
def lib():
    library = ctypes.CDLL(_core.__file__)
    library.octavo_last_error.restype = ctypes.c_char_p
    return library


@pytest.fixture
def net(rng):
    return small_net(rng).build(), small_net_inputs(rng)


@pytest.fixture
def model(lib, net):
    handle = ctypes.c_void_p()
    status = lib.octavo_load_memory(
        net[0], ctypes.c_size_t(len(net[0])), None, 1, ctypes.byref(handle)
    )
    assert status == OK, lib.octavo_last_error()
    yield handle
    lib.octavo_destroy(handle)


def pointers(arrays):
    return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))


def test_runs_as_python_does(lib, model, net):
    want = run(*net)
    got = [np.zeros_like(array) for array in want]
    assert lib.octavo_run(model, pointers(net[1]), pointers(got)) == OK
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_info(lib, model):
    assert lib.octavo_input_count(model) == 2
    assert lib.octavo_output_count(model) == 3
    info = Info()
    assert lib.octavo_input_info(model, 1, ctypes.byref(info)) == OK
    assert (info.name, info.dtype, info.rank) == (b"codes", 3, 2)
    assert list(info.dims) == [1, 10, 1, 1, 1, 1, 1, 1]
    assert (np.float32(info.scale), info.zero_point, info.bytes) == (np.float32(0.1), -3, 10)
    assert lib.octavo_output_info(model, 0, ctypes.byref(info)) == OK
    assert (info.name, info.dtype, info.scale, info.zero_point) == (b"probs", 1, 1.0, 0)
    assert lib.octavo_output_info(model, 3, ctypes.byref(info)) == INVALID
    assert lib.octavo_input_info(model, -1, ctypes.byref(info)) == INVALID
    assert b"index -1" in lib.octavo_last_error()


def test_files(lib, net, tmp_path):
    path = tmp_path / "m.octavo"
    path.write_bytes(net[0])
    handle = ctypes.c_void_p()
    assert lib.octavo_load_file(bytes(path), b"scalar", 2, ctypes.byref(handle)) == OK
    lib.octavo_destroy(handle)
    assert lib.octavo_load_file(b"/no/such/file", None, 1, ctypes.byref(handle)) == INVALID
    assert b"/no/such/file" in lib.octavo_last_error()
    assert not handle.value
    path.write_bytes(net[0][:-1])
    assert lib.octavo_load_file(bytes(path), None, 1, ctypes.byref(handle)) == FORMAT


def test_bad_arguments(lib, model, net):
    handle = ctypes.c_void_p()
    size = ctypes.c_size_t(len(net[0]))
    assert lib.octavo_load_memory(None, size, None, 1, ctypes.byref(handle)) == INVALID
    assert lib.octavo_load_memory(net[0], size, None, 1, None) == INVALID
    assert lib.octavo_load_memory(net[0], size, b"sse9", 1, ctypes.byref(handle)) == ISA
    assert lib.octavo_load_memory(net[0], size, None, -4, ctypes.byref(handle)) == INVALID
    assert lib.octavo_run(None, None, None) == INVALID
    assert lib.octavo_run(model, None, None) == INVALID
    outputs = [np.zeros(10, np.float32), np.zeros(10, np.int8), np.zeros(4, np.float32)]
    nulls = (ctypes.c_void_p * 3)()
    assert lib.octavo_run(model, pointers(net[1]), nulls) == INVALID
    odd = pointers(outputs)
    odd[0] += 1
    assert lib.octavo_run(model, pointers(net[1]), odd) == INVALID
    assert b"'probs' is NULL or not aligned" in lib.octavo_last_error()
    assert lib.octavo_input_count(None) == 0
    lib.octavo_destroy(None)


def test_every_truncation_is_a_status(lib, net):
    handle = ctypes.c_void_p()
    for length in range(0, len(net[0]), 17):
        size = ctypes.c_size_t(length)
        assert lib.octavo_load_memory(net[0], size, None, 1, ctypes.byref(handle)) == FORMAT


@pytest.mark.skipif(shutil.which("cc") is None, reason="NOT RUN: no C compiler")
def test_header_is_c99():
    flags = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    subprocess.run(["cc", *flags, *SOURCE], check=True)


@pytest.mark.skipif(shutil.which("cc") is None, reason="NOT RUN: no C compiler")
@pytest.mark.skipif(not (BUILD / "CMakeCache.txt").exists(), reason="NOT RUN: no build/release")
def test_c_program(net, tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("NOT RUN: no cmake")
    library = [cmake, "--build", str(BUILD), "--target", "octavo_shared"]
    subprocess.run(["flock", str(BUILD / ".lock"), *library], check=True, capture_output=True)
    program = tmp_path / "run_model"
    link = ["-L", str(BUILD), "-loctavo", f"-Wl,-rpath,{BUILD}"]
    subprocess.run(["cc", "-std=c99", *SOURCE, *link, "-o", str(program)], check=True)
    model = tmp_path / "m.octavo"
    model.write_bytes(net[0])
    files = []
    for index, array in enumerate(net[1]):
        files.append(tmp_path / f"{index}.bin")
        files[-1].write_bytes(array.tobytes())
    done = subprocess.run([program, model, *files], check=True, capture_output=True)
    assert done.stdout == b"".join(array.tobytes() for array in run(*net))
    assert b"input codes: dtype 3, 10 bytes, dims 1 10" in done.stderr
    damaged = subprocess.run([program, files[0]], capture_output=True, check=False)
    assert damaged.returncode == 1
    assert b"magic" in damaged.stderr or b"too short" in damaged.stderr

# SPDX-License-Identifier: Apache-2.0
"""What goes wrong ends in one line that names the way out: no traceback, the right exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from octavo.cli import COMMANDS, main

from_models = pytest.mark.parametrize("command", ["bench", "compare", "inspect", "run"])


@from_models
def test_missing_model(octavo_cli, command, tmp_path):
    path = tmp_path / "absent.onnx"
    octavo_cli(command, path).refused("InvalidArgumentError", "no such file", str(path))


@from_models
def test_unknown_ending(octavo_cli, command, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"x")
    octavo_cli(command, path).refused("InvalidArgumentError", ".pt", ".onnx", ".octavo")


@from_models
@pytest.mark.parametrize("ending", ["onnx", "octavo"])
def test_damaged_model(octavo_cli, command, ending, tmp_path):
    if ending == "onnx":
        pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'octavo[onnx]'")
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(b"this is no model at all, whatever its name says" * 5)
    octavo_cli(command, path).refused("FormatError")


def test_truncated_plan(octavo_cli, int8_plan, tmp_path):
    path = tmp_path / "short.octavo"
    path.write_bytes(int8_plan.read_bytes()[:-100])
    octavo_cli("run", path).refused("FormatError")


@pytest.mark.parametrize("command", ["bench", "compare", "run"])
def test_input_files(octavo_cli, command, int8_plan, tmp_path):
    absent, text, other = tmp_path / "x.npy", tmp_path / "t.npy", tmp_path / "o.npz"
    octavo_cli(command, int8_plan, "--input", absent).refused(
        "InvalidArgumentError", "no such file"
    )
    text.write_text("1 2 3")
    octavo_cli(command, int8_plan, "--input", text).refused("FormatError", "NumPy")
    np.savez(other, one=np.zeros(3, np.float32), two=np.zeros(3, np.float32))
    octavo_cli(command, int8_plan, "--input", other).refused("InvalidArgumentError", "input")


@pytest.mark.parametrize("command", ["bench", "compare", "run"])
@pytest.mark.parametrize(
    "array, kind",
    [
        (np.zeros((2, 1, 8, 8), np.float64), "InvalidArgumentError"),
        (np.zeros((2, 1, 8, 7), np.float32), "ShapeError"),
        (np.zeros((2, 8, 8), np.float32), "ShapeError"),
        (np.zeros((0, 1, 8, 8), np.float32), "ShapeError"),
    ],
    ids=["dtype", "shape", "rank", "empty"],
)
def test_input_arrays(octavo_cli, command, int8_plan, tmp_path, array, kind):
    path = tmp_path / "x.npy"
    np.save(path, array)
    octavo_cli(command, int8_plan, "--input", path).refused(kind)


@pytest.mark.parametrize("command", ["bench", "compare", "run", "demo"])
def test_unknown_isa(octavo_cli, command, int8_plan):
    model = [] if command == "demo" else [int8_plan]
    octavo_cli(command, *model, "--isa", "avx9").refused("IsaError", "avx9", "scalar")


def test_unknown_isa_in_the_environment(octavo_cli, int8_plan, monkeypatch):
    monkeypatch.setenv("OCTAVO_ISA", "sse9")
    octavo_cli("run", int8_plan).refused("IsaError", "sse9")


@pytest.mark.parametrize("command", ["bench", "run", "demo"])
@pytest.mark.parametrize("threads", ["0", "-1", "100000"])
def test_thread_counts(octavo_cli, command, int8_plan, threads):
    model = [] if command == "demo" else [int8_plan]
    octavo_cli(command, *model, "--threads", threads).refused("InvalidArgumentError", threads)


def test_bench_seconds(octavo_cli, int8_plan):
    octavo_cli("bench", int8_plan, "--seconds", "0").refused("InvalidArgumentError", "--seconds")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--vs", "nothing"], ["nothing", "onnxruntime"]),
        (["--threads", "one"], ["--threads one"]),
        (["--rounds", "0"], ["--rounds 0"]),
        (["--tflite", "m.tflite"], ["--vs"]),
        (["--seconds", "0.02", "--json", "model.onnx"], ["model.onnx", ".json"]),
    ],
)
def test_bench_arguments(octavo_cli, int8_plan, arguments, words):
    octavo_cli("bench", int8_plan, *arguments).refused("InvalidArgumentError", *words)


@pytest.mark.parametrize("peer", ["onnxruntime", "openvino", "litert"])
def test_bench_without_a_peer_names_the_extra(octavo_without, int8_plan, peer):
    absent = ["onnxruntime", "openvino", "ai_edge_litert"]
    octavo_without(absent, "bench", int8_plan, "--vs", peer).refused(
        "MissingExtraError", peer, "pip install 'octavo[bench]'"
    )


def test_output_in_an_absent_folder(octavo_cli, int8_plan, tmp_path):
    target = tmp_path / "absent" / "y.npz"
    octavo_cli("run", int8_plan, "--output", target).refused("InvalidArgumentError", str(target))


class TestQuantize:
    pytestmark = pytest.mark.usefixtures("extras")

    @pytest.fixture
    def extras(self):
        for package in ("onnx", "rich"):
            pytest.importorskip(package, reason="NOT RUN: needs pip install 'octavo[onnx]'")

    def test_no_calibration(self, octavo_cli, float_onnx, tmp_path):
        octavo_cli("quantize", float_onnx, "--output", tmp_path / "q.onnx").refused(
            "InvalidArgumentError", "--calibration", "--random-calibration"
        )

    def test_ending_of_the_output(self, octavo_cli, float_onnx):
        octavo_cli("quantize", float_onnx, "--random-calibration", 1, "--output", "q.txt").refused(
            "InvalidArgumentError", ".onnx", ".octavo"
        )

    def test_already_quantized(self, octavo_cli, int8_onnx, tmp_path):
        octavo_cli("quantize", int8_onnx, "--random-calibration", 1, "--output",
                   tmp_path / "q.onnx").refused("QuantizationError", "float model")  # fmt: skip

    def test_unknown_node(self, octavo_cli, float_onnx, tmp_path):
        octavo_cli("quantize", float_onnx, "--random-calibration", 1, "--exclude", "no_such_node",
                   "--output", tmp_path / "q.onnx").refused(
            "InvalidArgumentError", "no_such_node"
        )  # fmt: skip

    def test_samples_with_nan(self, octavo_cli, float_onnx, tmp_path):
        samples = np.full((3, 1, 8, 8), np.nan, np.float32)
        np.save(tmp_path / "x.npy", samples)
        octavo_cli("quantize", float_onnx, "--calibration", tmp_path / "x.npy", "--output",
                   tmp_path / "q.onnx").refused("QuantizationError", "NaN")  # fmt: skip

    def test_no_samples(self, octavo_cli, float_onnx, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((0, 1, 8, 8), np.float32))
        octavo_cli("quantize", float_onnx, "--calibration", tmp_path / "x.npy", "--output",
                   tmp_path / "q.onnx").refused("InvalidArgumentError", "calibration")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option(octavo_cli, command):
    result = octavo_cli(command, "--no-such-option")
    assert result.code == 2 and result.out == ""
    assert "usage: octavo" in result.err and "Traceback" not in result.err


def test_unknown_command(octavo_cli):
    result = octavo_cli("train")
    assert result.code == 2
    assert all(command in result.err for command in COMMANDS)


def test_no_command(octavo_cli):
    assert octavo_cli().code == 2


@pytest.mark.parametrize("command", ["run", "inspect", "bench", "compare"])
def test_absent_onnx_is_named_with_the_remedy(octavo_without, int8_onnx, command):
    octavo_without(["onnx"], command, int8_onnx).refused(
        "MissingExtraError", "pip install 'octavo[onnx]'"
    )


@pytest.mark.parametrize("absent", ["onnx", "rich"])
def test_quantize_without_its_extra(octavo_without, float_onnx, tmp_path, absent):
    octavo_without([absent], "quantize", float_onnx, "--random-calibration", 1, "--output",
                   tmp_path / "q.onnx").refused(
        "MissingExtraError", "pip install 'octavo[onnx]'"
    )  # fmt: skip


@pytest.mark.parametrize(
    "command", ["demo", "run", "inspect", "bench", "compare", "profile", "doctor"]
)
def test_works_with_numpy_alone(octavo_without, int8_plan, command):
    absent = ["onnx", "rich", "onnxruntime", "openvino", "matplotlib", "google"]
    model = [] if command in ("demo", "doctor") else [int8_plan]
    seconds = ["--seconds", "0.02"] if command in ("demo", "bench") else []
    result = octavo_without(absent, command, *model, *seconds)
    assert result.code == 0, result.err
    assert result.out and result.err == ""


def test_interrupt_in_the_process(octavo_cli, int8_plan, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("octavo.cli.run_command.load", interrupted)
    result = octavo_cli("run", int8_plan)
    assert result.code == 130
    assert result.err == "octavo: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: POSIX signals")
def test_an_interrupt_inside_exec_gives_the_same_exit_code(int8_plan, cli_environment, tmp_path):
    code = f"""
import sys
from octavo.cli import main, run_command

run_command.load = lambda *_, **__: exec("raise KeyboardInterrupt")
sys.exit(main(["run", {str(int8_plan)!r}]))
"""
    (tmp_path / "interrupted.py").write_text(code)
    result = subprocess.run(
        [sys.executable, "-m", "interrupted"],  # with -c CPython does not do what is worked around
        capture_output=True,
        text=True,
        env=cli_environment,
        cwd=tmp_path,
    )
    assert (result.returncode, result.stderr) == (130, "octavo: interrupted\n")


def _wait_until_running(process, cpu_seconds=0.2, timeout=60):
    """Until `process` has loaded the kernels and computed for `cpu_seconds` after that. Not a fixed
    wait: a busy machine can take seconds to start an interpreter."""
    proc = Path(f"/proc/{process.pid}")
    loaded_at, end = None, time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        user_ticks = int((proc / "stat").read_text().rpartition(")")[2].split()[11])
        cpu = user_ticks / os.sysconf("SC_CLK_TCK")
        if loaded_at is None and "/_core." in (proc / "maps").read_text():
            loaded_at = cpu
        if loaded_at is not None and cpu >= loaded_at + cpu_seconds:
            return
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"octavo bench did not get to its kernels: {process.communicate()}")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="NOT RUN: needs /proc")
def test_ctrl_c_while_running(int8_plan, cli_environment):
    command = [sys.executable, "-m", "octavo.cli", "bench", str(int8_plan), "--seconds", "60"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cli_environment,
        # Jobs in the background of a shell inherit SIGINT as ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    _wait_until_running(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == "" and err == "octavo: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="NOT RUN: POSIX pipes")
def test_reader_that_goes_away(int8_plan, cli_environment):
    command = [sys.executable, "-m", "octavo.cli", "inspect", str(int8_plan), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli_environment
    )
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == b""


def test_main_returns_and_does_not_exit(int8_plan, capsys):
    assert main(["run", str(int8_plan)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT RUN: no /dev/full here")
def test_full_disk(int8_plan, cli_environment):
    command = [sys.executable, "-m", "octavo.cli", "inspect", str(int8_plan)]
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=cli_environment
        )
    assert process.returncode == 1
    assert process.stderr.startswith("octavo: ") and process.stderr.count("\n") == 1

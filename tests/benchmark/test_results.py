# SPDX-License-Identifier: Apache-2.0
"""The report: agreement, ratios, the JSON and back."""

import json

import numpy as np
import pytest

from octavo.benchmark import results
from octavo.benchmark.agreement import agreement
from octavo.benchmark.load import Load
from octavo.benchmark.tables import render_report
from octavo.benchmark.timing import Timing
from octavo.errors import FormatError, InvalidArgumentError

STEP = 0.25


def timed(low, mid=None, precision="int8"):
    median = mid or 1.1 * low
    timing = Timing(low, median, 1, [(low, median)])
    return results.RuntimeResult(timing=timing, precision={precision: 1})


def make_report(*models, **machine):
    return results.Report(
        command=["test"],
        settings={"bound": False, "isa": None, "rounds": 4, "seed": 7},
        machine={"cpu": "a CPU", "cpus": 2, "usable_cpus": 1, "isa": "avx2", **machine},
        versions={"octavo": "1", "p": "1"},
        runtime_settings={},
        limits={"l2_gb_per_s": 1.0, "memory_gb_per_s": 0.5},
        models=list(models),
    )


def make_model(own, peer, threads=1, name="m"):
    model = results.ModelResult(name, threads, macs=2_000_000, peak_gmacs_per_s=4.0)
    model.runtimes = {"octavo": timed(own), "p": timed(peer)}
    model.derive()
    return model


def test_agreement_counts_levels_not_roundings():
    expected = np.array([0.0, 1.0, 2.0, 3.0]) * STEP
    actual = np.array([1e-7, 1.0, 3.0, -2.0 + 1e-7]) * STEP
    found = agreement([{"y": expected}], [{"y": actual}], {"y": STEP})
    assert found.equal == 0.5
    assert found.max_steps == 5
    assert found.max_abs == pytest.approx(5 * STEP)


def test_agreement_without_a_step_is_bit_for_bit():
    expected = np.array([1.0, 2.0], np.float32)
    found = agreement([{"y": expected}], [{"y": np.nextafter(expected, 9)}], {"y": None})
    assert found.equal == 0
    assert found.max_steps is None


def test_agreement_refuses_other_shapes():
    with pytest.raises(ValueError, match="shapes"):
        agreement([{"y": np.zeros(3)}], [{"y": np.zeros(4)}], {"y": None})


def test_agreement_counts_nan_as_different_and_has_no_maximum():
    found = agreement([{"y": np.zeros(2)}], [{"y": np.array([0, np.nan])}], {"y": STEP})
    assert found.equal == 0.5
    assert found.max_abs is None
    assert found.max_steps is None


def test_ratios_compare_with_the_best_peer():
    result = results.ModelResult("m", 2, macs=2_000_000, peak_gmacs_per_s=4.0)
    result.runtimes = {"octavo": timed(0.5, 1.0), "p": timed(1.4, 3.0), "q": timed(1.5, 2.0)}
    result.derive()
    assert result.best_peer == "p"
    assert result.ratio_min == pytest.approx(2.8)
    assert result.ratio_median == 2.0
    assert result.runtimes["octavo"].gmacs_per_s == pytest.approx(4.0)
    assert result.runtimes["octavo"].peak_share == pytest.approx(0.5)


def test_a_float_run_has_no_share_of_the_int8_peak():
    result = results.ModelResult("m", 1, macs=2_000_000, peak_gmacs_per_s=4.0)
    result.runtimes = {"octavo": timed(0.5, precision="float32")}
    result.derive()
    assert result.runtimes["octavo"].peak_share is None


def test_geometric_mean_per_thread_count():
    report = make_report(make_model(1.0, 2.0), make_model(1.0, 8.0, name="n"), make_model(1, 3, 2))
    assert report.geomean(1) == pytest.approx(4.0)
    assert report.geomean(2) == pytest.approx(3.0)
    assert report.geomean(4) is None


def test_json_and_back(tmp_path):
    model = make_model(1.0, 2.0)
    model.loads = {"octavo .octavo": Load(1.0, 2.0, 1000, None, 3)}
    model.runtimes["q"] = results.RuntimeResult(failure="ValueError: no")
    report = make_report(model)
    report.write(tmp_path / "r.json")
    assert results.read_report(tmp_path / "r.json") == report
    assert report.failed


def test_a_model_is_not_overwritten_by_a_report(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"\.json"):
        make_report().write(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '{"schema": "octavo-bench", "version": 1}', '{"schema": "x", "version": 1}',
     '{"schema": "octavo-bench", "version": 2}', "\x00"],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"r\.json"):
        results.read_report(path)


def test_merge_takes_the_last_of_the_same_model():
    first = make_report(make_model(1.0, 2.0), make_model(1.0, 2.0, name="n"))
    second = make_report(make_model(0.5, 2.0))
    merged = results.merge([first, second])
    assert [(m.model, m.ratio_min) for m in merged.models] == [("m", 4.0), ("n", 2.0)]


def test_merge_refuses_other_machines_and_versions():
    with pytest.raises(InvalidArgumentError, match="cpus 2 and 4"):
        results.merge([make_report(), make_report(cpus=4)])
    newer = make_report()
    newer.versions["p"] = "2"
    with pytest.raises(InvalidArgumentError, match="p 1 and 2"):
        results.merge([make_report(), newer])


def test_text_shows_failures_notes_and_what_did_not_run():
    model = make_model(1.0, 2.0)
    model.runtimes["q"] = results.RuntimeResult(failure="ValueError: no")
    model.runtimes["r"] = results.RuntimeResult(note="does not read .onnx files", unread=True)
    model.runtimes["p"].note = "other weights"
    report = make_report(model, results.ModelResult("broken", 1, failure="OSError: gone"))
    report.models.append(make_model(1.0, 2.0, threads=2))
    report.not_run["s"] = "not installed"
    text = render_report(report)
    for line in (
        "FAILED m q: ValueError: no",
        "FAILED broken: OSError: gone",
        "NOT RUN s: not installed",
        "4 rounds in random order (seed 7), plain calls",
        "(!) 2 threads shared 1 CPUs",
        "NOT RUN r: does not read .onnx files (m)",
        "* p: other weights (m)",
        "geometric mean of 1: 2.00 by the fastest call",
    ):
        assert line in text
    assert json.loads(json.dumps(report.document()))["models"][1]["failure"] == "OSError: gone"

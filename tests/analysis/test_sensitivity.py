# SPDX-License-Identifier: Apache-2.0
"""`octavo.sensitivity` ranks the layers that hurt first, resumes, and runs on executors."""

from __future__ import annotations

import json
import math
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
from small_nets import images, residual_net

import octavo
from octavo.analysis import trials
from octavo.analysis.trials_problem import problem_of
from octavo.errors import InvalidArgumentError
from octavo.ir import constant

DATA = [images(16, 1)]


@pytest.fixture(scope="module")
def net():
    """A network in which conv2 cannot be quantized well: one weight dwarfs the others."""
    model = residual_net(4, blocks=1)
    (node,) = [node for node in model.source.nodes if node.name == "conv2"]
    value = model.source.values[node.inputs[1]]
    data = value.data.copy()
    data[:, 0, 0, 0] = 60.0 * np.abs(data).max()
    values = {**model.source.values, value.name: constant(value.name, data)}
    return octavo.Model(model.source.with_(values=values))


#: Equalization would mend what these tests look for.
PLAIN = octavo.Recipe(equalize=False, smooth=None)


@pytest.fixture(scope="module")
def found(net):
    return octavo.sensitivity(net, DATA, recipe=PLAIN)


def test_the_layer_that_hurts_is_first(found):
    assert {layer.node for layer in found.layers} == {
        *("conv0", "conv1", "conv2", "add3", "conv4"),
        *("globalaveragepool6", "linear8"),
    }
    assert [layer.rank for layer in found.layers] == list(range(1, 8))
    worst = found.layers[0]
    assert worst.node == "conv2"
    assert worst.without.sqnr_db == max(layer.without.sqnr_db for layer in found.layers)
    assert worst.without.sqnr_db > found.int8.sqnr_db + 3
    assert worst.only.sqnr_db == min(layer.only.sqnr_db for layer in found.layers)
    assert worst.own_db == min(layer.own_db for layer in found.layers)
    assert (worst.macs, worst.bytes) == (64 * 54 * 6, 4 * (54 * 6 + 6))
    assert math.isinf(found.float32.sqnr_db)


def test_the_suggestion_mends_it(found, net):
    recipe = found.suggest(1)
    (rule,) = recipe.rules
    assert (rule.nodes, rule.settings) == ("conv2", {"precision": "float32"})
    assert found.suggest(share=0.3).rules == recipe.rules
    assert len(found.suggest(share=1.0).rules[0].nodes.split("|")) == 7
    assert found.suggest(0) == PLAIN
    mended = octavo.quantize(net, DATA, recipe=recipe)
    assert set(mended.float_reasons) == {"conv2"}


def test_plain_data_and_picture(found, tmp_path):
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["layers"][0]["node"] == "conv2"
    assert document["float32"]["sqnr_db"] is None
    assert octavo.Recipe.from_dict(document["suggestion"]) == found.suggest()
    pytest.importorskip("matplotlib", reason="NOT RUN: needs pip install 'octavo[report]'")
    for ending, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        picture = found.save_picture(tmp_path / f"s{ending}")
        assert picture.read_bytes().startswith(magic)
    with pytest.raises(InvalidArgumentError, match="ending"):
        found.save_picture(tmp_path / "s.bmp")


def test_an_interrupted_run_goes_on_and_ends_the_same(found, net, tmp_path, monkeypatch):
    journal, right = tmp_path / "j.jsonl", trials.evaluate
    calls = []

    def interrupted(handle, recipe):
        calls.append(recipe)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return right(handle, recipe)

    monkeypatch.setattr(trials, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        octavo.sensitivity(net, DATA, journal=journal, recipe=PLAIN)
    steps = []
    resumed = octavo.sensitivity(
        net, DATA, journal=journal, recipe=PLAIN, progress=lambda *step: steps.append(step)
    )
    assert len(calls) == 7 + 16 - 6
    assert steps[-1] == ("sensitivity", 16, 16)
    assert resumed.to_dict() == found.to_dict()
    with pytest.raises(InvalidArgumentError, match="other data"):
        octavo.sensitivity(net, [images(8, 2)], journal=journal, recipe=PLAIN)


FEW = {"layers": ["conv2", "conv0"], "sweeps": ["only"]}
EXECUTORS = {
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn")),
}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_executors_give_the_same(kind, net):
    with EXECUTORS[kind]() as executor:
        other = octavo.sensitivity(net, DATA, executor=executor, **FEW)
    assert other.to_dict() == octavo.sensitivity(net, DATA, **FEW).to_dict()


def test_a_dask_cluster_gives_the_same(net, tmp_path):
    distributed = pytest.importorskip(
        "dask.distributed", reason="NOT RUN: dask.distributed is not installed"
    )
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with (
        distributed.LocalCluster(**options, local_directory=str(tmp_path)) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        other = octavo.sensitivity(net, DATA, executor=executor, spool=tmp_path, **FEW)
    assert other.to_dict() == octavo.sensitivity(net, DATA, **FEW).to_dict()


def first_output(outputs, reference, labels):
    return -float(np.abs(outputs["linear8/y"] - reference["linear8/y"]).max())


def test_metrics_labels_and_layers(net):
    labels = np.arange(16) % 10
    options = {**FEW, "labels": labels}
    for metric in ("agreement", "accuracy", "cosine", first_output):
        result = octavo.sensitivity(net, DATA, metric=metric, **options)
        assert len(result.layers) == 2
        assert result.layers[0].without is result.layers[0].own_db is None
        assert result.metric == (metric if isinstance(metric, str) else "first_output")
    assert [layer.node for layer in result.layers] == ["conv2", "conv0"]


def test_a_recipe_is_where_sweeps_start(net):
    start = octavo.sensitivity(net, DATA, recipe=PLAIN, sweeps=["only"]).suggest(1)
    result = octavo.sensitivity(net, DATA, recipe=start, sweeps=["without"], layers=["conv0"])
    assert result.int8.sqnr_db > 30
    assert result.recipe == start


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "best"}, "metric='best'"),
        ({"metric": "accuracy"}, "labels"),
        ({"labels": [1, 2]}, "2 labels for 16 samples"),
        ({"layers": ["nope"]}, "nope"),
        ({"sweeps": ["all"]}, "own, only, without"),
        ({"data": []}, "no batch"),
        ({"data": [{"y": DATA[0]}]}, "data: .*y"),
    ],
)
def test_bad_arguments_are_refused(net, change, message):
    arguments = {"data": DATA, **change}
    with pytest.raises(InvalidArgumentError, match=message):
        octavo.sensitivity(net, **arguments)


def test_spooled_problems_are_named_when_a_worker_cannot_see_them(net, tmp_path):
    problem = problem_of(net, DATA, None, None, "sqnr")
    spooled = problem.spool(tmp_path)
    assert spooled.open().digest == problem.digest
    with pytest.raises(InvalidArgumentError, match="spool="):
        replace(spooled, path=str(tmp_path / "gone")).open()

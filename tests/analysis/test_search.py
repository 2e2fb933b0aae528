# SPDX-License-Identifier: Apache-2.0
"""`octavo.search` on a network with one layer that cannot be quantized well."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from small_nets import images
from test_sensitivity import net  # noqa: F401 (a fixture)

import octavo
from octavo.analysis import search_latency, search_model, trials
from octavo.analysis.search_evolution import children
from octavo.analysis.search_result import Candidate, Limits, choose
from octavo.analysis.search_space import Choice, Space
from octavo.analysis.trials import Bench, Score
from octavo.analysis.trials_problem import problem_of
from octavo.errors import InvalidArgumentError
from octavo.model import Model
from octavo.quantization.recipe import Recipe

DATA, OTHER = [images(16, 1)], [images(24, 2)]


@pytest.fixture(autouse=True, scope="module")
def calm_clock():
    """Latency by a model, so that what is chosen does not depend on the machine: a millisecond per
    float step, a tenth per other, a microsecond per conversion."""

    def cost(precision: str) -> float:
        return 1.0 if precision == "float32" else 0.1

    def times(self, model: Model, seconds: float = 0.0) -> tuple[float, float]:
        return sum(cost(kernel.precision) for kernel in model.compile().kernels()), 1.0

    def layer_us(models, sample, threads):
        return {
            precision: {k.node: 1e3 * cost(k.precision) for k in model.compile().kernels()}
            for precision, model in models.items()
        }

    def conversion_us(sizes, threads):
        return dict.fromkeys(sizes, (1.0, 1.0))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_latency.Stopwatch, "times", times)
        patch.setattr(search_model, "layer_us", layer_us)
        patch.setattr(search_model, "conversion_us", conversion_us)
        yield


OPTIONS = {"evaluation": OTHER, "metric": "sqnr", "trials": 22, "seed": 3}
OPTIONS["precisions"] = ["int8", "float32"]


@pytest.fixture(scope="module")
def found(net):  # noqa: F811
    return octavo.search(net, DATA, **OPTIONS)


def test_the_pareto_set_is_better_than_the_start(found, tmp_path):
    assert found.trials == 22
    start, best = found.start, found.best
    assert start.recipe == Recipe()
    assert start.layers == {"int8": 7}
    assert best.relative <= start.relative * 1.01
    assert best.score.sqnr_db >= start.score.sqnr_db
    assert any(c.score.sqnr_db > start.score.sqnr_db + 3 for c in found.pareto)
    times = [c.latency_ms for c in found.pareto]
    quality = [c.score.sqnr_db for c in found.pareto]
    assert times == sorted(times)
    assert quality == sorted(quality)
    assert found.unmet == ()
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    recipes = [Recipe.from_dict(c["recipe"]) for c in document["pareto"]]
    assert recipes == [c.recipe for c in found.pareto]
    found.save(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == document
    pytest.importorskip("matplotlib", reason="NOT RUN: needs pip install 'octavo[report]'")
    assert found.save_picture(tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_measured_figures_are_those_of_the_recipe(found, net):  # noqa: F811
    problem = problem_of(net, DATA, OTHER, None, "sqnr")
    for candidate in (found.best, found.pareto[-1]):
        bench = Bench(problem)
        assert bench.score(bench.quantize(candidate.recipe)) == candidate.score


def test_trials_in_threads_do_not_get_each_others_models(net):  # noqa: F811
    class Raced(Bench):
        """Between any two looks at the last model, another thread has replaced it."""

        @property
        def _last(self):
            self.looks += 1
            return self.asked if self.looks % 2 else ("another", net)

        @_last.setter
        def _last(self, _):
            self.looks = 0

    bench = Raced(problem_of(net, DATA, OTHER, None, "sqnr"))
    own = octavo.quantize(net, DATA)
    bench.asked = (trials.trial_key(Recipe()), own)
    assert bench.quantize(Recipe()) is own


def test_an_interrupted_search_goes_on_and_ends_the_same(found, net, tmp_path, monkeypatch):  # noqa: F811
    journal, right, calls = tmp_path / "j.jsonl", trials.evaluate, []

    def interrupted(handle, recipe):
        calls.append(recipe)
        if len(calls) in (5, 45):
            raise KeyboardInterrupt
        return right(handle, recipe)

    monkeypatch.setattr(trials, "evaluate", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            octavo.search(net, DATA, journal=journal, **OPTIONS)
    with ThreadPoolExecutor(2) as pool:
        resumed = octavo.search(net, DATA, journal=journal, executor=pool, **OPTIONS)

    def without_clock(result):
        return [(c.recipe, c.score, c.layers) for c in (*result.pareto, result.best)]

    assert without_clock(resumed) == without_clock(found)
    before = len(calls)
    again = octavo.search(net, DATA, journal=journal, **OPTIONS)
    assert len(calls) == before
    assert again.to_dict() == resumed.to_dict()
    with pytest.raises(InvalidArgumentError, match="other settings"):
        octavo.search(net, DATA, journal=journal, **{**OPTIONS, "seed": 6})


def test_limits_decide_what_is_best(net):  # noqa: F811
    options = {**OPTIONS, "metric": "cosine", "trials": 12}
    drop = octavo.search(net, DATA, max_drop=1e-4, **options)
    assert drop.unmet == ()
    assert drop.best.score.metric >= 1 - 1e-4
    assert drop.best.latency_ms == min(
        c.latency_ms for c in drop.pareto if c.score.metric >= 1 - 1e-4
    )
    options = {"evaluation": OTHER, "precisions": ["int8"], "trials": 2}
    small = octavo.search(net, DATA, max_bytes=100, max_latency=1e-3, **options)
    assert "at most 100 were asked" in small.unmet[1]
    assert "latency is" in small.unmet[0]
    assert "% missing" in small.unmet[0]
    assert set(small.best.layers) == {"int8"}


def candidate(metric, ms, size=100, relative=1.0):
    return Candidate(Recipe(seed=int(1e6 * ms)), Score(metric, metric, size), ms, relative, {})


def test_choosing():
    start, slow, quick = candidate(0.9, 1.0), candidate(0.99, 3.0, 300, 3.0), candidate(0.8, 0.5)
    everything = [start, slow, quick, candidate(0.7, 0.9)]
    front, best, unmet = choose(everything, start, Limits(None, None, None), "agreement")
    assert (front, best, unmet) == ((quick, start, slow), start, ())
    assert choose(everything, start, Limits(0.75, None, None), "a")[1] is quick
    assert choose(everything, start, Limits(0.85, None, None), "a")[1] is start
    assert choose(everything, start, Limits(None, 4.0, None), "a")[1] is slow
    assert choose(everything, start, Limits(None, 4.0, 200), "a")[1] is start
    _, best, unmet = choose(everything, start, Limits(0.95, 2.0, None), "agreement")
    assert best is start
    assert unmet == ("agreement is 0.9, at least 0.95 was asked (5.3 % missing)",)


def test_a_small_gain_keeps_the_start_unless_the_metric_is_the_callers():
    start, better = candidate(30.0, 1.0), candidate(30.3, 1.0001)
    for name, best in (("sqnr", start), ("own", better)):
        assert choose([start, better], start, Limits(None, None, None), name)[1] is best
    clear = candidate(30.6, 1.0002)
    assert choose([start, clear], start, Limits(None, None, None), "sqnr")[1] is clear


def test_children_follow_from_the_seed_and_are_new():
    choices = (Choice("int8"), Choice("float32"))
    space = Space(Recipe(), tuple("abcdef"), (choices,) * 6, ({}, {}), (True, False), (0.5, None))
    origin = space.origin

    def breed(seed):
        rng = np.random.default_rng(seed)
        return children(space, [origin], [(0.0, 0.0)], 8, rng, {origin}.__contains__)

    assert breed(1) == breed(1) != breed(2)
    assert len(set(breed(1))) == 8
    assert origin not in breed(1)
    alone = Space(Recipe(), (), (), ({},), (True,), (None,))
    rng = np.random.default_rng(0)
    assert len(children(alone, [alone.origin], [(0.0, 0.0)], 8, rng, lambda g: False)) < 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_drop": 0.01, "metric": "sqnr"}, "agreement"),
        ({"max_latency": -1}, "max_latency=-1"),
        ({"max_drop": float("nan")}, "max_drop=nan"),
        ({"precisions": ["int4"]}, "int8, int16"),
        ({"trials": 0}, "trials=0"),
    ],
)
def test_bad_arguments_are_refused(net, change, message):  # noqa: F811
    with pytest.raises(InvalidArgumentError, match=message):
        octavo.search(net, DATA, **change)

# SPDX-License-Identifier: Apache-2.0
"""Dominance, fronts, crowding, and the additive model against all choices there are."""

import itertools
import math

import numpy as np
import pytest

from octavo.analysis.pareto import crowding, dominates, fronts, pareto_front, survivors
from octavo.analysis.search_frontier import Costs, Edge, _Descent, edges_of, frontier

POINTS = [(1, 5), (2, 2), (5, 1), (3, 3), (2, 2), (6, 6), (2, 6)]


def test_dominance():
    assert dominates((1, 2), (1, 3))
    assert not dominates((1, 2), (1, 2))
    assert not dominates((1, 4), (2, 3))
    assert not dominates((math.inf, 1), (2, 3))


def test_fronts_are_layers():
    assert fronts(POINTS) == [[0, 1, 2, 4], [3, 6], [5]]
    assert pareto_front(POINTS) == [2, 1, 0]
    assert pareto_front([]) == []


def test_survivors_keep_the_ends_of_a_front_that_is_too_long():
    line = [(float(i), 10.0 - i) for i in range(11)]
    kept = survivors(line, 3)
    assert {0, 10} < set(kept)
    assert survivors(POINTS, 5)[:4] == [0, 1, 2, 4]
    assert crowding([(0, 0)]).tolist() == [math.inf]
    assert len(crowding([])) == 0


def random_costs(seed, count=7):
    rng = np.random.default_rng(seed)
    noise = [[float(n), 0.0] for n in rng.exponential(1.0, count)]
    us = [[float(t), float(t * f)] for t, f in zip(*rng.uniform(1, 4, (2, count)), strict=True)]
    edges = [Edge(-1, (0,), 0.7, 0.6)]
    edges += [Edge(i, (i + 1,), 0.8, 0.7) for i in range(count - 1)]
    edges += [Edge(1, (4, 5), 0.5, 0.5), Edge(count - 1, (-1,), 0.3, 0.2)]
    return Costs(noise, us, [["8", "f32"]] * count, edges)


@pytest.mark.parametrize("seed", range(4))
def test_the_descent_comes_near_the_best_of_all_choices(seed):
    costs = random_costs(seed)
    everything = list(itertools.product((0, 1), repeat=7))
    for price in (0.01, 0.1, 0.3, 1.0, 10.0):

        def total(layers, price=price):
            return costs.total_noise(layers) + price * costs.total_us(layers)

        found = min((_Descent(costs, price).run([start] * 7) for start in (0, 1)), key=total)
        assert total(found) <= 1.03 * min(map(total, everything)), (seed, price)


def test_the_frontier_goes_from_no_noise_to_no_time():
    costs = random_costs(9)
    choices = frontier(costs)
    noise, us = zip(*((costs.total_noise(c), costs.total_us(c)) for c in choices), strict=True)
    assert choices[0] == (1,) * 7
    assert (noise[0], us[-1]) == (0.0, min(us))
    assert us[-1] <= min(costs.total_us(c) for c in itertools.product((0, 1), repeat=7)) * 1.03
    assert frontier(Costs([], [], [], [])) == []


def test_conversions_stand_where_domains_meet():
    costs = random_costs(0)
    edge = Edge(1, (2, 3, 4), 5.0, 3.0)
    assert costs.conversion(edge, [0] * 7) == costs.conversion(edge, [1] * 7) == 0.0
    assert costs.conversion(edge, [0, 0, 1, 1, 0, 0, 0]) == 3.0
    assert costs.conversion(edge, [0, 1, 0, 0, 1, 0, 0]) == 5.0
    assert costs.conversion(Edge(-1, (0,), 5.0, 3.0), [0] * 7) == 5.0
    assert costs.conversion(Edge(6, (-1,), 5.0, 3.0), [0] * 7) == 3.0


def test_edges_go_through_what_only_moves_bytes():
    from small_nets import residual_net

    graph = residual_net(0, blocks=1).source
    nodes = ["conv0", "conv1", "conv2", "add3", "conv4", "globalaveragepool6", "linear8"]
    sizes = {value.size: (2.0, 1.0) for value in graph.values.values()}
    edges = {edge.source: edge for edge in edges_of(graph, nodes, sizes)}
    assert edges[-1].readers == (0,)
    assert edges[0].readers == (1, 3)
    assert edges[3].readers == (4, 5)  # the pool reads it through the concatenation
    assert edges[4].readers == (5,)
    assert edges[6].readers == (-1,)
    assert edges[0].quantize_us == 2.0

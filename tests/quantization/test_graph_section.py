# SPDX-License-Identifier: Apache-2.0
"""The `graph` section: nothing is lost by what it leaves out, damaged ones are refused by name."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import pytest
from mixed_nets import _Chain

import octavo
from octavo.errors import FormatError, LimitError, OctavoError
from octavo.ir import Graph
from octavo.plan import Plan, graph_json
from octavo.plan.encode import ConstantPool
from octavo.plan.graph_json import decode_graph, encode_graph
from octavo.plan.scales import ScaleTable, decode_scales
from octavo.quantization.recipe import Recipe, Settings

QUICK = Settings(
    rounding="nearest", bias_correction="none", weight_ranges="minmax", activation_ranges="minmax"
)


@pytest.fixture(scope="module")
def network() -> octavo.Model:
    """Convolutions, a depthwise one among them, in 8 bits with a scale per channel."""
    chain = _Chain(np.random.default_rng(1), (1, 12, 12, 8))
    for out, kernel, groups in ((96, 1, 1), (96, 3, 96), (64, 3, 1), (96, 1, 1), (96, 3, 96)):
        chain.conv(out, kernel, groups)
    x = np.random.default_rng(2).standard_normal((4, 1, 12, 12, 8)).astype(np.float32)
    recipe = Recipe(defaults=QUICK, equalize=False, smooth=None)
    return octavo.quantize(octavo.Model(chain.graph()), list(x), recipe=recipe)


def sections(model: octavo.Model) -> tuple[bytes, memoryview]:
    """(JSON of the graph, constants) of the file a model becomes."""
    plan = Plan.from_bytes(model.plan_bytes().data)
    graph, constants = plan.section("graph"), plan.section("constants")
    assert graph is not None and constants is not None
    return zlib.decompress(graph), memoryview(bytes(constants))


def assert_same(got: Graph, want: Graph) -> None:
    """Equal to the last bit, or this fails with the tensor's name."""
    assert list(got.values) == list(want.values)
    assert [vars(node) for node in got.nodes] == [vars(node) for node in want.nodes]
    for name, value in want.values.items():
        other = got.values[name]
        assert (other.dtype, other.shape) == (value.dtype, value.shape), name
        assert (other.quant is None) == (value.quant is None), name
        if value.quant is not None:
            assert value.quant.same(other.quant), name
        if value.data is not None:
            assert value.data.tobytes() == other.data.tobytes(), name


def test_a_file_returns_every_bit_of_the_graph(network: octavo.Model) -> None:
    text, constants = sections(network)
    assert_same(decode_graph(memoryview(zlib.compress(text)), constants), network.source)


def test_scales_and_zeros_that_others_determine_are_not_stored(network: octavo.Model) -> None:
    text, constants = sections(network)
    document = json.loads(text)
    assert all("of" in entry for entry in document["scales"])
    biases = [entry for entry in document["scales"] if isinstance(entry["of"], int)]
    assert len(biases) == 5 and not any("ulps" in entry for entry in biases)
    assert not any("zero_point" in v["quant"] for v in document["values"] if "axis" in v)
    held = sum(v.data.nbytes for v in network.source.values.values() if v.data is not None)
    channels = 96 * 4 + 64
    padding = 64 * 15
    assert held + 4 * channels <= len(constants) <= held + 4 * channels + padding


def test_version_1_is_read_and_digests_are_made_of_it(network: octavo.Model) -> None:
    pool = ConstantPool()
    text = graph_json.graph_json(network.source, pool)
    assert json.loads(text)["version"] == 1
    assert_same(decode_graph(memoryview(text), memoryview(pool.payload())), network.source)
    filled = ConstantPool()
    network_bytes = encode_graph(network.source, filled)  # a pool without a plan serves as well
    assert_same(
        decode_graph(memoryview(network_bytes), memoryview(filled.payload())), network.source
    )


@pytest.mark.parametrize("spread", [0.0, 2.0**-24, 2.0**-22, 2.0**-19, 1e-3, 0.5])
def test_any_scales_come_back(spread: float) -> None:
    """Multiples within 12 ulps are derived, all others stored; neither loses a bit."""
    rng = np.random.default_rng(3)
    pool = ConstantPool()
    bases = [np.exp(rng.uniform(-60, 3, n)).astype(np.float32) for n in (1, 7, 64, 64)]
    for base in bases:
        pool.add(base)
    wanted = [
        (base * (0.37 * (1 + spread * rng.uniform(-1, 1, base.size)))).astype(np.float32)
        for base in bases
    ]
    wanted += [wanted[0], np.array([0, np.inf, -1, np.nan], np.float32), bases[2]]
    table = ScaleTable(pool)
    indices = [table.add(scale) for scale in wanted]
    entries = json.loads(json.dumps(table.entries))
    got = decode_scales(entries, memoryview(pool.payload()))
    for index, scale in zip(indices, wanted, strict=True):
        assert got[index].tobytes() == scale.tobytes()
    derived = sum("of" in entry for entry in entries)
    assert derived == (4 if spread < 2.0**-20 else 1)


def test_a_bias_scale_is_the_norms_product() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        pool = ConstantPool()
        x, y = np.exp(rng.uniform(-8, 2, 2)).astype(np.float32)
        w = np.exp(rng.uniform(-12, 0, 48)).astype(np.float32)
        pool.add(octavo.quant.multiplier(x, w, y))
        table = ScaleTable(pool)
        table.add(w)
        bias = octavo.quant.multiplier(x, w, 1.0)
        index = table.add(bias, bias=True)
        assert table.entries[index] == {"of": 0, "times": float(x)}
        assert (
            decode_scales(table.entries, memoryview(pool.payload()))[1].tobytes() == bias.tobytes()
        )


@pytest.mark.parametrize(
    "entry",
    [
        {"of": 0, "times": 1.0},
        {"of": -1, "times": 1.0},
        {"of": [0, 64], "times": 1.0},
        {"of": [-4, 4], "times": 1.0},
        {"of": [0, 7], "times": 1.0},
        {"of": [0, 8], "times": float("nan")},
        {"of": [0, 8], "times": -1.0},
        {"of": [0, 8], "times": 1e300},
        {"of": [0, 8], "times": 1.0, "ulps": "m"},
        {"of": [0, 8], "times": 1.0, "ulps": "m~"},
        {"of": [0, 8], "times": 1.0, "ulps": "mé"},
        {"of": [0, 8]},
        {"of": None, "times": 1.0},
        {"at": [0]},
        {"at": 3},
        {},
        7,
    ],
)
def test_damaged_scales_are_refused(network: octavo.Model, entry: Any) -> None:
    constants = memoryview(np.ones(2, np.float32).tobytes())
    document = {"version": 2, "scales": [entry], "values": [], "nodes": []}
    with pytest.raises(FormatError):
        decode_graph(memoryview(zlib.compress(json.dumps(document).encode())), constants)


def test_damaged_streams_are_refused(network: octavo.Model) -> None:
    text, constants = sections(network)
    good = zlib.compress(text)
    rng = np.random.default_rng(5)
    cut = [good[:size] for size in rng.integers(0, len(good), 40)]
    for payload in [*cut, b"", good + b"\0", b"[" + good]:
        with pytest.raises(FormatError):
            decode_graph(memoryview(payload), constants)


def test_flipped_bits_of_the_section_are_refused(network: octavo.Model) -> None:
    """Streams with their own checksum alone as well, but for the few that it cannot tell."""
    data = network.plan_bytes().data
    graph = bytes(Plan.from_bytes(data).section("graph") or b"")
    constants = sections(network)[1]
    start = data.index(graph)
    rng = np.random.default_rng(5)
    accepted = 0
    places, bits = rng.integers(0, len(graph), 300), rng.integers(0, 8, 300)
    for place, bit in zip(places, bits, strict=True):
        bad = bytearray(data)
        bad[start + place] ^= 1 << bit
        with pytest.raises(FormatError):
            octavo.Model(Plan.from_bytes(bytes(bad))).source  # noqa: B018
        try:
            decode_graph(memoryview(bad)[start : start + len(graph)], constants)
            accepted += 1
        except OctavoError:
            continue
    assert accepted < 6


def test_damaged_json_raises_nothing_but_our_errors(network: octavo.Model) -> None:
    text, constants = sections(network)
    rng = np.random.default_rng(6)
    for place, byte in zip(
        rng.integers(0, len(text), 300), rng.integers(32, 127, 300), strict=True
    ):
        bad = bytearray(text)
        bad[place] = byte
        try:
            decode_graph(memoryview(zlib.compress(bytes(bad), 1)), constants)
        except OctavoError:
            continue


def test_a_bomb_is_not_unfolded() -> None:
    bomb = zlib.compress(b"{" + b" " * (graph_json.LIMIT + (16 << 20)), 9)
    assert len(bomb) < 100_000
    with pytest.raises(FormatError, match="unfolds to more than"):
        decode_graph(memoryview(bomb), memoryview(b""))


def test_a_graph_beyond_the_limit_is_not_written(
    network: octavo.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_json, "LIMIT", 1000)
    with pytest.raises(LimitError, match="the limit is 1,000"):
        network.plan_bytes()

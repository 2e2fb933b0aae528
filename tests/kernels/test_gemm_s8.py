# SPDX-License-Identifier: Apache-2.0
"""Every gemm_s8 kernel against the norm in NumPy: int64 sums, one float32 product, np.rint."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octavo import _core
from octavo.errors import InvalidArgumentError, IsaError, ShapeError

ROWS = {row["name"]: row for row in _core.gemm_s8_rows()}
F32 = np.float32
CANARY = 0xCD
SLACK = 7  # bytes that may be read behind a row


@pytest.fixture(params=ROWS.values(), ids=ROWS)
def row(request):
    if not request.param["supported"]:
        pytest.skip(f"NOT RUN: {request.param['name']}: this machine lacks {request.param['isa']}")
    return request.param


@dataclass
class Layer:
    """One gemm_s8 layer as the graph knows it; weights are [n, segments, length]."""

    weights: np.ndarray
    bias: np.ndarray | int = 0
    multiplier: np.ndarray | float = 1.0
    a_zero_point: int = 0
    segment_offsets: list[int] = field(default_factory=lambda: [0])
    out_zero_point: int = 0
    qmin: int = 0
    qmax: int = 255

    def __post_init__(self):
        self.bias = np.broadcast_to(np.asarray(self.bias, np.int32), self.n).copy()
        with np.errstate(under="ignore"):
            self.multiplier = np.broadcast_to(np.asarray(self.multiplier, F32), self.n).copy()

    @property
    def n(self):
        return self.weights.shape[0]

    def bytes_read(self, row):
        """From the row pointer to the end of the last step: at most 3 or 7 bytes of slack."""
        step = row["step_bytes"]
        return max(self.segment_offsets) + -(-self.weights.shape[2] // step) * step

    def build(self, row):
        return _core.GemmS8(
            row["name"], self.weights, self.bias, self.multiplier, self.a_zero_point,
            self.segment_offsets, self.out_zero_point, self.qmin, self.qmax,
        )  # fmt: skip

    def sums(self, a, a_rows):
        """int64 [rows, n]: what the accumulators must hold, modulo 2^32 or not."""
        taps = np.add.outer(self.segment_offsets, np.arange(self.weights.shape[2])).ravel()
        x = np.asarray(a)[np.add.outer(a_rows, taps)].astype(np.int64) - self.a_zero_point
        return x @ self.weights.reshape(self.n, -1).astype(np.int64).T + self.bias

    def norm(self, a, a_rows):
        """docs/numerics.md on bytes `a`, one output row per entry of `a_rows`."""
        acc = self.sums(a, a_rows)
        assert np.all(acc == acc.astype(np.int32)), "prepare refuses layers that overflow int32"
        with np.errstate(over="ignore", under="ignore"):
            y = acc.astype(np.int32).astype(F32) * self.multiplier
        z = self.out_zero_point
        return (np.clip(np.rint(y), self.qmin - z, self.qmax - z) + z).astype(np.uint8)


def check(row, layer, a, a_rows, gap=0):
    """Runs the kernel into rows `n + gap` apart and compares every byte, gaps included."""
    m, stride = len(a_rows), layer.n + gap
    c = np.full(m * stride + 64, CANARY, np.uint8)
    want = c.copy()
    want[: m * stride].reshape(m, stride)[:, : layer.n] = layer.norm(a, a_rows)
    kernel = layer.build(row)
    kernel.run(a, a_rows, c, np.arange(m) * stride)
    np.testing.assert_array_equal(c, want)
    np.testing.assert_array_equal(kernel.sums(a, a_rows), layer.sums(a, a_rows))


def spread(n, k):
    """Multipliers that bring sums of k products of about 128 * 40 into 8 bits."""
    return np.geomspace(0.5, 2.0, n).astype(F32) * F32(60 / (128 * 40 * np.sqrt(k)))


def random_layer(rng, n, segments, length, offsets=None, limit=127):
    weights = np.clip(np.rint(rng.normal(0, limit / 3, (n, segments, length))), -limit - 1, limit)
    return Layer(
        weights.astype(np.int16),
        rng.integers(-5000, 5000, n),
        spread(n, segments * length),
        int(rng.integers(0, 256)),
        offsets or [s * length for s in range(segments)],
        int(rng.integers(0, 256)),
    )


def random_bytes(rng, count):
    return rng.integers(0, 256, count, dtype=np.uint8)


def test_every_m(row, rng):
    for n, k in [(row["nr"], 24), (row["nr"] + 3, 7)]:
        layer = random_layer(rng, n, 1, k)
        for m in range(1, 2 * row["mr"] + 2):
            a = random_bytes(rng, m * k + SLACK)
            check(row, layer, a, np.arange(m) * k, gap=5)


def test_every_n(row, rng):
    for n in range(1, 2 * row["nr"] + 2):
        layer = random_layer(rng, n, 1, 12)
        a = random_bytes(rng, 5 * 12 + SLACK)
        check(row, layer, a, np.arange(5) * 12, gap=1)


def test_every_k(row, rng):
    for k in (*range(1, 37), 63, 64, 65, 256, 1000, 4608):
        layer = random_layer(rng, row["nr"] + 1, 1, k)
        a = random_bytes(rng, 3 * k + SLACK)
        check(row, layer, a, np.arange(3) * k)


@pytest.mark.parametrize("length", [1, 3, 4, 21, 32])
def test_segments_at_unaligned_offsets_in_any_order(row, rng, length):
    offsets = [205, 0, 51, 103, 154, 51]  # one of them twice
    layer = random_layer(rng, row["nr"] + 2, len(offsets), length, offsets)
    m = row["mr"] + 1
    a = random_bytes(rng, 7 * m + layer.bytes_read(row))
    for a_rows in (np.arange(m) * 7, np.arange(m)[::-1] * 3, np.zeros(m, int)):  # overlapping
        check(row, layer, a, a_rows, gap=2)


def test_negative_segment_offsets(row, rng):
    layer = random_layer(rng, 5, 2, 6, [-40, -7])
    check(row, layer, random_bytes(rng, 120), 40 + np.arange(9) * 8)


WORST_WEIGHTS = {
    "max_pairs": [127, 127],
    "min_pairs": [-128, -128],
    "min_symmetric": [-127, -127],
    "min_and_next": [-128, -127],
    "mixed_sign": [127, -128],
    "just_safe": [64, 64, -64, -64],
    "unsafe_by_one": [65, 64, 1, 1],
    "unsafe_by_one_negative": [1, 1, -64, -65],
    "second_pair": [1, 1, 127, 127],
    "across_the_pairs": [0, 127, 127, 0],
    "nine_bits": [255, 255, -255, -255],
    "beyond_s8": [128, -129, 0, 254],
}


@pytest.mark.parametrize("pattern", WORST_WEIGHTS.values(), ids=WORST_WEIGHTS)
def test_worst_pairs(row, rng, pattern):
    """A sum that saturated on the way is off by more than the 1 that each row resolves in turn."""
    k = 28
    weights = np.resize(np.array(pattern, np.int16), (row["nr"] + 3, 1, k))
    weights[1::2] = np.roll(weights[1::2], 1, axis=2)
    weights[2] = 0  # only some columns of a block are unsafe
    m = row["mr"] + 3
    a = random_bytes(rng, m * k + SLACK)
    a[:k] = 255
    a[k : 2 * k] = 0  # -128 where the stored form is signed
    a[2 * k : 4 * k] = rng.choice([0, 255], 2 * k)
    a_rows = np.arange(m) * k
    for zero_point in (0, 255, 128):
        sums = Layer(weights, 0, 1.0, zero_point).sums(a, a_rows)
        for i in range(m):
            check(row, Layer(weights, 128 - sums[i], 1.0, zero_point), a, a_rows)


def test_weights_of_every_column_reach_their_output(row):
    n, k = 2 * row["nr"] + 1, 9
    weights = np.zeros((n, 1, k), np.int16)
    weights[np.arange(n), 0, np.arange(n) % k] = 1
    layer = Layer(weights, np.arange(n) % 7, 1.0)
    check(row, layer, np.arange(2 * k + SLACK, dtype=np.uint8) * 10, [0, k])


@pytest.mark.parametrize("qmin, qmax, zero_point", [
    (0, 255, 0), (0, 255, 255), (7, 200, 100), (100, 255, 100), (0, 63, 63), (200, 255, 3),
    (0, 5, 250), (128, 128, 0),
])  # fmt: skip
def test_clamps_and_zero_points(row, rng, qmin, qmax, zero_point):
    layer = random_layer(rng, row["nr"] + 1, 1, 16)
    layer.out_zero_point, layer.qmin, layer.qmax = zero_point, qmin, qmax
    layer.multiplier *= F32(3)
    check(row, layer, random_bytes(rng, 9 * 16), np.arange(9) * 16)


@pytest.mark.parametrize("multiplier", [0.5, 0.25, 2.0**-6])
def test_ties_go_to_even(row, multiplier):
    n = 6 * row["nr"] + 1
    bias = np.arange(n) - n // 2  # every residue, both signs
    layer = Layer(np.zeros((n, 1, 1), np.int16), bias, multiplier, out_zero_point=128)
    check(row, layer, np.zeros(1 + SLACK, np.uint8), [0])


def test_accumulators_beyond_24_bits_round_once(row):
    """float32(2^24 + 1) = 2^24: times 126.5 / 2^24 that is a tie, the exact product is not."""
    near = np.array([2**24 + d for d in range(-3, 9)])
    bias = np.concatenate([near, -near])
    for target in (126.5, 127.5):
        layer = Layer(np.zeros((bias.size, 1, 1), np.int16), bias, target / 2**24,
                      out_zero_point=128)  # fmt: skip
        assert {126, 127} & set(layer.norm(np.zeros(1 + SLACK, np.uint8), [0]).ravel() - 128)
        check(row, layer, np.zeros(1 + SLACK, np.uint8), [0])


# Products inside, at and beyond the int32 range, beyond float32, subnormal, and nothing.
@pytest.mark.parametrize("multiplier", [1e-7, 5.9e-8, 1.0, 1e30, 3e38, 1e-40, 1e-45, 0.0])
def test_int32_limits_and_extreme_multipliers(row, multiplier):
    ends = np.array([0, 1, 2**30, 2**31 - 129, 2**31 - 1])
    bias = np.concatenate([ends, -ends, [-(2**31)]])
    layer = Layer(np.zeros((bias.size, 1, 1), np.int16), bias, multiplier, 0, [0], 77, 3, 250)
    check(row, layer, np.zeros(1 + SLACK, np.uint8), [0])


def test_corrected_bias_may_wrap(row):
    """The sum fits int32, bias - z_a * sum(w) does not: everything is modulo 2^32."""
    k = 64
    weights = np.full((row["nr"], 1, k), -128, np.int16)
    weights[1::2] = 127
    bias = np.where(np.arange(row["nr"]) % 2, -(2**31), 2**31 - 1)
    layer = Layer(weights, bias, 2.0**-24, 255, out_zero_point=128)
    check(row, layer, np.full(5 * k, 255, np.uint8), np.arange(5) * k)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 31, 64])
def test_guard_pages(row, rng, guarded, k):
    """Rows are read to the end of the last step, and written from first to last byte only."""
    layer = random_layer(rng, 1, 1, k)
    for n in sorted({1, 3, row["nr"] - 1, row["nr"], row["nr"] + 1}):
        layer = random_layer(rng, n, 2, k, [0, k + 1])
        for m in (1, 2, row["mr"], row["mr"] + 1):
            a = guarded(random_bytes(rng, 5 * (m - 1) + layer.bytes_read(row)))
            c = guarded(count=m * n)
            a_rows = np.arange(m) * 5
            before = a.copy()
            layer.build(row).run(a, a_rows, c, np.arange(m) * n)
            np.testing.assert_array_equal(c.reshape(m, n), layer.norm(a, a_rows))
            np.testing.assert_array_equal(a, before)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_shape(data):
    name = data.draw(st.sampled_from([r["name"] for r in ROWS.values() if r["supported"]]))
    row = ROWS[name]
    seed = data.draw(st.integers(0, 2**32 - 1), "seed")
    m = data.draw(st.integers(1, 2 * row["mr"] + 1), "m")
    n = data.draw(st.integers(1, 2 * row["nr"] + 1), "n")
    offsets = data.draw(st.lists(st.integers(0, 90), min_size=1, max_size=5), "offsets")
    length = data.draw(st.integers(1, 33), "length")
    stride = data.draw(st.integers(0, 40), "stride")
    limit = data.draw(st.sampled_from([30, 127, 254]), "limit")
    rng = np.random.default_rng(seed)
    layer = random_layer(rng, n, len(offsets), length, offsets, limit)
    a = random_bytes(rng, stride * m + layer.bytes_read(row))
    check(row, layer, a, np.arange(m) * stride, gap=data.draw(st.integers(0, 9), "gap"))


@pytest.mark.parametrize("limit", [30, 63, 127, 170])
def test_packed_steps(row, rng, limit):
    """One step per 4 or 8 bytes, more where weights do not fit; maddubs flips what it must."""
    n, segments, length, step = row["nr"] + 5, 2, 442, row["step_bytes"]
    layer = random_layer(rng, n, segments, length, limit=limit)
    padded = np.zeros((n, segments, -(-length // step) * step), np.int64)
    padded[:, :, :length] = layer.weights
    steps = padded.reshape(n, -1, step)
    blocks = [slice(j, j + row["nr"]) for j in range(0, n, row["nr"])]
    built = layer.build(row)
    if row["path"] == "maddubs":
        pairs = steps.reshape(n, -1, 2, 2)
        split = (np.abs(pairs).sum(-1) > 256).any(-1)
        one_sign = np.maximum(pairs.clip(0).sum(-1), -pairs.clip(None, 0).sum(-1))
        must_flip = (one_sign > 127).any(-1)
        assert built.steps == sum(steps.shape[1] + split[b].any(0).sum() for b in blocks)
        assert built.flipped_steps >= sum(must_flip[b].any(0).sum() for b in blocks)
        assert (built.flipped_steps == 0) == (limit == 30)  # 4 * 31 <= 127: any two steps pair
    else:
        most = 127 if row["path"] == "mlal" else 128
        rounds = np.maximum(np.where(steps > 0, -(-steps // 127), -(steps // most)).max(-1), 1)
        counts = [rounds[b].max(0).sum() for b in blocks]
        even = 2 if row["path"] == "mlal" else 1
        assert built.steps == sum(-(-count // even) * even for count in counts)
        assert built.flipped_steps == 0


@pytest.mark.parametrize("k", [4, 8, 12, 20, 52])
def test_pairs_at_the_limits(row, rng, k):
    """Two steps that share an int16 sum, up to and one beyond what their lanes can hold."""
    n, m = row["nr"] + 1, row["mr"] + 1
    a_rows = np.arange(m) * k
    for quad in (
        [64, 0, 63, 0], [64, 0, 64, 0], [-64, -64, 1, 0], [128, 0, 0, -128], [127, 1, -128, -128],
        [128, 128, 1, 0], [129, 127, 0, 1], [200, 56, 3, 0], [-255, -1, 0, -1], [-255, -2, 255, 2],
    ):  # fmt: skip
        weights = np.resize(np.array(quad, np.int16), (n, 1, k))
        weights[1::2] *= -1
        weights[2::3] = np.roll(weights[2::3], 2, axis=2)
        for fill in (0, 255):
            a = random_bytes(rng, m * k + SLACK)
            a[: 2 * k] = fill
            sums = Layer(weights).sums(a, a_rows)
            for i in range(m):
                check(row, Layer(weights, 128 - sums[i]), a, a_rows)


def test_selection_stays_within_the_cap():
    for isa in _core.isa_list():
        name = _core.gemm_s8_select(isa["name"], 196, 128, 576)
        assert ROWS[name]["supported"]
        assert _core.isa_allows(isa["name"], ROWS[name]["isa"])


@pytest.mark.skipif(
    not ROWS.get("gemm_s8_4x64c4_avx512vnni", {}).get("supported"),
    reason="NOT RUN: this machine lacks avx512vnni",
)
@pytest.mark.parametrize("m, n, k, tile", [
    (1, 1024, 1280, "4x64"), (196, 64, 576, "4x64"), (49, 32, 576, "7x32"),
    (3136, 24, 96, "7x32"), (12544, 16, 32, "14x16"), (1024, 12, 144, "14x16"),
])  # fmt: skip
def test_selection_fits_the_tile_to_the_layer(m, n, k, tile):
    assert f"_{tile}c4_" in _core.gemm_s8_select("avx512vnni", m, n, k)


@pytest.mark.skipif(
    not ROWS.get("gemm_s8_6x16c4_avxvnni", {}).get("supported"),
    reason="NOT RUN: this machine lacks avxvnni",
)
@pytest.mark.parametrize("m", [1, 2, 49, 3136])
def test_avx_vnni_never_falls_back(m):
    assert _core.gemm_s8_select("avxvnni", m, 128, 128) == "gemm_s8_6x16c4_avxvnni"


@pytest.mark.skipif(
    not ROWS.get("gemm_s8_1x32c4_avx2", {}).get("supported"),
    reason="NOT RUN: this machine lacks avx2",
)
@pytest.mark.parametrize("m, n, k, tile", [
    (1, 1000, 1280, "1x32"), (1, 128, 128, "1x32"), (1, 128, 640, "4x16"), (2, 128, 128, "4x16"),
    (49, 1024, 1024, "4x16"), (1, 12, 1024, "4x16"),
])  # fmt: skip
def test_one_row_streams_the_weights(m, n, k, tile):
    assert f"_{tile}c4_" in _core.gemm_s8_select("avx2", m, n, k)


@pytest.mark.skipif(
    "neondot" not in {row["isa"] for row in ROWS.values()},
    reason="NOT RUN: not an Arm build",
)
@pytest.mark.parametrize("isa, m, n, k, tile", [
    ("neondot", 1, 1000, 1280, "4x16c4"), ("neondot", 3136, 64, 576, "8x8c4"),
    ("neondot", 49, 24, 96, "8x8c4"), ("neondot", 4, 96, 384, "4x16c4"),
    ("neoni8mm", 1, 1000, 1280, "6x16c8"), ("neoni8mm", 3136, 64, 576, "6x16c8"),
    ("neoni8mm", 3136, 24, 96, "8x8c8"), ("neoni8mm", 196, 8, 64, "8x8c8"),
])  # fmt: skip
def test_selection_on_arm(isa, m, n, k, tile):
    if not any(row["isa"] == isa and row["supported"] for row in ROWS.values()):
        pytest.skip(f"NOT RUN: this machine lacks {isa}")
    assert _core.gemm_s8_select(isa, m, n, k) == f"gemm_s8_{tile}_{isa}"


def test_refuses_what_it_cannot_run():
    name = next(name for name, row in ROWS.items() if row["supported"])
    weights = np.ones((2, 1, 5), np.int16)
    layer = Layer(weights)
    with pytest.raises(IsaError, match="no usable kernel 'gemm'"):
        layer.build({"name": "gemm"})
    with pytest.raises(ShapeError, match="segment_offsets"):
        Layer(weights, segment_offsets=[0, 4]).build({"name": name})
    built = layer.build({"name": name})
    with pytest.raises(InvalidArgumentError, match="outside a buffer"):
        built.run(np.zeros(7, np.uint8), [0], np.zeros(2, np.uint8), [0])  # reads 8 bytes
    with pytest.raises(ShapeError, match="as many output rows"):
        built.run(np.zeros(8, np.uint8), [0], np.zeros(4, np.uint8), [0, 2])

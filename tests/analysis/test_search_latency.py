# SPDX-License-Identifier: Apache-2.0
"""Latencies as `search` measures them."""

from small_nets import images, residual_net

from octavo.analysis import search_latency


def test_the_stopwatch_tells_a_large_network_from_a_small_one():
    small, large = residual_net(1, blocks=1), residual_net(1, blocks=8)
    watch = search_latency.Stopwatch(small, {"x": images(1, 0)}, 1)
    own, yardstick = watch.times(large)
    assert own > 2 * yardstick > 0
    table = search_latency.layer_us({"float32": small}, {"x": images(1, 0)}, 1)["float32"]
    assert {"conv0", "add3", "linear8"} <= set(table)
    conversions = search_latency.conversion_us([64, 65536], 1)
    assert conversions[65536][0] > conversions[64][0] > 0
    assert search_latency.conversion_us([], 1) == {}

# SPDX-License-Identifier: Apache-2.0
"""Measures models on Octavo and on other runtimes, in one process and with the same rules for all
(docs/bench.md). Peers and matplotlib come with the extra `octavo[bench]`."""

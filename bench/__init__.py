# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: the model zoo, runtime adapters and reports. Not part of the installed package."""

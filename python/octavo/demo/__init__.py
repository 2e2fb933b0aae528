# SPDX-License-Identifier: Apache-2.0
"""Data of `octavo demo`: a digits network in float32 and int8, and the held-out digits.

Made by tools/train_demo.py from scikit-learn's bundled handwritten digits.
"""

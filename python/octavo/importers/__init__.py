# SPDX-License-Identifier: Apache-2.0
"""Readers of foreign model formats, one module each, imported only when used."""

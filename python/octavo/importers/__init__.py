# SPDX-License-Identifier: Apache-2.0
"""Readers (and writers) of foreign model formats, one module each, imported only when used."""

# SPDX-License-Identifier: Apache-2.0
"""What a quantized network does to accuracy: sensitivity, search, culprits, diagnosis."""

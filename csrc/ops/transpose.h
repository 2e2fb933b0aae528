// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace octavo {

// out[c * out_stride + r] = in[r * in_stride + c] for r < rows, c < cols: both sides have one dense
// direction. Elements of `item` bytes (1, 2, 4, 8); strides in bytes.
void transpose_2d(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
                  int64_t rows, int64_t cols, int64_t item);

}  // namespace octavo

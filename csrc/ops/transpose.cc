// SPDX-License-Identifier: Apache-2.0
#include "ops/transpose.h"

#include <algorithm>
#include <cstring>

namespace octavo {
namespace {

// Exchanges the bits of `mask` in `a`, shifted up by `shift`, with those of `mask` in `b`.
inline void exchange(uint64_t* a, uint64_t* b, int shift, uint64_t mask) {
  const uint64_t t = ((*a >> shift) ^ *b) & mask;
  *b ^= t;
  *a ^= t << shift;
}

// 8x8 bytes in registers: swap blocks of 4x4, then 2x2, then single bytes. 24 exchanges for 64
// bytes, against 64 loads and 64 stores.
void transpose_8x8_u8(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride) {
  uint64_t row[8];
  for (int r = 0; r < 8; ++r) std::memcpy(&row[r], in + r * in_stride, 8);
  for (int r = 0; r < 4; ++r) exchange(&row[r], &row[r + 4], 32, 0x00000000ffffffffu);
  for (int r : {0, 1, 4, 5}) exchange(&row[r], &row[r + 2], 16, 0x0000ffff0000ffffu);
  for (int r : {0, 2, 4, 6}) exchange(&row[r], &row[r + 1], 8, 0x00ff00ff00ff00ffu);
  for (int r = 0; r < 8; ++r) std::memcpy(out + r * out_stride, &row[r], 8);
}

template <class T>
void transpose_block(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
                     int64_t rows, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) {
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(out + c * out_stride + r * int64_t{sizeof(T)},
                  in + r * in_stride + c * int64_t{sizeof(T)}, sizeof(T));
    }
  }
}

// Blocks keep the lines of both sides in the L1 cache: 16 rows of up to 64 bytes.
template <class T>
void transpose_blocked(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
                       int64_t rows, int64_t cols) {
  constexpr int64_t kBlock = sizeof(T) == 1 ? 8 : 16;
  for (int64_t r = 0; r < rows; r += kBlock) {
    const int64_t height = std::min(kBlock, rows - r);
    for (int64_t c = 0; c < cols; c += kBlock) {
      const int64_t width = std::min(kBlock, cols - c);
      const uint8_t* from = in + r * in_stride + c * int64_t{sizeof(T)};
      uint8_t* to = out + c * out_stride + r * int64_t{sizeof(T)};
      if (sizeof(T) == 1 && height == 8 && width == 8) {
        transpose_8x8_u8(from, in_stride, to, out_stride);
      } else {
        transpose_block<T>(from, in_stride, to, out_stride, height, width);
      }
    }
  }
}

}  // namespace

void transpose_2d(const uint8_t* in, int64_t in_stride, uint8_t* out, int64_t out_stride,
                  int64_t rows, int64_t cols, int64_t item) {
  switch (item) {
    case 1: return transpose_blocked<uint8_t>(in, in_stride, out, out_stride, rows, cols);
    case 2: return transpose_blocked<uint16_t>(in, in_stride, out, out_stride, rows, cols);
    case 4: return transpose_blocked<uint32_t>(in, in_stride, out, out_stride, rows, cols);
    default: return transpose_blocked<uint64_t>(in, in_stride, out, out_stride, rows, cols);
  }
}

}  // namespace octavo

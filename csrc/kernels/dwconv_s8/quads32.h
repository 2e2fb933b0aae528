// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {
namespace {

// Packed 3x3 weights of 32 lanes of channels for 256-bit rows. A dword holds the column's rows 0,
// 1, 2 and 1 again. vpmaddubsw adds its two pairs with saturation at int16, so pack splits the
// weight of row 1 between its two bytes so that neither pair can reach it; what does not fit (all
// three weights large and of one sign) stands in `rest`, a second product for the vectors of a
// column that need one. vpdpbusd does not saturate and needs no rest.
struct alignas(64) Quads3x3 {
  int8_t taps[3][4][32];  // [column][vector][8 lanes of dwords]
  int8_t rest[3][4][32];
  uint32_t rest_vectors;  // bit 4 * column + vector: there is a rest
  uint32_t bounded;       // |accumulator * multiplier| is below 2^30 whatever the input

  bool has_rest(int column, int vector) const {
    return (rest_vectors >> (4 * column + vector) & 1) != 0;
  }
};

// How the lanes of a block are used: 32 channels; or 16 (8) channels of 2 (4) parts of the row, so
// that the last channels of a layer fill the vector too.
constexpr int kLanes3x3 = 32;
inline int row_parts3x3(int channels) { return channels > 16 ? 1 : channels > 8 ? 2 : 4; }

}  // namespace
}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

// Four consecutive int16 weights as one word, w[0] lowest.
namespace octavo {

inline int weight_of(uint64_t k4, int i) { return static_cast<int16_t>(k4 >> (16 * i)); }

// Low byte of each weight.
inline uint32_t bytes_of(uint64_t k4) {
  k4 &= 0x00ff00ff00ff00ffu;
  k4 = (k4 | k4 >> 8) & 0x0000ffff0000ffffu;
  return static_cast<uint32_t>(k4 | k4 >> 16);
}

// Four int16 weights by sign, without a branch: signs are random, and a mispredicted one costs as
// much as packing several weights.
struct SplitK4 {
  uint64_t positive;  // |w| or 0
  uint64_t negative;  // |w| or 0
  uint64_t mask;      // all ones where w < 0
};
inline SplitK4 split_signs(uint64_t k4) {
  const uint64_t sign = k4 >> 15 & 0x0001000100010001u;
  const uint64_t mask = sign * 0xffff;
  return {k4 & ~mask, ((k4 & mask) ^ mask) + sign, mask};
}

// w0 + w1 in the low half, w2 + w3 in the high half.
inline uint32_t add_pairs(uint64_t k4) {
  constexpr uint64_t kEven = 0x0000ffff0000ffffu;
  k4 = (k4 & kEven) + (k4 >> 16 & kEven);
  return static_cast<uint32_t>(k4 | k4 >> 16);
}
inline uint32_t add_all(uint64_t k4) {
  return static_cast<uint32_t>(k4 * 0x0001000100010001u >> 48);
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/neon_block.h"

namespace octavo {
namespace {

struct Quads {  // four taps of 8 channels
  int8x16_t lo, hi;
};

inline Quads load_quads(const int8_t* p) { return {vld1q_s8(p), vld1q_s8(p + 16)}; }

inline int8x16_t interleave(int8x8_t a, int8x8_t b) {
  const int8x8_t zero = vdup_n_s8(0);  // the upper halves are not read
  return vzip1q_s8(vcombine_s8(a, zero), vcombine_s8(b, zero));
}

// Of two interleaved pairs of rows.
inline Quads interleave(int8x16_t pair01, int8x16_t pair23) {
  const int16x8_t a = vreinterpretq_s16_s8(pair01), b = vreinterpretq_s16_s8(pair23);
  return {vreinterpretq_s8_s16(vzip1q_s16(a, b)), vreinterpretq_s8_s16(vzip2q_s16(a, b))};
}

inline Sums dot(const Sums& sums, const Quads& taps, const Quads& weights) {
  return {vdotq_s32(sums.lo, taps.lo, weights.lo), vdotq_s32(sums.hi, taps.hi, weights.hi)};
}

}  // namespace
}  // namespace octavo

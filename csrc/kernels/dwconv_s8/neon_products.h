// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/dwconv_s8/neon_block.h"

// smull and smlal on bytes: the sum of two products fits int16 while no weight is -128, then it is
// added to int32. Twice the work per multiply of widening first.
namespace octavo {
namespace {

inline Sums widen_add(const Sums& sums, int16x8_t products) {
  return {vaddw_s16(sums.lo, vget_low_s16(products)), vaddw_high_s16(sums.hi, products)};
}

// sums + a * w
inline Sums add(const Sums& sums, int8x8_t a, int8x8_t w) {
  return widen_add(sums, vmull_s8(a, w));
}

// sums + a * w_a + b * w_b
inline Sums add(const Sums& sums, int8x8_t a, int8x8_t w_a, int8x8_t b, int8x8_t w_b) {
  return widen_add(sums, vmlal_s8(vmull_s8(a, w_a), b, w_b));
}

}  // namespace
}  // namespace octavo

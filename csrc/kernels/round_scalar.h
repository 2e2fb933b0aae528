// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

// The normative end of every float32 requantization, in portable C++ (docs/numerics.md).
namespace octavo {
namespace {

// clamp(rne(v), lo, hi) for integral bounds with |lo|, |hi| <= 2^22; NaN gives hi, as minps does.
// Clamping first is the same, because the bounds are integers, and keeps the conversion in range.
// 1.5 * 2^23 has a unit in the last place of 1: adding it rounds v to an integer, half to even, in
// the current (nearest) mode; taking it off again is exact. No libm call, no SSE4.1 needed.
inline int32_t round_clamped(float v, float lo, float hi) {
  constexpr float kMagic = 12582912.0f;
  v = v < hi ? v : hi;
  v = v > lo ? v : lo;
  return static_cast<int32_t>((v + kMagic) - kMagic);
}

}  // namespace
}  // namespace octavo

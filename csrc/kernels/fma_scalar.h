// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

// a * b + c with one rounding, as the fused instructions of all other rows do it (docs/numerics.md,
// docs/adr/0006-float-fma.md). In basic operations only, because the C library's fmaf is neither
// fast nor correct everywhere.
namespace octavo {
namespace {

// The product of two float32 is exact in float64, down to the smallest subnormals. If its float64
// sum with c is not a tie between two float32, rounding it once more gives what a single rounding
// would: every tie is itself a float64. Below 2^-126 ties lie elsewhere, and the test is not worth
// it.
//
// Otherwise the sum is rounded to odd: to the one of its two float64 neighbours whose last bit is
// set. With 29 bits to spare the second rounding is then harmless (Boldo and Melquiond, "Emulation
// of a FMA and correctly rounded sums", 2008). Knuth's two-sum tells the sign of the first error.
inline float fma_f32(float a, float b, float c) {
#if defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  const double sum = product + addend;
  uint64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  constexpr uint64_t kBelow = 0x1fffffffu, kTie = 0x10000000u;  // of a float32's last bit
  constexpr uint64_t kNormal = uint64_t{1023 - 126} << 53;      // 2^-126 without its sign bit
  if ((bits & kBelow) != kTie && bits << 1 >= kNormal) return static_cast<float>(sum);
  const double part = sum - product;
  const double error = (product - (sum - part)) + (addend - part);
  if (error != 0.0 && (bits & 1) == 0 && sum - sum == 0.0) {
    bits += (error > 0.0) == (sum > 0.0) ? 1u : ~uint64_t{0};  // one away from zero, or towards it
  }
  double odd;
  std::memcpy(&odd, &bits, sizeof odd);
  return static_cast<float>(odd);
#endif
}

// max(lo, min(hi, v)) as vmaxps and vminps do it: a zero keeps its sign; every NaN becomes the same
// one, because which operand's bits survive a sum of NaNs differs between instruction sets.
inline float clamp_f32(float v, float lo, float hi) {
  if (v != v) {
    constexpr uint32_t kNan = 0x7fc00000u;
    std::memcpy(&v, &kNan, sizeof v);
    return v;
  }
  const float low = v < lo ? lo : v;
  return low > hi ? hi : low;
}

}  // namespace
}  // namespace octavo

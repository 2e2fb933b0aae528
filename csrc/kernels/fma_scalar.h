// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

// a * b + c with one rounding, as the fused instructions of all other rows do it (docs/numerics.md,
// docs/adr/0006-float-fma.md). In basic operations only, because the C library's fmaf is neither
// fast nor correct everywhere.
namespace octavo {
namespace {

// The product of two float32 is exact in float64, down to the smallest subnormals. The sum is
// rounded to odd: to the one of its two float64 neighbours whose last bit is set. With 29 bits to
// spare the second rounding, to float32, then gives what a single one would (Boldo and Melquiond,
// "Emulation of a FMA and correctly rounded sums", 2008). Knuth's two-sum tells the error's sign.
inline float fma_f32(float a, float b, float c) {
#if defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  const double sum = product + addend;
  const double part = sum - product;
  const double error = (product - (sum - part)) + (addend - part);
  int64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  // Away from zero when sum and error have one sign; written without branches, so that loops over
  // it become vectors. An infinite or NaN sum has a NaN error, for which both comparisons are
  // false.
  const int64_t step = static_cast<int64_t>(error > 0.0) - static_cast<int64_t>(error < 0.0);
  const int64_t negative = -static_cast<int64_t>(sum < 0.0);
  bits += ((step ^ negative) - negative) & ((bits & 1) - 1);
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

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

namespace octavo {

// e^x from IEEE basic operations only, so that every CPU gives the same bits (a C library picks
// FMA variants at run time). Relative error below 1e-15, so float32(exp_f64(x)) is off by at most
// half a unit in the last place plus 1e-8 of one. NaN stays NaN; beyond +-700 it saturates, which
// is infinity and 0 in float32.
inline double exp_f64(double x) {
  if (x != x) return x;
  x = x > 700.0 ? 700.0 : x < -700.0 ? -700.0 : x;
  constexpr double kShift = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const double shifted = x * 1.4426950408889634 + kShift;
  const double n = shifted - kShift;
  // x - n * ln 2, with ln 2 in two parts: n * kHigh is exact for |n| < 2^20.
  constexpr double kHigh = 0x1.62e42fee00000p-1, kLow = 0x1.a39ef35793c76p-33;
  const double r = (x - n * kHigh) - n * kLow;  // |r| <= 0.3466
  // Taylor series to r^13 / 13!: the next term is below 4e-18.
  double sum = 1.0 / 6227020800.0;
  constexpr double kInverseFactorials[] = {1.0 / 479001600.0,
                                           1.0 / 39916800.0,
                                           1.0 / 3628800.0,
                                           1.0 / 362880.0,
                                           1.0 / 40320.0,
                                           1.0 / 5040.0,
                                           1.0 / 720.0,
                                           1.0 / 120.0,
                                           1.0 / 24.0,
                                           1.0 / 6.0,
                                           0.5,
                                           1.0,
                                           1.0};
  for (const double c : kInverseFactorials) sum = sum * r + c;
  int64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  bits += static_cast<int64_t>(n) * (int64_t{1} << 52);  // times 2^n: stays normal for |x| <= 700
  std::memcpy(&sum, &bits, sizeof sum);
  return sum;
}

}  // namespace octavo

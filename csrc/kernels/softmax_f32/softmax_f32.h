// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/isa.h"

// softmax_f32: y[i] = e[i] / sum, e[i] = exp(x[i] - max) in float32 as ExpF32 says. Eight sums in
// float64, element i in sum i mod 8, joined as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)) and
// rounded to float32. A NaN anywhere, or an infinite max, makes every result NaN, 0x7fc00000.
namespace octavo {

struct SoftmaxF32Args {
  const float* in;
  float* out;     // may be `in`
  int64_t count;  // >= 1; exactly so many values are read and written
};

using SoftmaxF32Fn = void (*)(const SoftmaxF32Args& args);

namespace {  // or its array would be a weak symbol of every row

// e^d for d in [-87, 0], and 0 below: float32 has no exponent for it there.
//   t = fma(d, kLog2e, kShift), n = t - kShift     an integer, in the low bits of t as well
//   r = fma(n, -kLn2Low, fma(n, -kLn2High, d))     |r| <= 0.35; n * kLn2High is exact
//   p = 1/7!; p = fma(p, r, 1/6!) … fma(p, r, 1)   Taylor; the next term is below 6e-9
//   e = p * 2^n                                    by adding n to the exponent
struct ExpF32 {
  static constexpr float kLowest = -87.0f;
  static constexpr float kLog2e = 1.44269504f;
  static constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  static constexpr float kLn2High = 0x1.62e400p-1f, kLn2Low = 0x1.7f7d1cp-20f;
  static constexpr int kTerms = 8;
  static constexpr float kInverseFactorials[kTerms] = {
      1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
};

}  // namespace

struct SoftmaxF32Kernel {
  const char* name;
  Isa isa;
  SoftmaxF32Fn run;
};

// All rows of kernels.inc that were built, best first, scalar last.
const SoftmaxF32Kernel* softmax_f32_kernels(int* count);
const SoftmaxF32Kernel* find_softmax_f32(const char* name);  // nullptr when absent
const SoftmaxF32Kernel& select_softmax_f32(Isa cap);

// Declarations of every row's entry point.
#define OCTAVO_SOFTMAX_F32(isa, name) void name(const SoftmaxF32Args& args);
#include "kernels/softmax_f32/kernels.inc"
#undef OCTAVO_SOFTMAX_F32

}  // namespace octavo

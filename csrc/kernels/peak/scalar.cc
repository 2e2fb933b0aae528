// SPDX-License-Identifier: Apache-2.0
#include "kernels/peak/peak.h"

namespace octavo {
namespace {

// A multiply has latency 3 at one per cycle.
constexpr int kAccumulators = 4;

}  // namespace

// One 32-bit multiply and one add: 1 multiply-accumulate.
int64_t peak_imul_scalar(int64_t iterations) {
  uint32_t a = 1, b = 1;
  uint32_t acc[kAccumulators] = {};
  for (int64_t i = 0; i < iterations; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kAccumulators; ++j) {
      __asm__ volatile("" : "+r"(a), "+r"(b));  // new values to the compiler: nothing is hoisted
      acc[j] += a * b;
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kAccumulators; ++j) __asm__ volatile("" : : "r"(acc[j]));
  return iterations * kAccumulators;
}

}  // namespace octavo

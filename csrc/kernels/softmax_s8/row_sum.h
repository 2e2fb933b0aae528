// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/softmax_s8/softmax_s8.h"

// What the vector rows do with scalars.
namespace octavo {
namespace {

// Sum of table[d[i]]. Two scalar loads per value beat vpgatherdd: on Zen 3 a value more in a long
// row costs the whole kernel 0.39 against 0.59 ns. Eight entries are at most 2^26, so they add as
// 32 bits, in two trees: a single sum would be a chain of one addition per value.
int64_t sum_entries(const uint32_t* table, const uint8_t* d, int64_t n) {
  int64_t sum = 0;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const uint32_t a = table[d[i]] + table[d[i + 1]] + table[d[i + 2]] + table[d[i + 3]];
    const uint32_t b = table[d[i + 4]] + table[d[i + 5]] + table[d[i + 6]] + table[d[i + 7]];
    sum += a + b;
  }
  for (; i < n; ++i) sum += table[d[i]];
  return sum;
}

// An entry below this has a quotient under 1/2, so 0 before the zero point: 0.49 leaves room for
// the roundings. Entries are at most 2^23, a greater limit says nothing more; with a sum of 0 it is
// 0 and every quotient is made, NaN as in the norm.
int32_t zero_limit(const SoftmaxS8Args& args, int64_t sum) {
  const float limit = 0.49f * static_cast<float>(sum) * args.out_scale;
  return limit < 8388609.0f ? static_cast<int32_t>(limit) : 8388609;
}

// 1 / scale for a power of two, where the product is the quotient to the last bit; otherwise 0.
// 1/256 is the usual scale of a softmax. Both must be normal: exponents 1 to 253.
float exact_reciprocal(float scale) {
  uint32_t bits;
  std::memcpy(&bits, &scale, sizeof bits);
  const uint32_t exponent = bits >> 23;
  if ((bits & 0x7FFFFF) != 0 || exponent < 1 || exponent > 253) return 0.0f;
  bits = (254 - exponent) << 23;
  std::memcpy(&scale, &bits, sizeof bits);
  return scale;
}

}  // namespace
}  // namespace octavo

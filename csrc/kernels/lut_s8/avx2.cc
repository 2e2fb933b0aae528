// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/half_table_avx2.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 32;

}  // namespace

void lut_s8_x32_avx2(const LutS8Args& args) {
  int64_t i = 0;
  if (args.n >= kBlock) {
    const HalfTable low(args.table), high(args.table + 128);
    const __m256i bit7 = _mm256_set1_epi8(-128);
    for (; i + kBlock <= args.n; i += kBlock) {
      const __m256i in = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(args.in + i));
      const __m256i out = _mm256_xor_si256(low(in), high(_mm256_xor_si256(in, bit7)));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(args.out + i), out);
    }
  }
  for (; i < args.n; ++i) args.out[i] = args.table[args.in[i]];
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include "kernels/dwconv_s8/rows_3x3.h"

namespace octavo {
namespace {

// Pack has made sure that no pair of products leaves int16.
struct DotPairs {
  static constexpr bool kSaturates = true;

  static __m256i run(__m256i acc, __m256i u8, const int8_t* w) {
    const __m256i s8 = _mm256_load_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i pairs = _mm256_maddubs_epi16(u8, s8);
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

template <int kStride>
void dispatch(const DwconvS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run_3x3<DotPairs, kStride>(args);
  }
}

}  // namespace

void dwconv_s8_3x3s1_x32_avx2(const DwconvS8Args& args) { dispatch<1>(args); }
void dwconv_s8_3x3s2_x32_avx2(const DwconvS8Args& args) { dispatch<2>(args); }

}  // namespace octavo

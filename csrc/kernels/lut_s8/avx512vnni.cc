// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 64;

// vpermi2b (VBMI) looks up 128 entries by the low 7 bits; bit 7 chooses between the two halves.
struct Table {
  __m512i quarter[4];

  explicit Table(const uint8_t* table) {
    for (int k = 0; k < 4; ++k) quarter[k] = _mm512_loadu_si512(table + 64 * k);
  }

  __m512i operator()(__m512i index) const {
    const __m512i low = _mm512_permutex2var_epi8(quarter[0], index, quarter[1]);
    const __m512i high = _mm512_permutex2var_epi8(quarter[2], index, quarter[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
  }
};

}  // namespace

void lut_s8_x64_avx512vnni(const LutS8Args& args) {
  const Table table(args.table);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) {
    _mm512_storeu_si512(args.out + i, table(_mm512_loadu_si512(args.in + i)));
  }
  if (i == args.n) return;
  const __mmask64 tail = (1ull << (args.n - i)) - 1;
  _mm512_mask_storeu_epi8(args.out + i, tail, table(_mm512_maskz_loadu_epi8(tail, args.in + i)));
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_s8/pool_s8.h"
#include "kernels/simd/requant_avx512.h"

namespace octavo {
namespace {

constexpr int kBlock = 64;

// body(first channel, mask of the channels) for every block.
template <class Body>
inline void for_each_block(int channels, const Body& body) {
  for (int c = 0; c < channels; c += kBlock) {
    const int n = channels - c;
    body(c, n >= kBlock ? ~uint64_t{0} : ~uint64_t{0} >> (kBlock - n));
  }
}

inline __m512i max_block(const PoolS8Args& args, int c, __mmask64 mask) {
  __m512i best = _mm512_set1_epi8(static_cast<char>(args.requant.qmin));
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* in = args.in + i * args.row_stride + c;
    for (int j = 0; j < args.cols; ++j, in += args.pixel_stride) {
      best = _mm512_max_epu8(best, _mm512_maskz_loadu_epi8(mask, in));
    }
  }
  return _mm512_min_epu8(best, _mm512_set1_epi8(static_cast<char>(args.requant.qmax)));
}

// Adds sums of 16 bits to int32 sums in the order that packs and packus undo.
inline void widen_add(__m512i (&sums)[4], __m512i lo_u16x32, __m512i hi_u16x32) {
  const __m512i zero = _mm512_setzero_si512();
  sums[0] = _mm512_add_epi32(sums[0], _mm512_unpacklo_epi16(lo_u16x32, zero));
  sums[1] = _mm512_add_epi32(sums[1], _mm512_unpackhi_epi16(lo_u16x32, zero));
  sums[2] = _mm512_add_epi32(sums[2], _mm512_unpacklo_epi16(hi_u16x32, zero));
  sums[3] = _mm512_add_epi32(sums[3], _mm512_unpackhi_epi16(hi_u16x32, zero));
}

// Sums of 16 bits hold 257 pixels (257 * 255 = 65535) before they are added to those of 32.
inline void sum_block(const PoolS8Args& args, int c, __mmask64 mask, __m512i (&sums)[4]) {
  constexpr int kPixels = 257;
  const __m512i zero = _mm512_setzero_si512();
  sums[0] = sums[1] = sums[2] = sums[3] = _mm512_set1_epi32(-args.zero_sum);
  __m512i lo = zero, hi = zero;
  int room = kPixels;
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* in = args.in + i * args.row_stride + c;
    for (int left = args.cols; left > 0;) {
      const int run = left < room ? left : room;
      for (int j = 0; j < run; ++j, in += args.pixel_stride) {
        const __m512i v = _mm512_maskz_loadu_epi8(mask, in);
        lo = _mm512_add_epi16(lo, _mm512_unpacklo_epi8(v, zero));
        hi = _mm512_add_epi16(hi, _mm512_unpackhi_epi8(v, zero));
      }
      left -= run;
      room -= run;
      if (room > 0) continue;
      widen_add(sums, lo, hi);
      lo = hi = zero;
      room = kPixels;
    }
  }
  widen_add(sums, lo, hi);
}

template <class Epilogue>
void average(const PoolS8Args& args) {
  const Epilogue epilogue(args.requant);
  const __m512 m = _mm512_set1_ps(args.multiplier);
  const __m512 scales[4] = {m, m, m, m};
  for_each_block(args.channels, [&](int c, __mmask64 mask) {
    __m512i sums[4];
    sum_block(args, c, mask, sums);
    _mm512_mask_storeu_epi8(args.out + c, mask, epilogue.to_u8(sums, scales));
  });
}

}  // namespace

void maxpool_s8_x64_avx512vnni(const PoolS8Args& args) {
  for_each_block(args.channels, [&](int c, __mmask64 mask) {
    _mm512_mask_storeu_epi8(args.out + c, mask, max_block(args, c, mask));
  });
}

void avgpool_s8_x64_avx512vnni(const PoolS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return average<FloatRneAvx512>(args);
  }
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_s8/pool_s8.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"

namespace octavo {
namespace {

// 32 channels of a pixel, as they lie.
struct Bytes32 {
  static constexpr int kCount = 32;
  __m256i load(const uint8_t* in) const {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in));
  }
  void store(uint8_t* out, __m256i v) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), v);
  }
};

// 1..16 channels in the lower half.
struct Bytes16 {
  static constexpr int kCount = 16;
  int n = kCount;
  __m256i load(const uint8_t* in) const { return _mm256_zextsi128_si256(load_u8x16(in, n)); }
  void store(uint8_t* out, __m256i v) const { store_u8x16(out, _mm256_castsi256_si128(v), n); }
};

// body(bytes, first channel) until every channel has been taken. Nothing outside the pixel may be
// read, so a last block that is not full moves back over channels already done.
template <class Body>
inline void for_each_block(int channels, const Body& body) {
  int c = 0;
  for (; c + Bytes32::kCount <= channels; c += Bytes32::kCount) body(Bytes32{}, c);
  if (c == channels) return;
  if (channels >= Bytes32::kCount) {
    body(Bytes32{}, channels - Bytes32::kCount);
  } else if (channels >= Bytes16::kCount) {
    body(Bytes16{}, 0);
    if (channels > Bytes16::kCount) body(Bytes16{}, channels - Bytes16::kCount);
  } else {
    body(Bytes16{channels}, 0);
  }
}

template <class Bytes>
inline void max_block(const PoolS8Args& args, const Bytes& bytes, int c) {
  __m256i best = _mm256_set1_epi8(static_cast<char>(args.requant.qmin));
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* in = args.in + i * args.row_stride + c;
    for (int j = 0; j < args.cols; ++j, in += args.pixel_stride) {
      best = _mm256_max_epu8(best, bytes.load(in));
    }
  }
  const __m256i qmax = _mm256_set1_epi8(static_cast<char>(args.requant.qmax));
  bytes.store(args.out + c, _mm256_min_epu8(best, qmax));
}

// int32 sums of up to 32 channels, in the order that packs and packus undo.
struct Sums {
  __m256i v0, v1, v2, v3;

  explicit Sums(int32_t start) : v0(_mm256_set1_epi32(start)), v1(v0), v2(v0), v3(v0) {}

  void add(__m256i lo_u16x16, __m256i hi_u16x16) {
    const __m256i zero = _mm256_setzero_si256();
    v0 = _mm256_add_epi32(v0, _mm256_unpacklo_epi16(lo_u16x16, zero));
    v1 = _mm256_add_epi32(v1, _mm256_unpackhi_epi16(lo_u16x16, zero));
    v2 = _mm256_add_epi32(v2, _mm256_unpacklo_epi16(hi_u16x16, zero));
    v3 = _mm256_add_epi32(v3, _mm256_unpackhi_epi16(hi_u16x16, zero));
  }
};

// Sums of 16 bits hold 257 pixels (257 * 255 = 65535) before they are added to those of 32.
template <class Bytes>
inline Sums sum_block(const PoolS8Args& args, const Bytes& bytes, int c) {
  constexpr int kPixels = 257;
  const __m256i zero = _mm256_setzero_si256();
  Sums sums(-args.zero_sum);
  __m256i lo = zero, hi = zero;
  int room = kPixels;
  for (int i = 0; i < args.rows; ++i) {
    const uint8_t* in = args.in + i * args.row_stride + c;
    for (int left = args.cols; left > 0;) {
      const int run = left < room ? left : room;
      for (int j = 0; j < run; ++j, in += args.pixel_stride) {
        const __m256i v = bytes.load(in);
        lo = _mm256_add_epi16(lo, _mm256_unpacklo_epi8(v, zero));
        hi = _mm256_add_epi16(hi, _mm256_unpackhi_epi8(v, zero));
      }
      left -= run;
      room -= run;
      if (room > 0) continue;
      sums.add(lo, hi);
      lo = hi = zero;
      room = kPixels;
    }
  }
  sums.add(lo, hi);
  return sums;
}

template <class Epilogue>
void average(const PoolS8Args& args) {
  const Epilogue epilogue(args.requant);
  const __m256 m = _mm256_set1_ps(args.multiplier);
  for_each_block(args.channels, [&](const auto& bytes, int c) {
    const Sums sums = sum_block(args, bytes, c);
    const __m128i even = epilogue.to_u8(sums.v0, sums.v1, m, m);  // channels 0..7, 16..23
    const __m128i odd = epilogue.to_u8(sums.v2, sums.v3, m, m);   // channels 8..15, 24..31
    const __m256i y = _mm256_castsi128_si256(_mm_unpacklo_epi64(even, odd));
    bytes.store(args.out + c, _mm256_inserti128_si256(y, _mm_unpackhi_epi64(even, odd), 1));
  });
}

}  // namespace

void maxpool_s8_x32_avx2(const PoolS8Args& args) {
  for_each_block(args.channels, [&](const auto& bytes, int c) { max_block(args, bytes, c); });
}

void avgpool_s8_x32_avx2(const PoolS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return average<FloatRneAvx2>(args);
  }
}

}  // namespace octavo

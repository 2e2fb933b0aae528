// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/layer_norm_s8/layer_norm_s8.h"
#include "kernels/simd/widen_narrow_avx2.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 32;

inline __m256i load_u8x32(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The last, short block of a row, filled up with the zero point, which adds nothing to a sum.
struct Tail {
  alignas(32) uint8_t bytes[kBlock];

  Tail(const uint8_t* in, int64_t count, uint8_t fill) {
    std::memset(bytes, fill, sizeof bytes);
    std::memcpy(bytes, in, static_cast<size_t>(count));
  }
};

// 8 int32 lanes each: a lane's squares stay below 2^31, as n <= 2^15 and d^2 < 2^16.
struct Sums {
  __m256i sum = _mm256_setzero_si256(), squares = _mm256_setzero_si256();
  __m256i zero_point;

  explicit Sums(uint8_t z) : zero_point(_mm256_set1_epi16(z)) {}

  void add(__m256i q) {
    add_s16(_mm256_unpacklo_epi8(q, _mm256_setzero_si256()));
    add_s16(_mm256_unpackhi_epi8(q, _mm256_setzero_si256()));
  }
  void add_s16(__m256i q) {
    const __m256i d = _mm256_sub_epi16(q, zero_point);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(d, _mm256_set1_epi16(1)));
    squares = _mm256_add_epi32(squares, _mm256_madd_epi16(d, d));
  }
};

int64_t total(__m256i v) {
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), v);
  int64_t result = 0;
  for (const int32_t lane : lanes) result += lane;
  return result;
}

// Four values and the four 16 further on: the lanes of WidenU8x32.
inline __m256 load_halves(const float* p) {
  const __m256 low = _mm256_castps128_ps256(_mm_load_ps(p));
  return _mm256_insertf128_ps(low, _mm_load_ps(p + 16), 1);
}

struct Normalize {
  __m256 n, sum, factor;
  WidenU8x32 widen;
  NarrowU8x32 narrow;

  Normalize(const LayerNormS8Args& args, const LayerNormRow& row)
      : n(_mm256_set1_ps(row.n)),
        sum(_mm256_set1_ps(row.sum)),
        factor(_mm256_set1_ps(row.factor)),
        widen(args.in_zero_point),
        narrow(args.requant) {}

  __m256 value(__m256 d, const float* gain, const float* shift) const {
    const __m256 scaled = _mm256_mul_ps(_mm256_sub_ps(_mm256_mul_ps(n, d), sum), factor);
    return _mm256_add_ps(_mm256_mul_ps(scaled, load_halves(gain)), load_halves(shift));
  }

  __m256i operator()(__m256i q, const float* gain, const float* shift) const {
    const F32x32 d = widen(q);
    return narrow({value(d.v0, gain, shift), value(d.v1, gain + 4, shift + 4),
                   value(d.v2, gain + 8, shift + 8), value(d.v3, gain + 12, shift + 12)});
  }
};

}  // namespace

void layer_norm_s8_x32_avx2(const LayerNormS8Args& args) {
  const int64_t whole = args.n / kBlock * kBlock, rest = args.n - whole;
  const Tail tail(args.in + whole, rest, args.in_zero_point);
  const __m256i last = load_u8x32(tail.bytes);
  Sums sums(args.in_zero_point);
  for (int64_t i = 0; i < whole; i += kBlock) sums.add(load_u8x32(args.in + i));
  sums.add(last);

  const LayerNormRow row(args, total(sums.sum), total(sums.squares));
  const Normalize normalize(args, row);
  for (int64_t i = 0; i < whole; i += kBlock) {
    const __m256i y = normalize(load_u8x32(args.in + i), args.gain + i, args.shift + i);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(args.out + i), y);
  }
  if (rest == 0) return;
  alignas(32) uint8_t y[kBlock];
  _mm256_store_si256(reinterpret_cast<__m256i*>(y),
                     normalize(last, args.gain + whole, args.shift + whole));
  std::memcpy(args.out + whole, y, static_cast<size_t>(rest));
}

}  // namespace octavo

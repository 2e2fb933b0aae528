// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/widen_narrow_avx512.h"
#include "kernels/simd/x86.h"
#include "kernels/softmax_s8/row_sum.h"
#include "kernels/softmax_s8/softmax_s8.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kLevels = 256;

inline __m512i load_tail(__m512i rest, const uint8_t* p, int64_t n) {
  return _mm512_mask_loadu_epi8(rest, low_lanes64(n), p);
}

// The smallest of 64 bytes: pairs into words with a zero above, then vphminposuw.
inline int smallest(__m512i v) {
  const __m256i half = _mm256_min_epu8(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  __m128i m = _mm_min_epu8(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  m = _mm_min_epu8(m, _mm_srli_epi16(m, 8));
  return _mm_cvtsi128_si32(_mm_minpos_epu16(m)) & 0xFFFF;
}

struct Range {
  int min, max;
};

Range row_range(const uint8_t* in, int64_t n) {
  const __m512i ones = _mm512_set1_epi8(-1);
  __m512i min_u8x64 = ones, max_u8x64 = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += kBlock) {
    min_u8x64 = _mm512_min_epu8(min_u8x64, load_tail(ones, in + i, n - i));
    max_u8x64 = _mm512_max_epu8(max_u8x64, load_tail(_mm512_setzero_si512(), in + i, n - i));
  }
  return {smallest(min_u8x64), 255 - smallest(_mm512_xor_si512(max_u8x64, ones))};
}

// out = max - in: the level of each value, which `out` holds until its quotient is known.
void store_levels(const SoftmaxS8Args& args, int max) {
  const __m512i max_u8x64 = _mm512_set1_epi8(static_cast<char>(max));
  for (int64_t i = 0; i < args.n; i += kBlock) {
    const __m512i v = load_tail(max_u8x64, args.in + i, args.n - i);
    const __m512i level = _mm512_sub_epi8(max_u8x64, v);
    _mm512_mask_storeu_epi8(args.out + i, low_lanes64(args.n - i), level);
  }
}

// Two IEEE divisions per value, in the stated order: a product of reciprocals would round twice.
// The second is a product where that is the same.
struct Quotient {
  __m512 total, out_scale, reciprocal;
  bool exact;
  NarrowU8x64 narrow;

  Quotient(const SoftmaxS8Args& args, int64_t sum)
      : total(_mm512_set1_ps(static_cast<float>(sum))),
        out_scale(_mm512_set1_ps(args.out_scale)),
        reciprocal(_mm512_set1_ps(exact_reciprocal(args.out_scale))),
        exact(exact_reciprocal(args.out_scale) != 0.0f),
        narrow(args.requant) {}

  __m512 divide(const uint32_t* e) const {
    const __m512 q = _mm512_div_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(e)), total);
    return exact ? _mm512_mul_ps(q, reciprocal) : _mm512_div_ps(q, out_scale);
  }

  // 64 entries to 64 bytes.
  __m512i operator()(const uint32_t* e) const {
    return sequential_u8x64(narrow({divide(e), divide(e + 16), divide(e + 32), divide(e + 48)}));
  }

  // What every entry gives whose quotient rounds to 0.
  __m512i zero() const {
    const __m512 v = _mm512_setzero_ps();
    return narrow({v, v, v, v});
  }
};

// The levels before the last block with an entry of `limit` or more.
int64_t used_levels(const uint32_t* table, int64_t levels, int32_t limit) {
  const __m512i limit_s32x16 = _mm512_set1_epi32(limit);
  int64_t used = (levels + kBlock - 1) & -kBlock;
  for (; used > 0; used -= kBlock) {
    const uint32_t* e = table + used - kBlock;
    const __m512i low = _mm512_max_epi32(_mm512_loadu_si512(e), _mm512_loadu_si512(e + 16));
    const __m512i high = _mm512_max_epi32(_mm512_loadu_si512(e + 32), _mm512_loadu_si512(e + 48));
    if (_mm512_cmpge_epi32_mask(_mm512_max_epi32(low, high), limit_s32x16) != 0) break;
  }
  return used;
}

// One quotient per value. `e` is padded, so that whole blocks may be read.
void divide_values(const SoftmaxS8Args& args, const Quotient& quotient) {
  alignas(64) uint32_t e[kBlock] = {};
  for (int64_t i = 0; i < args.n; i += kBlock) {
    uint8_t* out = args.out + i;
    const int64_t count = args.n - i < kBlock ? args.n - i : kBlock;
    for (int64_t k = 0; k < count; ++k) e[k] = args.table[out[k]];
    _mm512_mask_storeu_epi8(out, low_lanes64(count), quotient(e));
  }
}

// One quotient per level in use, and a look-up per value.
void divide_levels(const SoftmaxS8Args& args, const Quotient& quotient, int64_t used) {
  alignas(64) uint8_t y[kLevels];
  int64_t level = 0;
  for (; level < used; level += kBlock) {
    _mm512_store_si512(y + level, quotient(args.table + level));
  }
  const __m512i zero = quotient.zero();
  for (; level < kLevels; level += kBlock) _mm512_store_si512(y + level, zero);
  lut_s8_x64_avx512vnni({args.out, args.out, args.n, y});
}

}  // namespace

void softmax_s8_x64_avx512vnni(const SoftmaxS8Args& args) {
  const Range range = row_range(args.in, args.n);
  store_levels(args, range.max);
  const int64_t sum = sum_entries(args.table, args.out, args.n);
  const Quotient quotient(args, sum);
  const int64_t levels = range.max - range.min + 1;
  int64_t used = kLevels;
  if (args.n > kBlock) used = used_levels(args.table, levels, zero_limit(args, sum));
  if (used > args.n) {
    divide_values(args, quotient);
  } else {
    divide_levels(args, quotient, used);
  }
}

}  // namespace octavo

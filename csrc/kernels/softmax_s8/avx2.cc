// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/half_table_avx2.h"
#include "kernels/simd/widen_narrow_avx2.h"
#include "kernels/simd/x86.h"
#include "kernels/softmax_s8/row_sum.h"
#include "kernels/softmax_s8/softmax_s8.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 32;
constexpr int64_t kLevels = 256;
constexpr int64_t kHalf = 128;

inline __m256i load_u8x32(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

inline void store_u8x32(uint8_t* p, __m256i v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
}

inline __m256i load_u32x8(const uint32_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The smallest of 32 bytes: pairs into words with a zero above, then vphminposuw.
inline int smallest(__m256i v) {
  __m128i m = _mm_min_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_min_epu8(m, _mm_srli_epi16(m, 8));
  return _mm_cvtsi128_si32(_mm_minpos_epu16(m)) & 0xFFFF;
}

struct Range {
  int min, max;
};

// For rows of a block or more. A last block that overlaps the one before does the rest.
Range row_range(const uint8_t* in, int64_t n) {
  __m256i min_u8x32 = load_u8x32(in + n - kBlock);
  __m256i max_u8x32 = min_u8x32;
  for (int64_t i = 0; i + kBlock <= n; i += kBlock) {
    const __m256i v = load_u8x32(in + i);
    min_u8x32 = _mm256_min_epu8(min_u8x32, v);
    max_u8x32 = _mm256_max_epu8(max_u8x32, v);
  }
  const __m256i ones = _mm256_set1_epi8(-1);
  return {smallest(min_u8x32), 255 - smallest(_mm256_xor_si256(max_u8x32, ones))};
}

// out[i] = f(in[i]) for whole blocks; the last one is read before any is written, as out may be in.
template <typename F>
inline void for_blocks(const uint8_t* in, uint8_t* out, int64_t n, F f) {
  const __m256i last = load_u8x32(in + n - kBlock);
  for (int64_t i = 0; i + kBlock <= n; i += kBlock) store_u8x32(out + i, f(load_u8x32(in + i)));
  store_u8x32(out + n - kBlock, f(last));
}

// Two IEEE divisions per value, in the stated order: a product of reciprocals would round twice.
// The second is a product where that is the same.
struct Quotient {
  __m256 total, out_scale, reciprocal;
  bool exact;
  NarrowU8x32 narrow;

  Quotient(const SoftmaxS8Args& args, int64_t sum)
      : total(_mm256_set1_ps(static_cast<float>(sum))),
        out_scale(_mm256_set1_ps(args.out_scale)),
        reciprocal(_mm256_set1_ps(exact_reciprocal(args.out_scale))),
        exact(exact_reciprocal(args.out_scale) != 0.0f),
        narrow(args.requant) {}

  __m256 divide(const uint32_t* e) const {
    const __m256 q = _mm256_div_ps(_mm256_cvtepi32_ps(load_u32x8(e)), total);
    return exact ? _mm256_mul_ps(q, reciprocal) : _mm256_div_ps(q, out_scale);
  }

  // 32 entries to 32 bytes.
  void operator()(const uint32_t* e, uint8_t* y) const {
    const __m256i q = narrow({divide(e), divide(e + 8), divide(e + 16), divide(e + 24)});
    store_u8x32(y, sequential_u8x32(q));
  }

  // What every entry gives whose quotient rounds to 0.
  __m256i zero() const {
    const __m256 v = _mm256_setzero_ps();
    return narrow({v, v, v, v});
  }
};

// The levels before the last block with an entry of `limit` or more.
int64_t used_levels(const uint32_t* table, int64_t levels, int32_t limit) {
  const __m256i below = _mm256_set1_epi32(limit - 1);
  int64_t used = (levels + kBlock - 1) & -kBlock;
  for (; used > 0; used -= kBlock) {
    const uint32_t* e = table + used - kBlock;
    const __m256i max = _mm256_max_epi32(_mm256_max_epi32(load_u32x8(e), load_u32x8(e + 8)),
                                         _mm256_max_epi32(load_u32x8(e + 16), load_u32x8(e + 24)));
    if (_mm256_movemask_epi8(_mm256_cmpgt_epi32(max, below)) != 0) break;
  }
  return used;
}

void look_up(const uint32_t* table, const uint8_t* d, uint32_t* e) {
  for (int64_t k = 0; k < kBlock; ++k) e[k] = table[d[k]];
}

// One quotient per value.
void divide_values(const SoftmaxS8Args& args, const Quotient& quotient) {
  alignas(32) uint32_t e[kBlock], last[kBlock];
  uint8_t* end = args.out + args.n - kBlock;
  look_up(args.table, end, last);
  for (int64_t i = 0; i + kBlock <= args.n; i += kBlock) {
    look_up(args.table, args.out + i, e);
    quotient(e, args.out + i);
  }
  quotient(last, end);
}

// One quotient per level in use, and a look-up per value.
void divide_levels(const SoftmaxS8Args& args, const Quotient& quotient, int64_t used) {
  alignas(32) uint8_t y[kLevels];
  int64_t level = 0;
  for (; level < used; level += kBlock) quotient(args.table + level, y + level);
  const __m256i zero = quotient.zero();
  for (; level < kLevels; level += kBlock) store_u8x32(y + level, zero);
  if (used >= kHalf) {
    lut_s8_x32_avx2({args.out, args.out, args.n, y});
    return;
  }
  // The rest of the first half is one value, which also serves for the second.
  const HalfTable table(y);
  const __m256i last = _mm256_set1_epi8(kHalf - 1);
  for_blocks(args.out, args.out, args.n,
             [&](__m256i d) { return table(_mm256_min_epu8(d, last)); });
}

// Less than a block.
void run_short(const SoftmaxS8Args& args) {
  alignas(32) uint32_t e[kBlock] = {};
  alignas(32) uint8_t y[kBlock];
  uint8_t max = 0;
  for (int64_t i = 0; i < args.n; ++i) max = args.in[i] > max ? args.in[i] : max;
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    e[i] = args.table[max - args.in[i]];
    sum += e[i];
  }
  Quotient(args, sum)(e, y);
  for (int64_t i = 0; i < args.n; ++i) args.out[i] = y[i];
}

}  // namespace

void softmax_s8_x32_avx2(const SoftmaxS8Args& args) {
  if (args.n < kBlock) return run_short(args);
  const Range range = row_range(args.in, args.n);
  // The output holds the level of each value until its quotient is known.
  const __m256i max = _mm256_set1_epi8(static_cast<char>(range.max));
  for_blocks(args.in, args.out, args.n, [&](__m256i v) { return _mm256_sub_epi8(max, v); });
  const int64_t sum = sum_entries(args.table, args.out, args.n);
  const Quotient quotient(args, sum);
  const int64_t levels = range.max - range.min + 1;
  const int64_t used = used_levels(args.table, levels, zero_limit(args, sum));
  if (used > args.n) {
    divide_values(args, quotient);
  } else {
    divide_levels(args, quotient, used);
  }
}

}  // namespace octavo

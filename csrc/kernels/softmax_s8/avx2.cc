// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/widen_narrow_avx2.h"
#include "kernels/simd/x86.h"
#include "kernels/softmax_s8/softmax_s8.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 32;
constexpr int64_t kLevels = 256;
constexpr int64_t kShortRow = 96;  // measured: below it one quotient per value costs less than 256

inline __m256i load_u8x32(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

uint8_t row_max(const uint8_t* in, int64_t n) {
  __m256i max_u8x32 = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) max_u8x32 = _mm256_max_epu8(max_u8x32, load_u8x32(in + i));
  alignas(32) uint8_t lanes[kBlock];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), max_u8x32);
  uint8_t max = 0;
  for (uint8_t lane : lanes) max = lane > max ? lane : max;
  for (; i < n; ++i) max = in[i] > max ? in[i] : max;
  return max;
}

// Two IEEE divisions per value, in the stated order: a product of reciprocals would round twice.
struct Quotient {
  __m256 total, out_scale;
  NarrowU8x32 narrow;

  Quotient(const SoftmaxS8Args& args, int64_t sum)
      : total(_mm256_set1_ps(static_cast<float>(sum))),
        out_scale(_mm256_set1_ps(args.out_scale)),
        narrow(args.requant) {}

  __m256 divide(const uint32_t* e) const {
    const __m256i e_s32x8 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(e));
    return _mm256_div_ps(_mm256_div_ps(_mm256_cvtepi32_ps(e_s32x8), total), out_scale);
  }

  // 32 entries to 32 bytes.
  void operator()(const uint32_t* e, uint8_t* out) const {
    const __m256i y = narrow({divide(e), divide(e + 8), divide(e + 16), divide(e + 24)});
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), sequential_u8x32(y));
  }
};

// Short row: one quotient per value. `e` is padded, so that whole blocks may be read.
void run_short(const SoftmaxS8Args& args, uint8_t max) {
  alignas(32) uint32_t e[kShortRow];
  alignas(32) uint8_t y[kShortRow];
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    e[i] = args.table[max - args.in[i]];
    sum += e[i];
  }
  for (int64_t i = args.n; i % kBlock != 0; ++i) e[i] = 0;
  const Quotient quotient(args, sum);
  for (int64_t i = 0; i < args.n; i += kBlock) quotient(e + i, y + i);
  for (int64_t i = 0; i < args.n; ++i) args.out[i] = y[i];
}

// Long row: only 256 different quotients exist, so make each once and look the values up.
void run_long(const SoftmaxS8Args& args, uint8_t max) {
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) sum += args.table[max - args.in[i]];
  alignas(32) uint8_t y[kLevels];
  const Quotient quotient(args, sum);
  for (int64_t d = 0; d < kLevels; d += kBlock) quotient(args.table + d, y + d);

  const __m256i max_u8x32 = _mm256_set1_epi8(static_cast<char>(max));
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(args.out + i),
                        _mm256_sub_epi8(max_u8x32, load_u8x32(args.in + i)));
  }
  for (; i < args.n; ++i) args.out[i] = static_cast<uint8_t>(max - args.in[i]);
  lut_s8_x32_avx2({args.out, args.out, args.n, y});
}

}  // namespace

void softmax_s8_x32_avx2(const SoftmaxS8Args& args) {
  const uint8_t max = row_max(args.in, args.n);
  if (args.n <= kShortRow) {
    run_short(args, max);
  } else {
    run_long(args, max);
  }
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include "kernels/lut_s8/lut_s8.h"
#include "kernels/simd/widen_narrow_avx512.h"
#include "kernels/simd/x86.h"
#include "kernels/softmax_s8/softmax_s8.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kLevels = 256;
constexpr int64_t kShortRow = 128;  // two blocks: below it fewer quotients than 256

uint8_t row_max(const uint8_t* in, int64_t n) {
  __m512i max_u8x64 = _mm512_setzero_si512();
  for (int64_t i = 0; i < n; i += kBlock) {
    const __m512i v = _mm512_maskz_loadu_epi8(low_lanes64(n - i), in + i);
    max_u8x64 = _mm512_max_epu8(max_u8x64, v);
  }
  alignas(64) uint8_t lanes[kBlock];
  _mm512_store_si512(lanes, max_u8x64);
  uint8_t max = 0;
  for (uint8_t lane : lanes) max = lane > max ? lane : max;
  return max;
}

// Two IEEE divisions per value, in the stated order: a product of reciprocals would round twice.
struct Quotient {
  __m512 total, out_scale;
  NarrowU8x64 narrow;

  Quotient(const SoftmaxS8Args& args, int64_t sum)
      : total(_mm512_set1_ps(static_cast<float>(sum))),
        out_scale(_mm512_set1_ps(args.out_scale)),
        narrow(args.requant) {}

  __m512 divide(const uint32_t* e) const {
    const __m512i e_s32x16 = _mm512_loadu_si512(e);
    return _mm512_div_ps(_mm512_div_ps(_mm512_cvtepi32_ps(e_s32x16), total), out_scale);
  }

  // 64 entries to 64 bytes.
  __m512i operator()(const uint32_t* e) const {
    return sequential_u8x64(narrow({divide(e), divide(e + 16), divide(e + 32), divide(e + 48)}));
  }
};

// Short row: one quotient per value. `e` is padded, so that whole blocks may be read.
void run_short(const SoftmaxS8Args& args, uint8_t max) {
  alignas(64) uint32_t e[kShortRow];
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) {
    e[i] = args.table[max - args.in[i]];
    sum += e[i];
  }
  for (int64_t i = args.n; i % kBlock != 0; ++i) e[i] = 0;
  const Quotient quotient(args, sum);
  for (int64_t i = 0; i < args.n; i += kBlock) {
    _mm512_mask_storeu_epi8(args.out + i, low_lanes64(args.n - i), quotient(e + i));
  }
}

// Long row: only 256 different quotients exist, so make each once and look the values up.
void run_long(const SoftmaxS8Args& args, uint8_t max) {
  int64_t sum = 0;
  for (int64_t i = 0; i < args.n; ++i) sum += args.table[max - args.in[i]];
  alignas(64) uint8_t y[kLevels];
  const Quotient quotient(args, sum);
  for (int64_t d = 0; d < kLevels; d += kBlock) {
    _mm512_store_si512(y + d, quotient(args.table + d));
  }

  const __m512i max_u8x64 = _mm512_set1_epi8(static_cast<char>(max));
  for (int64_t i = 0; i < args.n; i += kBlock) {
    const __mmask64 lanes = low_lanes64(args.n - i);
    const __m512i v = _mm512_maskz_loadu_epi8(lanes, args.in + i);
    _mm512_mask_storeu_epi8(args.out + i, lanes, _mm512_sub_epi8(max_u8x64, v));
  }
  lut_s8_x64_avx512vnni({args.out, args.out, args.n, y});
}

}  // namespace

void softmax_s8_x64_avx512vnni(const SoftmaxS8Args& args) {
  const uint8_t max = row_max(args.in, args.n);
  if (args.n <= kShortRow) {
    run_short(args, max);
  } else {
    run_long(args, max);
  }
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#pragma once

// AVX-VNNI on an AVX2 CPU for the OCTAVO_EMULATE test build: the one instruction that kernels use,
// as the vendor's definition in a loop. tests/emulation/emulation_check.cc compares it with scalar
// code of its own. Another intrinsic of the set would not compile without the target flag.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace octavo {
namespace {

// vpdpbusd: four u8 * s8 products to each int32, modulo 2^32.
[[maybe_unused]] inline __m256i emu_dpbusd_avx(__m256i sum, __m256i a_u8x32, __m256i b_s8x32) {
  uint32_t lanes[8];
  uint8_t a[32];
  int8_t b[32];
  std::memcpy(lanes, &sum, sizeof lanes);
  std::memcpy(a, &a_u8x32, sizeof a);
  std::memcpy(b, &b_s8x32, sizeof b);
  for (int i = 0; i < 32; ++i) lanes[i / 4] += static_cast<uint32_t>(a[i] * b[i]);
  std::memcpy(&sum, lanes, sizeof sum);
  return sum;
}

}  // namespace
}  // namespace octavo

// NOLINTBEGIN(bugprone-reserved-identifier)
#undef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32(s, a, b) (octavo::emu_dpbusd_avx((s), (a), (b)))
// NOLINTEND(bugprone-reserved-identifier)

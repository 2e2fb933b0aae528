// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "kernels/simd/x86.h"

namespace octavo {
namespace {

// vpshufb looks up 16 entries and gives 0 where the index is negative. Within a half of the table
// (8 slices of 16 entries) the index goes down by 16 per slice and saturates at -128, so an index
// in slice k takes part in the lookups 0..k and in none after. Slices stored as differences
// (slice[k] ^ slice[k-1]) make the xor of those lookups slice[k]; an index of the other half has
// bit 7 set and takes part in none.
struct HalfTable {
  __m256i slice[8];

  explicit HalfTable(const uint8_t* table) {
    __m128i previous = _mm_setzero_si128();
    for (int k = 0; k < 8; ++k) {
      const __m128i entries = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * k));
      slice[k] = _mm256_broadcastsi128_si256(_mm_xor_si128(entries, previous));
      previous = entries;
    }
  }

  __m256i operator()(__m256i index) const {
    const __m256i step = _mm256_set1_epi8(16);
    __m256i result = _mm256_shuffle_epi8(slice[0], index);
    for (int k = 1; k < 8; ++k) {
      index = _mm256_subs_epi8(index, step);
      result = _mm256_xor_si256(result, _mm256_shuffle_epi8(slice[k], index));
    }
    return result;
  }
};

}  // namespace
}  // namespace octavo

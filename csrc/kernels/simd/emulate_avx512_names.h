// SPDX-License-Identifier: Apache-2.0
#pragma once

// clang-format off: one line per name. Native names onto the functions of emulate_avx512.h, which
// includes this file at its end.
// Some are macros of SIMDe or of the compiler already, hence the #undef in front of each.
// NOLINTBEGIN(bugprone-reserved-identifier)

// Masked loads and stores.
#undef _mm512_mask_loadu_epi8
#define _mm512_mask_loadu_epi8(s, k, p) (octavo::emu_mask_loadu<uint8_t, __m512i>((s), (k), (p)))
#undef _mm512_maskz_loadu_epi8
#define _mm512_maskz_loadu_epi8(k, p) (octavo::emu_maskz_loadu<uint8_t, __m512i>((k), (p)))
#undef _mm512_mask_storeu_epi8
#define _mm512_mask_storeu_epi8(p, k, a) (octavo::emu_mask_storeu<uint8_t, __m512i>((p), (k), (a)))
#undef _mm512_mask_loadu_epi16
#define _mm512_mask_loadu_epi16(s, k, p) (octavo::emu_mask_loadu<uint16_t, __m512i>((s), (k), (p)))
#undef _mm512_maskz_loadu_epi16
#define _mm512_maskz_loadu_epi16(k, p) (octavo::emu_maskz_loadu<uint16_t, __m512i>((k), (p)))
#undef _mm512_mask_storeu_epi16
#define _mm512_mask_storeu_epi16(p, k, a) (octavo::emu_mask_storeu<uint16_t, __m512i>((p), (k), (a)))
#undef _mm512_mask_loadu_epi32
#define _mm512_mask_loadu_epi32(s, k, p) (octavo::emu_mask_loadu<uint32_t, __m512i>((s), (k), (p)))
#undef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32(k, p) (octavo::emu_maskz_loadu<uint32_t, __m512i>((k), (p)))
#undef _mm512_mask_storeu_epi32
#define _mm512_mask_storeu_epi32(p, k, a) (octavo::emu_mask_storeu<uint32_t, __m512i>((p), (k), (a)))
#undef _mm256_mask_loadu_epi8
#define _mm256_mask_loadu_epi8(s, k, p) (octavo::emu_mask_loadu<uint8_t, __m256i>((s), (k), (p)))
#undef _mm256_maskz_loadu_epi8
#define _mm256_maskz_loadu_epi8(k, p) (octavo::emu_maskz_loadu<uint8_t, __m256i>((k), (p)))
#undef _mm256_mask_storeu_epi8
#define _mm256_mask_storeu_epi8(p, k, a) (octavo::emu_mask_storeu<uint8_t, __m256i>((p), (k), (a)))
#undef _mm256_mask_loadu_epi16
#define _mm256_mask_loadu_epi16(s, k, p) (octavo::emu_mask_loadu<uint16_t, __m256i>((s), (k), (p)))
#undef _mm256_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi16(k, p) (octavo::emu_maskz_loadu<uint16_t, __m256i>((k), (p)))
#undef _mm256_mask_storeu_epi16
#define _mm256_mask_storeu_epi16(p, k, a) (octavo::emu_mask_storeu<uint16_t, __m256i>((p), (k), (a)))
#undef _mm256_mask_loadu_epi32
#define _mm256_mask_loadu_epi32(s, k, p) (octavo::emu_mask_loadu<uint32_t, __m256i>((s), (k), (p)))
#undef _mm256_maskz_loadu_epi32
#define _mm256_maskz_loadu_epi32(k, p) (octavo::emu_maskz_loadu<uint32_t, __m256i>((k), (p)))
#undef _mm256_mask_storeu_epi32
#define _mm256_mask_storeu_epi32(p, k, a) (octavo::emu_mask_storeu<uint32_t, __m256i>((p), (k), (a)))
#undef _mm_mask_loadu_epi8
#define _mm_mask_loadu_epi8(s, k, p) (octavo::emu_mask_loadu<uint8_t, __m128i>((s), (k), (p)))
#undef _mm_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8(k, p) (octavo::emu_maskz_loadu<uint8_t, __m128i>((k), (p)))
#undef _mm_mask_storeu_epi8
#define _mm_mask_storeu_epi8(p, k, a) (octavo::emu_mask_storeu<uint8_t, __m128i>((p), (k), (a)))
#undef _mm_mask_loadu_epi16
#define _mm_mask_loadu_epi16(s, k, p) (octavo::emu_mask_loadu<uint16_t, __m128i>((s), (k), (p)))
#undef _mm_maskz_loadu_epi16
#define _mm_maskz_loadu_epi16(k, p) (octavo::emu_maskz_loadu<uint16_t, __m128i>((k), (p)))
#undef _mm_mask_storeu_epi16
#define _mm_mask_storeu_epi16(p, k, a) (octavo::emu_mask_storeu<uint16_t, __m128i>((p), (k), (a)))
#undef _mm_mask_loadu_epi32
#define _mm_mask_loadu_epi32(s, k, p) (octavo::emu_mask_loadu<uint32_t, __m128i>((s), (k), (p)))
#undef _mm_maskz_loadu_epi32
#define _mm_maskz_loadu_epi32(k, p) (octavo::emu_maskz_loadu<uint32_t, __m128i>((k), (p)))
#undef _mm_mask_storeu_epi32
#define _mm_mask_storeu_epi32(p, k, a) (octavo::emu_mask_storeu<uint32_t, __m128i>((p), (k), (a)))
#undef _mm512_mask_loadu_ps
#define _mm512_mask_loadu_ps(s, k, p) (octavo::emu_mask_loadu<float, __m512>((s), (k), (p)))
#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps(k, p) (octavo::emu_maskz_loadu<float, __m512>((k), (p)))
#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps(p, k, a) (octavo::emu_mask_storeu<float, __m512>((p), (k), (a)))
#undef _mm256_mask_loadu_ps
#define _mm256_mask_loadu_ps(s, k, p) (octavo::emu_mask_loadu<float, __m256>((s), (k), (p)))
#undef _mm256_maskz_loadu_ps
#define _mm256_maskz_loadu_ps(k, p) (octavo::emu_maskz_loadu<float, __m256>((k), (p)))
#undef _mm256_mask_storeu_ps
#define _mm256_mask_storeu_ps(p, k, a) (octavo::emu_mask_storeu<float, __m256>((p), (k), (a)))
#undef _mm_mask_loadu_ps
#define _mm_mask_loadu_ps(s, k, p) (octavo::emu_mask_loadu<float, __m128>((s), (k), (p)))
#undef _mm_maskz_loadu_ps
#define _mm_maskz_loadu_ps(k, p) (octavo::emu_maskz_loadu<float, __m128>((k), (p)))
#undef _mm_mask_storeu_ps
#define _mm_mask_storeu_ps(p, k, a) (octavo::emu_mask_storeu<float, __m128>((p), (k), (a)))

// Aligned loads and stores.
#undef _mm512_load_si512
#define _mm512_load_si512(p) (octavo::emu_load_aligned<__m512i>(p))
#undef _mm512_store_si512
#define _mm512_store_si512(p, a) (octavo::emu_store_aligned<__m512i>((p), (a)))
#undef _mm512_load_epi32
#define _mm512_load_epi32(p) (octavo::emu_load_aligned<__m512i>(p))
#undef _mm512_store_epi32
#define _mm512_store_epi32(p, a) (octavo::emu_store_aligned<__m512i>((p), (a)))
#undef _mm512_load_ps
#define _mm512_load_ps(p) (octavo::emu_load_aligned<__m512>(p))
#undef _mm512_store_ps
#define _mm512_store_ps(p, a) (octavo::emu_store_aligned<__m512>((p), (a)))

// Integers between widths.
#undef _mm512_cvtepi8_epi16
#define _mm512_cvtepi8_epi16(a) (octavo::emu_convert<int16_t, __m512i, int8_t, __m256i>(a))
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32(a) (octavo::emu_convert<int32_t, __m512i, int8_t, __m128i>(a))
#undef _mm512_cvtepi16_epi32
#define _mm512_cvtepi16_epi32(a) (octavo::emu_convert<int32_t, __m512i, int16_t, __m256i>(a))
#undef _mm512_cvtepu8_epi16
#define _mm512_cvtepu8_epi16(a) (octavo::emu_convert<uint16_t, __m512i, uint8_t, __m256i>(a))
#undef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32(a) (octavo::emu_convert<uint32_t, __m512i, uint8_t, __m128i>(a))
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32(a) (octavo::emu_convert<uint32_t, __m512i, uint16_t, __m256i>(a))
#undef _mm512_cvtepi16_epi8
#define _mm512_cvtepi16_epi8(a) (octavo::emu_convert<uint8_t, __m256i, uint16_t, __m512i>(a))
#undef _mm512_cvtsepi16_epi8
#define _mm512_cvtsepi16_epi8(a) (octavo::emu_saturate<int8_t, __m256i, int16_t, __m512i>(a))
#undef _mm512_cvtusepi16_epi8
#define _mm512_cvtusepi16_epi8(a) (octavo::emu_saturate<uint8_t, __m256i, uint16_t, __m512i>(a))
#undef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8(a) (octavo::emu_convert<uint8_t, __m128i, uint32_t, __m512i>(a))
#undef _mm512_cvtsepi32_epi8
#define _mm512_cvtsepi32_epi8(a) (octavo::emu_saturate<int8_t, __m128i, int32_t, __m512i>(a))
#undef _mm512_cvtusepi32_epi8
#define _mm512_cvtusepi32_epi8(a) (octavo::emu_saturate<uint8_t, __m128i, uint32_t, __m512i>(a))
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16(a) (octavo::emu_convert<uint16_t, __m256i, uint32_t, __m512i>(a))
#undef _mm512_cvtsepi32_epi16
#define _mm512_cvtsepi32_epi16(a) (octavo::emu_saturate<int16_t, __m256i, int32_t, __m512i>(a))
#undef _mm512_cvtusepi32_epi16
#define _mm512_cvtusepi32_epi16(a) (octavo::emu_saturate<uint16_t, __m256i, uint32_t, __m512i>(a))
#undef _mm512_mask_cvtepi32_storeu_epi8
#define _mm512_mask_cvtepi32_storeu_epi8(p, k, a) _mm_mask_storeu_epi8((p), (k), _mm512_cvtepi32_epi8(a))
#undef _mm512_mask_cvtusepi32_storeu_epi8
#define _mm512_mask_cvtusepi32_storeu_epi8(p, k, a) _mm_mask_storeu_epi8((p), (k), _mm512_cvtusepi32_epi8(a))
#undef _mm256_cvtepi16_epi8
#define _mm256_cvtepi16_epi8(a) (octavo::emu_convert<uint8_t, __m128i, uint16_t, __m256i>(a))
#undef _mm256_cvtepi32_epi8
#define _mm256_cvtepi32_epi8(a) (octavo::emu_convert<uint8_t, __m128i, uint32_t, __m256i>(a))

// Immediates.
#undef _mm512_srai_epi32
#define _mm512_srai_epi32(a, imm) (octavo::emu_srai_epi32<(imm)>((a), (a)))
#undef _mm512_shuffle_epi32
#define _mm512_shuffle_epi32(a, imm) (octavo::emu_shuffle_epi32<(imm)>((a), (a)))
#undef _mm512_alignr_epi8
#define _mm512_alignr_epi8(a, b, imm) (octavo::emu_alignr_epi8<(imm)>((a), (b)))
#undef _mm512_shuffle_i64x2
#define _mm512_shuffle_i64x2(a, b, imm) _mm512_shuffle_i32x4((a), (b), (imm))
#undef _mm512_extracti32x8_epi32
#define _mm512_extracti32x8_epi32(a, imm) _mm512_extracti64x4_epi64((a), (imm))

// Float, and what SIMDe names wrongly.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) (octavo::emu_madd_epi16((a), (b)))
#undef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32(a) (octavo::emu_cvtps_epi32(a))
#undef _mm512_cvttps_epi32
#define _mm512_cvttps_epi32(a) (octavo::emu_cvttps_epi32(a))
#undef _mm512_cvt_roundps_epi32
#define _mm512_cvt_roundps_epi32(a, r) (octavo::emu_cvt_roundps_epi32<(r)>(a))
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps(a) (octavo::emu_cvtepi32_ps(a))

// Reductions, moves, masks.
#undef _mm512_reduce_add_epi32
#define _mm512_reduce_add_epi32(a) (octavo::emu_reduce_add<int32_t>(a))
#undef _mm512_reduce_add_epi64
#define _mm512_reduce_add_epi64(a) (octavo::emu_reduce_add<int64_t>(a))
#undef _mm512_reduce_max_epi32
#define _mm512_reduce_max_epi32(a) (octavo::emu_reduce_max<int32_t>(a))
#undef _mm512_reduce_min_epi32
#define _mm512_reduce_min_epi32(a) (octavo::emu_reduce_min<int32_t>(a))
#undef _mm512_reduce_max_epu32
#define _mm512_reduce_max_epu32(a) (octavo::emu_reduce_max<uint32_t>(a))
#undef _mm512_zextsi128_si512
#define _mm512_zextsi128_si512(a) (octavo::emu_zext<__m128i>(a))
#undef _mm512_zextsi256_si512
#define _mm512_zextsi256_si512(a) (octavo::emu_zext<__m256i>(a))
#undef _mm512_cvtsi512_si32
#define _mm512_cvtsi512_si32(a) _mm_cvtsi128_si32(_mm512_castsi512_si128(a))
#undef _mm512_undefined_epi32
#define _mm512_undefined_epi32() _mm512_setzero_si512()
#undef _cvtu32_mask8
#define _cvtu32_mask8(u) (static_cast<__mmask8>(u))
#undef _cvtmask8_u32
#define _cvtmask8_u32(k) (static_cast<uint32_t>(k))
#undef _cvtu32_mask16
#define _cvtu32_mask16(u) (static_cast<__mmask16>(u))
#undef _cvtmask16_u32
#define _cvtmask16_u32(k) (static_cast<uint32_t>(k))
#undef _cvtu32_mask32
#define _cvtu32_mask32(u) (static_cast<__mmask32>(u))
#undef _cvtmask32_u32
#define _cvtmask32_u32(k) (static_cast<uint32_t>(k))
#undef _cvtu64_mask64
#define _cvtu64_mask64(u) (static_cast<__mmask64>(u))
#undef _cvtmask64_u64
#define _cvtmask64_u64(k) (static_cast<uint64_t>(k))
// NOLINTEND(bugprone-reserved-identifier)

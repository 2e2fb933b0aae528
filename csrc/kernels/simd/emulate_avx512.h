// SPDX-License-Identifier: Apache-2.0
#pragma once

// AVX-512 (F, BW, VL, DQ, VNNI, VBMI) on an AVX2 CPU for the OCTAVO_EMULATE test build: SIMDe 0.7.4
// under the native names, and below what that version lacks or does more leniently than the CPU:
//   * masked loads and stores, which must not touch a byte whose mask bit is 0 (guard pages);
//   * conversions between 8, 16, 32 bits and float; reductions; roundps with explicit rounding;
//   * aligned loads and stores, which must fault on a misaligned address.
// Each function here is the definition in the vendor's intrinsics guide written as a loop.
// tests/emulation/emulation_check.cc compares these, and what the kernels use of SIMDe, with scalar
// code (ctest in the emulate build). The compiler declares the native names too, but calling one
// that is not replaced is an error without the target flag, so nothing can slip through.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>

#include <cstdint>
#include <cstring>

namespace octavo {
namespace {

// A vector as an array of lanes, and back.
template <class Lane, class Vector>
struct EmuLanes {
  static constexpr int kCount = static_cast<int>(sizeof(Vector) / sizeof(Lane));
  Lane lane[kCount];

  EmuLanes() { std::memset(lane, 0, sizeof lane); }
  explicit EmuLanes(Vector v) { std::memcpy(lane, &v, sizeof lane); }
  Vector vector() const {
    Vector v;
    std::memcpy(&v, lane, sizeof lane);
    return v;
  }
};

template <class Lane, class Vector>
[[maybe_unused]] inline Vector emu_mask_loadu(Vector source, uint64_t mask, const void* memory) {
  EmuLanes<Lane, Vector> lanes(source);
  const char* bytes = static_cast<const char*>(memory);
  for (int i = 0; i < lanes.kCount; ++i) {
    if (mask >> i & 1) std::memcpy(&lanes.lane[i], bytes + i * sizeof(Lane), sizeof(Lane));
  }
  return lanes.vector();
}

template <class Lane, class Vector>
[[maybe_unused]] inline Vector emu_maskz_loadu(uint64_t mask, const void* memory) {
  return emu_mask_loadu<Lane>(EmuLanes<Lane, Vector>().vector(), mask, memory);
}

template <class Lane, class Vector>
[[maybe_unused]] inline void emu_mask_storeu(void* memory, uint64_t mask, Vector value) {
  const EmuLanes<Lane, Vector> lanes(value);
  char* bytes = static_cast<char*>(memory);
  for (int i = 0; i < lanes.kCount; ++i) {
    if (mask >> i & 1) std::memcpy(bytes + i * sizeof(Lane), &lanes.lane[i], sizeof(Lane));
  }
}

template <class Vector>
[[maybe_unused]] inline Vector emu_load_aligned(const void* memory) {
  if (reinterpret_cast<uintptr_t>(memory) % sizeof(Vector) != 0) __builtin_trap();
  Vector v;
  std::memcpy(&v, memory, sizeof v);
  return v;
}

template <class Vector>
[[maybe_unused]] inline void emu_store_aligned(void* memory, Vector value) {
  if (reinterpret_cast<uintptr_t>(memory) % sizeof(Vector) != 0) __builtin_trap();
  std::memcpy(memory, &value, sizeof value);
}

// Lane-by-lane conversion of integers; a narrower result type truncates.
template <class To, class ToVector, class From, class FromVector>
[[maybe_unused]] inline ToVector emu_convert(FromVector value) {
  const EmuLanes<From, FromVector> from(value);
  EmuLanes<To, ToVector> to;
  for (int i = 0; i < to.kCount && i < from.kCount; ++i) to.lane[i] = static_cast<To>(from.lane[i]);
  return to.vector();
}

// The same with saturation to the range of To; From is signed for vpmovs*, unsigned for vpmovus*.
template <class To, class ToVector, class From, class FromVector>
[[maybe_unused]] inline ToVector emu_saturate(FromVector value) {
  constexpr bool kSigned = static_cast<To>(-1) < static_cast<To>(0);
  constexpr From kHigh = static_cast<From>((int64_t{1} << (8 * sizeof(To) - kSigned)) - 1);
  constexpr From kLow = static_cast<From>(kSigned ? -kHigh - 1 : 0);
  const EmuLanes<From, FromVector> from(value);
  EmuLanes<To, ToVector> to;
  for (int i = 0; i < to.kCount && i < from.kCount; ++i) {
    const From x = from.lane[i];
    to.lane[i] = static_cast<To>(x < kLow ? kLow : x > kHigh ? kHigh : x);
  }
  return to.vector();
}

struct EmuHalves {
  __m256i half[2];
};
struct EmuHalvesPs {
  __m256 half[2];
};

template <class To, class From>
[[maybe_unused]] inline To emu_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// Rounds as MXCSR says, NaN and out of range give INT32_MIN: the AVX instruction, twice.
[[maybe_unused]] inline __m512i emu_cvtps_epi32(__m512 a) {
  const auto x = emu_bits<EmuHalvesPs>(a);
  return emu_bits<__m512i>(
      EmuHalves{{_mm256_cvtps_epi32(x.half[0]), _mm256_cvtps_epi32(x.half[1])}});
}

[[maybe_unused]] inline __m512i emu_cvttps_epi32(__m512 a) {
  const auto x = emu_bits<EmuHalvesPs>(a);
  return emu_bits<__m512i>(
      EmuHalves{{_mm256_cvttps_epi32(x.half[0]), _mm256_cvttps_epi32(x.half[1])}});
}

template <int kRounding>
[[maybe_unused]] inline __m512i emu_cvt_roundps_epi32(__m512 a) {
  const auto x = emu_bits<EmuHalvesPs>(a);
  return emu_cvtps_epi32(emu_bits<__m512>(
      EmuHalvesPs{{_mm256_round_ps(x.half[0], kRounding), _mm256_round_ps(x.half[1], kRounding)}}));
}

// Operations within 128-bit lanes with an immediate: the AVX2 instruction on each half.
#define OCTAVO_EMU_HALVES(name, call)                                  \
  template <int kImm>                                                  \
  [[maybe_unused]] inline __m512i name(__m512i a, __m512i b) {         \
    const auto x = emu_bits<EmuHalves>(a), y = emu_bits<EmuHalves>(b); \
    EmuHalves r;                                                       \
    for (int i = 0; i < 2; ++i) r.half[i] = call;                      \
    static_cast<void>(y);                                              \
    return emu_bits<__m512i>(r);                                       \
  }
OCTAVO_EMU_HALVES(emu_srai_epi32, _mm256_srai_epi32(x.half[i], kImm))
OCTAVO_EMU_HALVES(emu_shuffle_epi32, _mm256_shuffle_epi32(x.half[i], kImm))
OCTAVO_EMU_HALVES(emu_alignr_epi8, _mm256_alignr_epi8(x.half[i], y.half[i], kImm))
#undef OCTAVO_EMU_HALVES

// SIMDe 0.7.4 declares its alias of vpmaddwd with four parameters.
[[maybe_unused]] inline __m512i emu_madd_epi16(__m512i a, __m512i b) {
  const auto x = emu_bits<EmuHalves>(a), y = emu_bits<EmuHalves>(b);
  return emu_bits<__m512i>(EmuHalves{
      {_mm256_madd_epi16(x.half[0], y.half[0]), _mm256_madd_epi16(x.half[1], y.half[1])}});
}

[[maybe_unused]] inline __m512 emu_cvtepi32_ps(__m512i a) {
  const auto x = emu_bits<EmuHalves>(a);
  return emu_bits<__m512>(
      EmuHalvesPs{{_mm256_cvtepi32_ps(x.half[0]), _mm256_cvtepi32_ps(x.half[1])}});
}

template <class Lane>
[[maybe_unused]] inline Lane emu_reduce_add(__m512i a) {
  const EmuLanes<Lane, __m512i> lanes(a);
  Lane sum = 0;
  for (const Lane lane : lanes.lane) __builtin_add_overflow(sum, lane, &sum);  // wraps
  return sum;
}

template <class Lane>
[[maybe_unused]] inline Lane emu_reduce_max(__m512i a) {
  const EmuLanes<Lane, __m512i> lanes(a);
  Lane best = lanes.lane[0];
  for (const Lane lane : lanes.lane) best = lane > best ? lane : best;
  return best;
}

template <class Lane>
[[maybe_unused]] inline Lane emu_reduce_min(__m512i a) {
  const EmuLanes<Lane, __m512i> lanes(a);
  Lane best = lanes.lane[0];
  for (const Lane lane : lanes.lane) best = lane < best ? lane : best;
  return best;
}

// A narrow vector with zeros above it.
template <class Narrow>
[[maybe_unused]] inline __m512i emu_zext(Narrow a) {
  EmuLanes<uint8_t, __m512i> lanes;
  std::memcpy(lanes.lane, &a, sizeof a);
  return lanes.vector();
}

}  // namespace
}  // namespace octavo

#include "kernels/simd/emulate_avx512_names.h"

// SPDX-License-Identifier: Apache-2.0
// Compares the emulated AVX-512 and AVX-VNNI intrinsics that kernels use with scalar code written
// from the vendor's definition, on random bytes mixed with extremes. A kernel sweep alone could not
// tell a wrong emulation from a kernel that was bent to agree with it.
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "kernels/simd/emulate_avxvnni.h"
#include "kernels/simd/x86.h"

namespace {

int failures = 0;
uint64_t state = 20240229;

uint8_t random_byte() {
  state = state * 6364136223846793005u + 1442695040888963407u;
  const uint8_t byte = static_cast<uint8_t>(state >> 56);
  const uint8_t extremes[8] = {0, 1, 0x7f, 0x80, 0x81, 0xff, 0xfe, 0x40};
  return (state >> 40 & 3) == 0 ? extremes[byte & 7] : byte;
}

// 64 bytes seen as lanes of any type.
struct Bytes {
  alignas(64) uint8_t byte[64];
  template <class T>
  T get(int i) const {
    T value;
    std::memcpy(&value, byte + i * static_cast<int>(sizeof(T)), sizeof(T));
    return value;
  }
  template <class T>
  void set(int i, T value) {
    std::memcpy(byte + i * static_cast<int>(sizeof(T)), &value, sizeof(T));
  }
  __m512i vector() const { return _mm512_load_si512(byte); }
};

Bytes random_bytes() {
  Bytes b;
  for (uint8_t& byte : b.byte) byte = random_byte();
  return b;
}

// Finite floats around the int32 and int8 ranges, exact halves included.
Bytes random_floats() {
  Bytes b;
  for (int i = 0; i < 16; ++i) {
    const int value = static_cast<int>(random_byte()) * 4 - 512 + random_byte() % 4;
    const int exponent = random_byte() % 24;
    b.set<float>(i, std::ldexp(static_cast<float>(value) * 0.5f, exponent - 4));
  }
  return b;
}

template <class Vector>
void expect(const char* name, Vector got, const Bytes& want, int bytes = sizeof(Vector)) {
  if (std::memcmp(&got, want.byte, static_cast<size_t>(bytes)) == 0) return;
  if (++failures <= 20) std::printf("FAIL %s\n", name);
}

template <class To, class From>
To saturate(From x) {
  const From low = static_cast<From>(std::is_signed<To>::value ? -(1 << (8 * sizeof(To) - 1)) : 0);
  const From high =
      static_cast<From>((1 << (8 * sizeof(To) - (std::is_signed<To>::value ? 1 : 0))) - 1);
  return static_cast<To>(x < low ? low : x > high ? high : x);
}

// Lane-wise operation on two vectors.
template <class T, class Op>
Bytes lanes(const Bytes& a, const Bytes& b, Op op) {
  Bytes r;
  for (int i = 0; i < 64 / static_cast<int>(sizeof(T)); ++i) {
    r.set<T>(i, static_cast<T>(op(a.get<T>(i), b.get<T>(i))));
  }
  return r;
}

void check_dot(const Bytes& a, const Bytes& b, const Bytes& c) {
  Bytes dot, madd, maddubs;
  for (int i = 0; i < 16; ++i) {
    int64_t sum = c.get<int32_t>(i);
    for (int j = 4 * i; j < 4 * i + 4; ++j) sum += a.get<uint8_t>(j) * b.get<int8_t>(j);
    dot.set<int32_t>(i, static_cast<int32_t>(static_cast<uint32_t>(sum)));
    const int64_t pair = int64_t{a.get<int16_t>(2 * i)} * b.get<int16_t>(2 * i) +
                         int64_t{a.get<int16_t>(2 * i + 1)} * b.get<int16_t>(2 * i + 1);
    madd.set<int32_t>(i, static_cast<int32_t>(static_cast<uint32_t>(pair)));
  }
  for (int i = 0; i < 32; ++i) {
    maddubs.set<int16_t>(i,
                         saturate<int16_t>(a.get<uint8_t>(2 * i) * b.get<int8_t>(2 * i) +
                                           a.get<uint8_t>(2 * i + 1) * b.get<int8_t>(2 * i + 1)));
  }
  expect("dpbusd_epi32", _mm512_dpbusd_epi32(c.vector(), a.vector(), b.vector()), dot);
  const auto ymm = [](const Bytes& x) { return _mm512_castsi512_si256(x.vector()); };
  expect("dpbusd_avx_epi32", _mm256_dpbusd_avx_epi32(ymm(c), ymm(a), ymm(b)), dot);
  expect("madd_epi16", _mm512_madd_epi16(a.vector(), b.vector()), madd);
  expect("maddubs_epi16", _mm512_maddubs_epi16(a.vector(), b.vector()), maddubs);
  Bytes sad;
  for (int i = 0; i < 8; ++i) {
    int64_t sum = 0;
    for (int j = 8 * i; j < 8 * i + 8; ++j) sum += std::abs(a.byte[j] - b.byte[j]);
    sad.set<int64_t>(i, sum);
  }
  expect("sad_epu8", _mm512_sad_epu8(a.vector(), b.vector()), sad);
}

// Packs and unpacks work within each 128-bit lane: first the lane of a, then that of b.
template <class Wide, class Narrow>
Bytes pack(const Bytes& a, const Bytes& b) {
  constexpr int kPerLane = 16 / static_cast<int>(sizeof(Wide));
  Bytes r;
  for (int lane = 0; lane < 4; ++lane) {
    for (int i = 0; i < kPerLane; ++i) {
      const int out = 2 * kPerLane * lane + i;
      r.set<Narrow>(out, saturate<Narrow>(a.get<Wide>(kPerLane * lane + i)));
      r.set<Narrow>(out + kPerLane, saturate<Narrow>(b.get<Wide>(kPerLane * lane + i)));
    }
  }
  return r;
}

template <class T>
Bytes unpack(const Bytes& a, const Bytes& b, bool high) {
  constexpr int kPerLane = 16 / static_cast<int>(sizeof(T));
  Bytes r;
  for (int lane = 0; lane < 4; ++lane) {
    for (int i = 0; i < kPerLane / 2; ++i) {
      const int in = kPerLane * lane + i + (high ? kPerLane / 2 : 0);
      r.set<T>(kPerLane * lane + 2 * i, a.get<T>(in));
      r.set<T>(kPerLane * lane + 2 * i + 1, b.get<T>(in));
    }
  }
  return r;
}

void check_pack(const Bytes& a, const Bytes& b) {
  const __m512i x = a.vector(), y = b.vector();
  expect("packs_epi32", _mm512_packs_epi32(x, y), pack<int32_t, int16_t>(a, b));
  expect("packus_epi32", _mm512_packus_epi32(x, y), pack<int32_t, uint16_t>(a, b));
  expect("packs_epi16", _mm512_packs_epi16(x, y), pack<int16_t, int8_t>(a, b));
  expect("packus_epi16", _mm512_packus_epi16(x, y), pack<int16_t, uint8_t>(a, b));
  expect("unpacklo_epi8", _mm512_unpacklo_epi8(x, y), unpack<uint8_t>(a, b, false));
  expect("unpackhi_epi8", _mm512_unpackhi_epi8(x, y), unpack<uint8_t>(a, b, true));
  expect("unpacklo_epi16", _mm512_unpacklo_epi16(x, y), unpack<uint16_t>(a, b, false));
  expect("unpackhi_epi16", _mm512_unpackhi_epi16(x, y), unpack<uint16_t>(a, b, true));
  expect("unpacklo_epi32", _mm512_unpacklo_epi32(x, y), unpack<uint32_t>(a, b, false));
  expect("unpackhi_epi64", _mm512_unpackhi_epi64(x, y), unpack<uint64_t>(a, b, true));
}

void check_arithmetic(const Bytes& a, const Bytes& b) {
  const __m512i x = a.vector(), y = b.vector();
  const auto add = [](auto p, auto q) { return p + q; };
  expect("adds_epi16", _mm512_adds_epi16(x, y),
         lanes<int16_t>(a, b, [](int p, int q) { return saturate<int16_t>(p + q); }));
  expect("subs_epi16", _mm512_subs_epi16(x, y),
         lanes<int16_t>(a, b, [](int p, int q) { return saturate<int16_t>(p - q); }));
  expect("adds_epu8", _mm512_adds_epu8(x, y),
         lanes<uint8_t>(a, b, [](int p, int q) { return saturate<uint8_t>(p + q); }));
  expect("subs_epu8", _mm512_subs_epu8(x, y),
         lanes<uint8_t>(a, b, [](int p, int q) { return saturate<uint8_t>(p - q); }));
  expect("add_epi32", _mm512_add_epi32(x, y), lanes<uint32_t>(a, b, add));
  expect("sub_epi32", _mm512_sub_epi32(x, y),
         lanes<uint32_t>(a, b, [](uint32_t p, uint32_t q) { return p - q; }));
  expect("sub_epi16", _mm512_sub_epi16(x, y),
         lanes<uint16_t>(a, b, [](int p, int q) { return p - q; }));
  expect("mullo_epi16", _mm512_mullo_epi16(x, y),
         lanes<uint16_t>(a, b, [](uint32_t p, uint32_t q) { return p * q; }));
  expect("mullo_epi32", _mm512_mullo_epi32(x, y),
         lanes<uint32_t>(a, b, [](uint32_t p, uint32_t q) { return p * q; }));
  expect("max_epu8", _mm512_max_epu8(x, y),
         lanes<uint8_t>(a, b, [](int p, int q) { return p > q ? p : q; }));
  expect("min_epu8", _mm512_min_epu8(x, y),
         lanes<uint8_t>(a, b, [](int p, int q) { return p < q ? p : q; }));
  expect("max_epi32", _mm512_max_epi32(x, y),
         lanes<int32_t>(a, b, [](int p, int q) { return p > q ? p : q; }));
  expect("min_epi32", _mm512_min_epi32(x, y),
         lanes<int32_t>(a, b, [](int p, int q) { return p < q ? p : q; }));
  expect("xor_si512", _mm512_xor_si512(x, y),
         lanes<uint64_t>(a, b, [](uint64_t p, uint64_t q) { return p ^ q; }));
  expect("srai_epi16", _mm512_srai_epi16(x, 3),
         lanes<int16_t>(a, b, [](int p, int) { return p >> 3; }));
  expect("srli_epi16", _mm512_srli_epi16(x, 8),
         lanes<uint16_t>(a, b, [](int p, int) { return p >> 8; }));
  expect("slli_epi16", _mm512_slli_epi16(x, 8),
         lanes<uint16_t>(a, b, [](int p, int) { return p << 8; }));
  expect("srai_epi32", _mm512_srai_epi32(x, 16),
         lanes<int32_t>(a, b, [](int p, int) { return p >> 16; }));
  expect("slli_epi32", _mm512_slli_epi32(x, 16),
         lanes<uint32_t>(a, b, [](uint32_t p, uint32_t) { return p << 16; }));
}

void check_permute(const Bytes& a, const Bytes& b, const Bytes& index) {
  const __m512i x = a.vector(), y = b.vector(), k = index.vector();
  Bytes one, two, one32, two32, in_lane, two16;
  for (int i = 0; i < 64; ++i) {
    const int j = index.byte[i];
    one.byte[i] = a.byte[j & 63];
    two.byte[i] = j & 64 ? b.byte[j & 63] : a.byte[j & 63];
    in_lane.byte[i] = j & 0x80 ? 0 : a.byte[(i & 48) + (j & 15)];
  }
  for (int i = 0; i < 16; ++i) {
    const uint32_t j = index.get<uint32_t>(i);
    one32.set<uint32_t>(i, a.get<uint32_t>(static_cast<int>(j & 15)));
    two32.set<uint32_t>(i, (j & 16 ? b : a).get<uint32_t>(static_cast<int>(j & 15)));
  }
  for (int i = 0; i < 32; ++i) {
    const int j = index.get<uint16_t>(i);
    two16.set<uint16_t>(i, (j & 32 ? b : a).get<uint16_t>(j & 31));
  }
  expect("permutexvar_epi8", _mm512_permutexvar_epi8(k, x), one);
  expect("permutex2var_epi8", _mm512_permutex2var_epi8(x, k, y), two);
  expect("permutexvar_epi32", _mm512_permutexvar_epi32(k, x), one32);
  expect("permutex2var_epi32", _mm512_permutex2var_epi32(x, k, y), two32);
  expect("permutex2var_epi16", _mm512_permutex2var_epi16(x, k, y), two16);
  expect("shuffle_epi8", _mm512_shuffle_epi8(x, k), in_lane);
  Bytes part;
  std::memcpy(part.byte, a.byte + 48, 16);
  expect("extracti32x4_epi32", _mm512_extracti32x4_epi32(x, 3), part);
  std::memcpy(part.byte, a.byte + 32, 32);
  expect("extracti64x4_epi64", _mm512_extracti64x4_epi64(x, 1), part);
  for (int i = 0; i < 4; ++i) std::memcpy(part.byte + 16 * i, a.byte, 16);
  expect("broadcast_i32x4", _mm512_broadcast_i32x4(_mm512_castsi512_si128(x)), part);
  for (int i = 0; i < 4; ++i) {
    std::memcpy(part.byte + 16 * i, (i < 2 ? a : b).byte + 16 * (i % 2 ? 3 : 1), 16);
  }
  expect("shuffle_i32x4", _mm512_shuffle_i32x4(x, y, 0xdd), part);
}

template <class To, class From>
constexpr int convert_count() {
  return 64 / static_cast<int>(sizeof(To) > sizeof(From) ? sizeof(To) : sizeof(From));
}

template <class To, class From>
Bytes convert(const Bytes& a) {
  Bytes r{};
  for (int i = 0; i < convert_count<To, From>(); ++i) r.set<To>(i, static_cast<To>(a.get<From>(i)));
  return r;
}

template <class To, class From>
Bytes convert_saturating(const Bytes& a) {
  Bytes r{};
  for (int i = 0; i < convert_count<To, From>(); ++i) r.set<To>(i, saturate<To>(a.get<From>(i)));
  return r;
}

void check_convert(const Bytes& a) {
  const __m512i x = a.vector();
  const __m128i x16 = _mm512_castsi512_si128(x);
  const __m256i x32 = _mm512_castsi512_si256(x);
  expect("cvtepu8_epi32", _mm512_cvtepu8_epi32(x16), convert<int32_t, uint8_t>(a));
  expect("cvtepi8_epi32", _mm512_cvtepi8_epi32(x16), convert<int32_t, int8_t>(a));
  expect("cvtepu8_epi16", _mm512_cvtepu8_epi16(x32), convert<int16_t, uint8_t>(a));
  expect("cvtepi8_epi16", _mm512_cvtepi8_epi16(x32), convert<int16_t, int8_t>(a));
  expect("cvtepi16_epi32", _mm512_cvtepi16_epi32(x32), convert<int32_t, int16_t>(a));
  expect("cvtepu16_epi32", _mm512_cvtepu16_epi32(x32), convert<int32_t, uint16_t>(a));
  expect("cvtepi32_epi8", _mm512_cvtepi32_epi8(x), convert<uint8_t, uint32_t>(a));
  expect("cvtsepi32_epi8", _mm512_cvtsepi32_epi8(x), convert_saturating<int8_t, int32_t>(a));
  expect("cvtusepi32_epi8", _mm512_cvtusepi32_epi8(x), convert_saturating<uint8_t, uint32_t>(a));
  expect("cvtsepi16_epi8", _mm512_cvtsepi16_epi8(x), convert_saturating<int8_t, int16_t>(a));
  expect("cvtepi32_ps", _mm512_castps_si512(_mm512_cvtepi32_ps(x)), convert<float, int32_t>(a));
}

int32_t to_int32(float x) {
  const double rounded = std::nearbyint(static_cast<double>(x));
  return rounded >= -2147483648.0 && rounded < 2147483648.0 ? static_cast<int32_t>(rounded)
                                                            : INT32_MIN;
}

void check_float() {
  Bytes a = random_floats();
  const Bytes b = random_floats();
  a.set<float>(3, NAN);
  a.set<float>(5, INFINITY);
  a.set<float>(7, -INFINITY);
  const __m512 x = _mm512_loadu_ps(a.byte), y = _mm512_loadu_ps(b.byte);
  const auto bits = [](__m512 v) { return _mm512_castps_si512(v); };
  Bytes rounded;
  for (int i = 0; i < 16; ++i) rounded.set<int32_t>(i, to_int32(a.get<float>(i)));
  expect("cvtps_epi32", _mm512_cvtps_epi32(x), rounded);
  expect("cvt_roundps_epi32",
         _mm512_cvt_roundps_epi32(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), rounded);
  // minps and maxps return the second operand when either is NaN.
  expect("min_ps", bits(_mm512_min_ps(x, y)),
         lanes<float>(a, b, [](float p, float q) { return p < q ? p : q; }));
  expect("max_ps", bits(_mm512_max_ps(x, y)),
         lanes<float>(a, b, [](float p, float q) { return p > q ? p : q; }));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  expect("cmp_ps_mask, mask_mov_ps", bits(_mm512_mask_mov_ps(y, nan, x)),
         lanes<float>(a, b, [](float p, float q) { return p != p ? p : q; }));
  a.set<float>(3, 1.5f);  // the sign of a computed NaN is not specified by C
  a.set<float>(5, 0.1f);
  a.set<float>(7, -0.3f);
  const __m512 z = _mm512_loadu_ps(a.byte);
  expect("mul_ps", bits(_mm512_mul_ps(z, y)),
         lanes<float>(a, b, [](float p, float q) { return p * q; }));
  expect("add_ps", bits(_mm512_add_ps(z, y)),
         lanes<float>(a, b, [](float p, float q) { return p + q; }));
  expect("sub_ps", bits(_mm512_sub_ps(z, y)),
         lanes<float>(a, b, [](float p, float q) { return p - q; }));
  // An addend that cancels the rounded product leaves its error: 0 from two roundings.
  const Bytes cancel = lanes<float>(a, b, [](float p, float q) { return -(p * q); });
  expect("fmadd_ps", bits(_mm512_fmadd_ps(z, y, _mm512_loadu_ps(cancel.byte))),
         lanes<float>(a, b, [](float p, float q) { return std::fma(p, q, -(p * q)); }));
  const __m512 seven = _mm512_set1_ps(7.0f);
  expect("div_ps", bits(_mm512_div_ps(z, seven)),
         lanes<float>(a, b, [](float p, float) { return p / 7.0f; }));
}

void check_masks(const Bytes& a, const Bytes& b) {
  uint64_t mask;
  std::memcpy(&mask, b.byte, 8);
  Bytes zeroed{}, stored = b;
  for (int i = 0; i < 64; ++i) {
    if (mask >> i & 1) zeroed.byte[i] = stored.byte[i] = a.byte[i];
  }
  expect("maskz_loadu_epi8", _mm512_maskz_loadu_epi8(mask, a.byte), zeroed);
  expect("mask_loadu_epi8", _mm512_mask_loadu_epi8(b.vector(), mask, a.byte), stored);
  Bytes memory = b;
  _mm512_mask_storeu_epi8(memory.byte, mask, a.vector());
  expect("mask_storeu_epi8", memory.vector(), stored);
  expect("mask_blend_epi8", _mm512_mask_blend_epi8(mask, b.vector(), a.vector()), stored);
  int32_t sum = 0, best = INT32_MIN;
  for (int i = 0; i < 16; ++i) {
    sum = static_cast<int32_t>(static_cast<uint32_t>(sum) + a.get<uint32_t>(i));
    if (a.get<int32_t>(i) > best) best = a.get<int32_t>(i);
  }
  if (_mm512_reduce_add_epi32(a.vector()) != sum) ++failures, std::puts("FAIL reduce_add_epi32");
  if (_mm512_reduce_max_epi32(a.vector()) != best) ++failures, std::puts("FAIL reduce_max_epi32");
}

}  // namespace

int main() {
  constexpr int kRounds = 20000;
  for (int round = 0; round < kRounds; ++round) {
    const Bytes a = random_bytes(), b = random_bytes(), c = random_bytes();
    check_dot(a, b, c);
    check_pack(a, b);
    check_arithmetic(a, b);
    check_permute(a, b, c);
    check_convert(a);
    check_float();
    check_masks(a, b);
  }
  std::printf("emulation_check: %d rounds, seed 20240229, %d failures\n", kRounds, failures);
  return failures == 0 ? 0 : 1;
}

// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/matmul_s8/matmul_s8.h"
#include "kernels/matmul_s8/transpose_x86.h"
#include "kernels/simd/requant_avx512.h"
#include "kernels/simd/x86.h"

// vpdpbusd takes one unsigned and one signed operand: B is packed as b - 128. With a whole the sum
// is then
//   sum a * (b - 128)  +  (128 - zb) * sum a  -  za * sum (b - zb),
// the second term a number per row (none for zb = 128), the third one per column, made by pack.
namespace octavo {
namespace {

constexpr int kMr = 8;
constexpr int kNv = 2;
constexpr int kNr = 16 * kNv;
constexpr int kStep = kNr * 4;  // bytes of four k of a block

using S32x16 = int32_t __attribute__((vector_size(64)));  // see gemm_s8/avx512vnni.cc

inline S32x16 dpbusd(S32x16 acc, __m512i a_u8x64, __m512i b_s8x64) {
  return reinterpret_cast<S32x16>(
      _mm512_dpbusd_epi32(reinterpret_cast<__m512i>(acc), a_u8x64, b_s8x64));
}

inline __m512i broadcast_k4(const uint8_t* a) {
  int32_t k4;
  std::memcpy(&k4, a, sizeof k4);
  return _mm512_set1_epi32(k4);
}

// Columns j..j+31 of a B whose columns are dense: 4 columns x 16 k at a time. Four adjacent columns
// stand where packs and packus, which work within 128-bit lanes, bring them into natural order.
void pack_dense_columns(const MatmulS8Pack& p, int64_t j, uint8_t* out) {
  const __m128i flip = _mm_set1_epi8(static_cast<char>(0x80));
  uint8_t bounce[4][16];
  for (int64_t k = 0; k < p.k; k += 16) {
    for (int g = 0; g < kNr / 4; ++g) {
      __m128i column[4];
      for (int c = 0; c < 4; ++c) {
        const int64_t at = j + 4 * g + c;
        const int64_t valid = at < p.n ? p.k - k : 0;
        const uint8_t* in = valid > 0 ? p.b + at * p.n_stride + k : p.b;
        const uint8_t* bytes = whole<16>(in, valid, 0x80, bounce[c]);
        const __m128i b_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
        column[c] = _mm_xor_si128(b_u8x16, flip);
      }
      const int position = g % 2 * 16 + g / 2 * 4;
      store_transposed(column, out + k / 4 * kStep + position * 4, kStep);
    }
  }
}

// The same of a B whose rows are dense: 4 rows interleaved.
void pack_dense_rows(const MatmulS8Pack& p, int64_t j, uint8_t* out) {
  const __m256i flip = _mm256_set1_epi8(static_cast<char>(0x80));
  alignas(32) uint8_t bounce[kNr];
  for (int64_t k = 0; k < p.k; k += 4, out += kStep) {
    __m256i row[4];
    for (int r = 0; r < 4; ++r) {
      const int64_t valid = k + r < p.k ? p.n - j : 0;
      const uint8_t* in = valid > 0 ? p.b + (k + r) * p.k_stride + j : p.b;
      const uint8_t* bytes = whole<kNr>(in, valid, 0x80, bounce);
      const __m256i b_u8x32 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
      row[r] = _mm256_xor_si256(b_u8x32, flip);
    }
    // by lane: lo holds columns 0..7 and 16..23, hi 8..15 and 24..31
    const __m256i lo01 = _mm256_unpacklo_epi8(row[0], row[1]);
    const __m256i lo23 = _mm256_unpacklo_epi8(row[2], row[3]);
    const __m256i hi01 = _mm256_unpackhi_epi8(row[0], row[1]);
    const __m256i hi23 = _mm256_unpackhi_epi8(row[2], row[3]);
    const __m256i c0 = _mm256_unpacklo_epi16(lo01, lo23), c4 = _mm256_unpackhi_epi16(lo01, lo23);
    const __m256i c8 = _mm256_unpacklo_epi16(hi01, hi23), c12 = _mm256_unpackhi_epi16(hi01, hi23);
    __m256i* to = reinterpret_cast<__m256i*>(out);
    _mm256_store_si256(to, _mm256_permute2x128_si256(c0, c8, 0x20));
    _mm256_store_si256(to + 1, _mm256_permute2x128_si256(c0, c8, 0x31));
    _mm256_store_si256(to + 2, _mm256_permute2x128_si256(c4, c12, 0x20));
    _mm256_store_si256(to + 3, _mm256_permute2x128_si256(c4, c12, 0x31));
  }
}

// -za * sum_k (b - zb) for each column, from the packed b - 128. Padding holds 0.
void store_corrections(const MatmulS8Pack& p, uint8_t* block) {
  const __m512i ones = _mm512_set1_epi8(1);
  const int32_t za = p.a_zero_point;
  const __m512i factor = _mm512_set1_epi32(-za);
  const __m512i offset = _mm512_set1_epi32(-za * p.k * (128 - p.b_zero_point));
  for (int v = 0; v < kNv; ++v) {
    __m512i sum = _mm512_setzero_si512();
    const uint8_t* w = block + kNr * 4 + 64 * v;
    for (int64_t k = 0; k < p.k; k += 4, w += kStep) {
      sum = _mm512_dpbusd_epi32(sum, ones, _mm512_load_si512(w));
    }
    const __m512i scaled = _mm512_mullo_epi32(sum, factor);
    _mm512_store_si512(block + 64 * v, _mm512_add_epi32(scaled, offset));
  }
}

// (128 - zb) * sum of k bytes.
int32_t row_correction(const uint8_t* a, int32_t k, int32_t b_zero_point) {
  if (b_zero_point == 128) return 0;
  __m512i sum = _mm512_setzero_si512();
  for (int32_t i = 0; i < k; i += 64) {
    const __mmask64 lanes = k - i >= 64 ? ~0ull : (1ull << (k - i)) - 1;
    const __m512i a_u8x64 = _mm512_maskz_loadu_epi8(lanes, a + i);
    sum = _mm512_dpbusd_epi32(sum, a_u8x64, _mm512_set1_epi8(1));
  }
  alignas(64) int32_t lane[16];
  _mm512_store_si512(lane, sum);
  int32_t total = 0;
  for (const int32_t value : lane) total += value;
  return (128 - b_zero_point) * total;
}

template <int MR, class Epilogue>
inline void tile(const MatmulS8Args& args, const uint8_t* a, const int32_t* correction,
                 const uint8_t* block, uint8_t* c, int64_t valid, int n, const Epilogue& epilogue) {
  const uint8_t* row[MR];
  S32x16 acc[MR][kNv];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    row[i] = a + (i < valid ? i : valid - 1) * args.a_stride;
    const __m512i shift = _mm512_set1_epi32(correction[i]);
#pragma GCC unroll 2
    for (int v = 0; v < kNv; ++v) {
      acc[i][v] =
          reinterpret_cast<S32x16>(_mm512_add_epi32(shift, _mm512_load_si512(block + 64 * v)));
    }
  }
  const uint8_t* w = block + kNr * 4;
  for (int64_t k = 0; k < args.k; k += 4, w += kStep) {
    const __m512i b0_s8x64 = _mm512_load_si512(w), b1_s8x64 = _mm512_load_si512(w + 64);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const __m512i a_u8x64 = broadcast_k4(row[i] + k);
      acc[i][0] = dpbusd(acc[i][0], a_u8x64, b0_s8x64);
      acc[i][1] = dpbusd(acc[i][1], a_u8x64, b1_s8x64);
    }
  }
  const __m512 scale[kNv] = {_mm512_set1_ps(args.scale), _mm512_set1_ps(args.scale)};
  const __mmask32 lanes = ~uint32_t{0} >> (32 - n);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    if (i >= valid) break;
    const __m512i sums[kNv] = {reinterpret_cast<__m512i>(acc[i][0]),
                               reinterpret_cast<__m512i>(acc[i][1])};
    _mm256_mask_storeu_epi8(c + i * args.c_stride, lanes, epilogue.to_u8(sums, scale));
  }
}

template <class Epilogue>
void run(const MatmulS8Args& args) {
  const Epilogue epilogue(args.requant);
  const int64_t block_bytes = matmul_s8_block_bytes(kNr, 1, args.k);
  for (int64_t i = 0; i < args.m; i += kMr) {
    const int64_t valid = args.m - i < kMr ? args.m - i : kMr;
    const uint8_t* a = args.a + i * args.a_stride;
    int32_t correction[kMr] = {};
    for (int64_t r = 0; r < valid; ++r) {
      correction[r] = row_correction(a + r * args.a_stride, args.k, args.b_zero_point);
    }
    const uint8_t* block = args.packed;
    for (int32_t j = 0; j < args.n; j += kNr, block += block_bytes) {
      const int n = args.n - j < kNr ? args.n - j : kNr;
      uint8_t* c = args.c + i * args.c_stride + j;
      if (valid == 1) {
        tile<1>(args, a, correction, block, c, valid, n, epilogue);
      } else {
        tile<kMr>(args, a, correction, block, c, valid, n, epilogue);
      }
    }
  }
}

}  // namespace

void pack_matmul_s8_avx512vnni(const MatmulS8Pack& args) {
  uint8_t* block = args.packed;
  for (int64_t j = 0; j < args.n; j += kNr, block += matmul_s8_block_bytes(kNr, 1, args.k)) {
    if (args.n_stride == 1) {
      pack_dense_rows(args, j, block + kNr * 4);
    } else {
      pack_dense_columns(args, j, block + kNr * 4);
    }
    store_corrections(args, block);
  }
}

void matmul_s8_8x32_avx512vnni(const MatmulS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx512>(args);
  }
}

}  // namespace octavo

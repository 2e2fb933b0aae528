// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/matmul_s8/matmul_s8.h"
#include "kernels/matmul_s8/transpose_x86.h"
#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/x86.h"

// vpmaddwd on int16, exact for any bytes: vpmaddubsw saturates, and what it needs to be safe is
// known of weights only. Both operands are widened beforehand, B by pack and the rows of a tile
// once for all its columns, so the loop is 8 multiplies and 8 additions per two k: at most 32 MAC
// per cycle. 8 accumulators + 2 B + 1 A + 1 temporary.
namespace octavo {
namespace {

constexpr int kMr = 4;
constexpr int kNr = 16;
constexpr int kHalf = 2;                // int16 per dword
constexpr int kStep = kNr * kHalf * 2;  // bytes of two k of a block

// Where four adjacent columns stand among the 16 dwords of a step, so that packs and packus, which
// work within 128-bit lanes, emit bytes in natural order.
constexpr int kPosition[4] = {0, 8, 4, 12};

inline __m256i load_x32(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }

inline __m128i load_u8x8(const uint8_t* p) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
}

// Columns j..j+15 of a B whose columns are dense: 4 columns x 8 k at a time.
void pack_dense_columns(const MatmulS8Pack& p, int64_t j, uint8_t* out) {
  const __m128i zero_s16x8 = _mm_set1_epi16(p.b_zero_point);
  uint8_t bounce[4][8];
  for (int64_t k = 0; k < p.k; k += 8) {
    for (int g = 0; g < 4; ++g) {
      __m128i column[4];
      for (int c = 0; c < 4; ++c) {
        const int64_t at = j + 4 * g + c;
        const int64_t valid = at < p.n ? p.k - k : 0;
        const uint8_t* in = valid > 0 ? p.b + at * p.n_stride + k : p.b;
        const __m128i b_u8x8 = load_u8x8(whole<8>(in, valid, p.b_zero_point, bounce[c]));
        column[c] = _mm_sub_epi16(_mm_cvtepu8_epi16(b_u8x8), zero_s16x8);
      }
      store_transposed(column, out + k / 2 * kStep + kPosition[g] * 4, kStep);
    }
  }
}

inline __m256i load_row(const MatmulS8Pack& p, int64_t k, int64_t j, uint8_t* bounce) {
  const int64_t valid = k < p.k ? p.n - j : 0;
  const uint8_t* in = valid > 0 ? p.b + k * p.k_stride + j : p.b;
  const uint8_t* row = whole<kNr>(in, valid, p.b_zero_point, bounce);
  const __m128i b_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(row));
  return _mm256_sub_epi16(_mm256_cvtepu8_epi16(b_u8x16), _mm256_set1_epi16(p.b_zero_point));
}

// The same of a B whose rows are dense. unpack works within lanes as well: no permutation is left.
void pack_dense_rows(const MatmulS8Pack& p, int64_t j, uint8_t* out) {
  alignas(16) uint8_t bounce[kNr];
  for (int64_t k = 0; k < p.k; k += 2, out += kStep) {
    const __m256i even = load_row(p, k, j, bounce), odd = load_row(p, k + 1, j, bounce);
    _mm256_store_si256(reinterpret_cast<__m256i*>(out), _mm256_unpacklo_epi16(even, odd));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out) + 1, _mm256_unpackhi_epi16(even, odd));
  }
}

// -za * sum_k (b - zb) for each column.
void store_corrections(const MatmulS8Pack& p, uint8_t* block) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i factor = _mm256_set1_epi32(-static_cast<int32_t>(p.a_zero_point));
  __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  const uint8_t* w = block + kNr * 4;
  for (int64_t k = 0; k < p.k; k += 2, w += kStep) {
    for (int v = 0; v < 2; ++v) {
      sum[v] = _mm256_add_epi32(sum[v], _mm256_madd_epi16(load_x32(w + 32 * v), ones));
    }
  }
  for (int v = 0; v < 2; ++v) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(block) + v, _mm256_mullo_epi32(sum[v], factor));
  }
}

inline __m256i broadcast_k2(const int16_t* a) {
  int32_t k2;
  std::memcpy(&k2, a, sizeof k2);
  return _mm256_set1_epi32(k2);
}

void widen_row(const uint8_t* a, int64_t padded_k, int16_t* out) {
  for (int64_t k = 0; k < padded_k; k += kMatmulS8KUnit) {
    const __m128i a_u8x16 = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + k));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + k), _mm256_cvtepu8_epi16(a_u8x16));
  }
}

struct Rows {
  const int16_t* wide;  // [MR][padded k]
  int64_t padded_k;
  int32_t pairs;  // ceil(k / 2): what A holds past k is multiplied by 0
};

template <int MR>
inline void accumulate(const Rows& rows, const uint8_t* w, __m256i (&acc)[MR][2]) {
  const int16_t* a = rows.wide;
  const ptrdiff_t step = rows.padded_k;
#pragma GCC unroll 2
  for (int32_t p = 0; p < rows.pairs; ++p, a += kHalf, w += kStep) {
    const __m256i b0_s16x16 = load_x32(w), b1_s16x16 = load_x32(w + 32);
#pragma GCC unroll 4
    for (int i = 0; i < MR; ++i) {
      const __m256i a_s16x16 = broadcast_k2(a + i * step);
      acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(a_s16x16, b0_s16x16));
      acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(a_s16x16, b1_s16x16));
    }
  }
}

// `valid` of MR rows are written, n of 16 columns.
template <int MR, class Epilogue>
inline void tile(const MatmulS8Args& args, const Rows& rows, const uint8_t* block, uint8_t* c,
                 int64_t valid, int n, const Epilogue* epilogue) {
  __m256i acc[MR][2];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) {
    acc[i][0] = load_x32(block);
    acc[i][1] = load_x32(block + 32);
  }
  accumulate<MR>(rows, block + kNr * 4, acc);
  __asm__("" : "+r"(epilogue));  // else gcc loads its constants before the loop and spills in it
  const __m256 scale = _mm256_set1_ps(args.scale);
  __m128i y_u8x16[MR];
#pragma GCC unroll 4
  for (int i = 0; i < MR; ++i) y_u8x16[i] = epilogue->to_u8(acc[i][0], acc[i][1], scale, scale);
  for (int64_t i = 0; i < valid; ++i) store_u8x16(c + i * args.c_stride, y_u8x16[i], n);
}

template <class Epilogue>
void run(const MatmulS8Args& args) {
  const Epilogue epilogue(args.requant);
  const int64_t padded_k = matmul_s8_padded_k(args.k);
  const int64_t block_bytes = matmul_s8_block_bytes(kNr, 2, args.k);
  int16_t* wide = reinterpret_cast<int16_t*>(args.wide);
  const Rows rows{wide, padded_k, (args.k + 1) / 2};
  for (int64_t i = 0; i < args.m; i += kMr) {
    const int64_t valid = args.m - i < kMr ? args.m - i : kMr;
    for (int64_t r = 0; r < valid; ++r) {
      widen_row(args.a + (i + r) * args.a_stride, padded_k, wide + r * padded_k);
    }
    // rows past the last one hold what they held before: computed, not stored
    const uint8_t* block = args.packed;
    for (int32_t j = 0; j < args.n; j += kNr, block += block_bytes) {
      const int n = args.n - j < kNr ? args.n - j : kNr;
      uint8_t* c = args.c + i * args.c_stride + j;
      if (valid == 1) {
        tile<1>(args, rows, block, c, 1, n, &epilogue);
      } else {
        tile<kMr>(args, rows, block, c, valid, n, &epilogue);
      }
    }
  }
}

}  // namespace

void pack_matmul_s8_avx2(const MatmulS8Pack& args) {
  uint8_t* block = args.packed;
  for (int64_t j = 0; j < args.n; j += kNr, block += matmul_s8_block_bytes(kNr, 2, args.k)) {
    if (args.n_stride == 1) {
      pack_dense_rows(args, j, block + kNr * 4);
    } else {
      pack_dense_columns(args, j, block + kNr * 4);
    }
    store_corrections(args, block);
  }
}

void matmul_s8_4x16_avx2(const MatmulS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run<FloatRneAvx2>(args);
  }
}

}  // namespace octavo

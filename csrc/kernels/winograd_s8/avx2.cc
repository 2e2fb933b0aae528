// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/simd/partial_u8.h"
#include "kernels/simd/requant_avx2.h"
#include "kernels/simd/x86.h"
#include "kernels/winograd_s8/winograd_s8.h"

// 6 tiles x 16 channels: 12 accumulators, 2 weights, 1 broadcast and 1 product fill the 16
// registers.
namespace octavo {
namespace {

constexpr int kMr = 6;
constexpr int kNr = 16;
constexpr int kChannels = 16;  // of a vector of int16

inline __m256i load(const void* p) { return _mm256_load_si256(static_cast<const __m256i*>(p)); }
inline void store(void* p, __m256i v) { _mm256_store_si256(static_cast<__m256i*>(p), v); }

// B^T d for every lane, int16. Sums may wrap on the way; the last of each column cannot.
inline void input_1d(const __m256i (&d)[6], __m256i (&o)[6]) {
  const __m256i d42 = _mm256_sub_epi16(d[4], d[2]);
  const __m256i d31 = _mm256_sub_epi16(d[3], d[1]);
  const __m256i even = _mm256_sub_epi16(d[4], _mm256_slli_epi16(d[2], 2));
  const __m256i odd = _mm256_sub_epi16(d[3], _mm256_slli_epi16(d[1], 2));
  const __m256i d31x2 = _mm256_add_epi16(d31, d31);
  o[0] = _mm256_add_epi16(_mm256_slli_epi16(_mm256_sub_epi16(d[0], d[2]), 2), d42);
  o[1] = _mm256_add_epi16(even, odd);
  o[2] = _mm256_sub_epi16(even, odd);
  o[3] = _mm256_add_epi16(d42, d31x2);
  o[4] = _mm256_sub_epi16(d42, d31x2);
  o[5] = _mm256_sub_epi16(_mm256_sub_epi16(d[5], d[3]), _mm256_slli_epi16(d31, 2));
}

// A^T m for every lane, int32 modulo 2^32.
inline void output_1d(const __m256i (&m)[6], __m256i (&o)[4]) {
  const __m256i a = _mm256_add_epi32(m[1], m[2]), b = _mm256_sub_epi32(m[1], m[2]);
  const __m256i c = _mm256_add_epi32(m[3], m[4]), d = _mm256_sub_epi32(m[3], m[4]);
  o[0] = _mm256_add_epi32(_mm256_add_epi32(m[0], a), c);
  o[1] = _mm256_add_epi32(b, _mm256_add_epi32(d, d));
  o[2] = _mm256_add_epi32(a, _mm256_slli_epi32(c, 2));
  const __m256i d2m5 = _mm256_add_epi32(_mm256_add_epi32(d, d), m[5]);
  o[3] = _mm256_add_epi32(b, _mm256_slli_epi32(d2m5, 2));
}

// Pixels past the tile's outputs only reach outputs that nobody stores: any pixel will do.
inline int clip(int i, int outputs) { return i < outputs + 2 ? i : outputs + 1; }

inline void transform_channels(const uint8_t* const (&rows)[6], const ptrdiff_t (&cols)[6],
                               ptrdiff_t v_plane, int16_t* v) {
  alignas(32) __m256i columns[6][6];
  for (int j = 0; j < 6; ++j) {
    __m256i d[6], o[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      d[i] = _mm256_cvtepu8_epi16(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i] + cols[j])));
    }
    input_1d(d, o);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) columns[i][j] = o[i];
  }
  for (int i = 0; i < 6; ++i) {
    __m256i o[6];
    input_1d(columns[i], o);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) store(v + (6 * i + j) * v_plane, o[j]);
  }
}

inline __m256i broadcast_pair(const int16_t* v) {
  int32_t pair;
  std::memcpy(&pair, v, sizeof pair);
  return _mm256_set1_epi32(pair);
}

// MR tiles x 16 channels of one point. A step is MR cycles: 2 * MR multiplies on two of four ports,
// as many additions on the others. The weights of the next point, which are the next in memory, are
// fetched meanwhile: no other point reads them, and the hardware only sees short runs again and
// again.
template <int MR>
inline void multiply(const int16_t* v, ptrdiff_t v_tile, const int16_t* u, int steps,
                     const int32_t* start, int32_t* m) {
  __m256i acc[MR][2];
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    acc[i][0] = load(start);
    acc[i][1] = load(start + 8);
  }
  const ptrdiff_t next_point = static_cast<ptrdiff_t>(steps) * (2 * kNr);
  const int16_t* v3 = v + 3 * v_tile;
  for (const int16_t* end = v + 2 * steps; v != end; v += 2, v3 += 2, u += 2 * kNr) {
    const __m256i u0 = load(u), u1 = load(u + 16);
    _mm_prefetch(reinterpret_cast<const char*>(u + next_point), _MM_HINT_T0);
#pragma GCC unroll 6
    for (int i = 0; i < MR; ++i) {
      const __m256i a = broadcast_pair(i < 3 ? v + i * v_tile : v3 + (i - 3) * v_tile);
      acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(a, u0));
      acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(a, u1));
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    store(m + i * kNr, acc[i][0]);
    store(m + i * kNr + 8, acc[i][1]);
  }
}

// All tiles of one point.
inline void multiply_point(const WinogradS8Args& args, const int16_t* v, const int16_t* u,
                           const int32_t* start, int32_t* m) {
  const ptrdiff_t v_tile = args.v_tile;
  const int steps = args.packed.steps;
  for (int left = args.tile_count; left > 0;) {
    int count = left < kMr ? left : kMr;
    if (left == 7 || left == 8) count = 4;  // 6 and a rest of 1 or 2 would starve the multipliers
    switch (count) {
      case 1: multiply<1>(v, v_tile, u, steps, start, m); break;
      case 2: multiply<2>(v, v_tile, u, steps, start, m); break;
      case 3: multiply<3>(v, v_tile, u, steps, start, m); break;
      case 4: multiply<4>(v, v_tile, u, steps, start, m); break;
      case 5: multiply<5>(v, v_tile, u, steps, start, m); break;
      default: multiply<6>(v, v_tile, u, steps, start, m); break;
    }
    left -= count;
    v += count * v_tile;
    m += count * kNr;
  }
}

// One tile, 16 channels.
template <class Epilogue>
inline void finish(const WinogradS8Args& args, const WinogradS8Tile& tile, const int32_t* m,
                   ptrdiff_t channel, const float* scale, int n, const Epilogue& epilogue) {
  alignas(32) __m256i rows[4][2][6];
  for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m256i p[6], o[4];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) p[i] = load(m + (6 * i + j) * args.m_plane + 8 * h);
      output_1d(p, o);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) rows[i][h][j] = o[i];
    }
  }
  const __m256i inverse9 = _mm256_set1_epi32(0x38E38E39);
  const __m256 scale_lo = _mm256_load_ps(scale), scale_hi = _mm256_load_ps(scale + 8);
  const bool whole = tile.cols == kWinogradTile && n == kNr;
  for (int i = 0; i < tile.rows; ++i) {
    __m256i lo[4], hi[4];
    output_1d(rows[i][0], lo);
    output_1d(rows[i][1], hi);
    __m128i y_u8x16[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      y_u8x16[j] = epilogue.to_u8(_mm256_mullo_epi32(lo[j], inverse9),
                                  _mm256_mullo_epi32(hi[j], inverse9), scale_lo, scale_hi);
    }
    uint8_t* out = tile.out + i * args.out_row_stride + channel;
    if (whole) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j, out += args.out_pixel_stride) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out), y_u8x16[j]);
      }
    } else {
      for (int j = 0; j < tile.cols; ++j, out += args.out_pixel_stride) {
        store_u8x16(out, y_u8x16[j], n);
      }
    }
  }
}

template <class Epilogue>
void run_output(const WinogradS8Args& args) {
  alignas(32) static constexpr int32_t kZeros[kNr] = {};
  const Epilogue epilogue(args.requant);
  const WinogradS8Packed& packed = args.packed;
  const ptrdiff_t u_plane = static_cast<ptrdiff_t>(packed.steps) * (2 * kNr);
  for (int j = args.block_begin; j < args.block_end; ++j) {
    const int16_t* u = packed.weights + j * kWinogradPoints * u_plane;
    for (int e = 0; e < kWinogradPoints; ++e, u += u_plane) {
      const int32_t* start = e == kWinogradBiasPoint ? packed.bias + j * kNr : kZeros;
      multiply_point(args, args.v + e * args.v_plane, u, start, args.m + e * args.m_plane);
    }
    const int left = args.out_channels - j * kNr;
    for (int t = 0; t < args.tile_count; ++t) {
      finish(args, args.tiles[t], args.m + t * kNr, static_cast<ptrdiff_t>(j) * kNr,
             packed.scale + j * kNr, left < kNr ? left : kNr, epilogue);
    }
  }
}

}  // namespace

void winograd_s8_6x16_avx2_input(const WinogradS8Args& args) {
  for (int t = 0; t < args.tile_count; ++t) {
    const WinogradS8Tile& tile = args.tiles[t];
    const uint8_t* rows[6];
    ptrdiff_t cols[6];
    for (int i = 0; i < 6; ++i) {
      rows[i] = tile.in + clip(i, tile.rows) * args.in_row_stride;
      cols[i] = clip(i, tile.cols) * args.in_pixel_stride;
    }
    int16_t* v = args.v + t * args.v_tile;
    for (int c = 0; c < args.in_channels; c += kChannels) {
      transform_channels(rows, cols, args.v_plane, v + c);
      for (const uint8_t*& row : rows) row += kChannels;
    }
  }
}

void winograd_s8_6x16_avx2_output(const WinogradS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run_output<FloatRneAvx2>(args);
  }
}

}  // namespace octavo

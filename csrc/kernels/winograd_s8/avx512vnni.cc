// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/simd/requant_avx512.h"
#include "kernels/simd/x86.h"
#include "kernels/winograd_s8/winograd_s8.h"

// 8 tiles x 32 channels: 16 accumulators; vpdpwssd adds without a product register.
namespace octavo {
namespace {

constexpr int kMr = 8;
constexpr int kNr = 32;
constexpr int kChannels = 32;  // of a vector of int16

// The operand type of the vpdpwssd builtin: see gemm_s8/avx512vnni.cc.
using S32x16 = int32_t __attribute__((vector_size(64)));

inline S32x16 dpwssd(S32x16 acc, __m512i a_s16x32, __m512i b_s16x32) {
  return reinterpret_cast<S32x16>(
      _mm512_dpwssd_epi32(reinterpret_cast<__m512i>(acc), a_s16x32, b_s16x32));
}

// B^T d for every lane, int16. Sums may wrap on the way; the last of each column cannot.
inline void input_1d(const __m512i (&d)[6], __m512i (&o)[6]) {
  const __m512i d42 = _mm512_sub_epi16(d[4], d[2]);
  const __m512i d31 = _mm512_sub_epi16(d[3], d[1]);
  const __m512i even = _mm512_sub_epi16(d[4], _mm512_slli_epi16(d[2], 2));
  const __m512i odd = _mm512_sub_epi16(d[3], _mm512_slli_epi16(d[1], 2));
  const __m512i d31x2 = _mm512_add_epi16(d31, d31);
  o[0] = _mm512_add_epi16(_mm512_slli_epi16(_mm512_sub_epi16(d[0], d[2]), 2), d42);
  o[1] = _mm512_add_epi16(even, odd);
  o[2] = _mm512_sub_epi16(even, odd);
  o[3] = _mm512_add_epi16(d42, d31x2);
  o[4] = _mm512_sub_epi16(d42, d31x2);
  o[5] = _mm512_sub_epi16(_mm512_sub_epi16(d[5], d[3]), _mm512_slli_epi16(d31, 2));
}

// A^T m for every lane, int32 modulo 2^32.
inline void output_1d(const __m512i (&m)[6], __m512i (&o)[4]) {
  const __m512i a = _mm512_add_epi32(m[1], m[2]), b = _mm512_sub_epi32(m[1], m[2]);
  const __m512i c = _mm512_add_epi32(m[3], m[4]), d = _mm512_sub_epi32(m[3], m[4]);
  o[0] = _mm512_add_epi32(_mm512_add_epi32(m[0], a), c);
  o[1] = _mm512_add_epi32(b, _mm512_add_epi32(d, d));
  o[2] = _mm512_add_epi32(a, _mm512_slli_epi32(c, 2));
  const __m512i d2m5 = _mm512_add_epi32(_mm512_add_epi32(d, d), m[5]);
  o[3] = _mm512_add_epi32(b, _mm512_slli_epi32(d2m5, 2));
}

// Pixels past the tile's outputs only reach outputs that nobody stores: any pixel will do.
inline int clip(int i, int outputs) { return i < outputs + 2 ? i : outputs + 1; }

// 36 values stay in registers, all but a few.
inline void transform_channels(const uint8_t* const (&rows)[6], const ptrdiff_t (&cols)[6],
                               ptrdiff_t v_plane, int16_t* v) {
  __m512i columns[6][6];
#pragma GCC unroll 6
  for (int j = 0; j < 6; ++j) {
    __m512i d[6], o[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      d[i] = _mm512_cvtepu8_epi16(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + cols[j])));
    }
    input_1d(d, o);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) columns[i][j] = o[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < 6; ++i) {
    __m512i o[6];
    input_1d(columns[i], o);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) _mm512_store_si512(v + (6 * i + j) * v_plane, o[j]);
  }
}

inline __m512i broadcast_pair(const int16_t* v) {
  int32_t pair;
  std::memcpy(&pair, v, sizeof pair);
  return _mm512_set1_epi32(pair);
}

// MR tiles x 32 channels of one point; fetches the weights of the next one.
template <int MR>
inline void multiply(const int16_t* v, ptrdiff_t v_tile, const int16_t* u, int steps,
                     const int32_t* start, int32_t* m) {
  S32x16 acc[MR][2];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    acc[i][0] = reinterpret_cast<S32x16>(_mm512_load_si512(start));
    acc[i][1] = reinterpret_cast<S32x16>(_mm512_load_si512(start + 16));
  }
  const ptrdiff_t next_point = static_cast<ptrdiff_t>(steps) * (2 * kNr);
  const int16_t* v4 = v + 4 * v_tile;
  for (const int16_t* end = v + 2 * steps; v != end; v += 2, v4 += 2, u += 2 * kNr) {
    const __m512i u0 = _mm512_load_si512(u), u1 = _mm512_load_si512(u + 32);
    _mm_prefetch(reinterpret_cast<const char*>(u + next_point), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(u + next_point + 32), _MM_HINT_T0);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const __m512i a = broadcast_pair(i < 4 ? v + i * v_tile : v4 + (i - 4) * v_tile);
      acc[i][0] = dpwssd(acc[i][0], a, u0);
      acc[i][1] = dpwssd(acc[i][1], a, u1);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    _mm512_store_si512(m + i * kNr, reinterpret_cast<__m512i>(acc[i][0]));
    _mm512_store_si512(m + i * kNr + 16, reinterpret_cast<__m512i>(acc[i][1]));
  }
}

// All tiles of one point.
inline void multiply_point(const WinogradS8Args& args, const int16_t* v, const int16_t* u,
                           const int32_t* start, int32_t* m) {
  const ptrdiff_t v_tile = args.v_tile;
  const int steps = args.packed.steps;
  for (int left = args.tile_count; left > 0;) {
    // 5 to 7 tiles in a row beat 8 and a rest whose few sums wait for each other.
    int count = left <= kMr ? left : left < 2 * kMr ? (left + 1) / 2 : kMr;
    switch (count) {
      case 1: multiply<1>(v, v_tile, u, steps, start, m); break;
      case 2: multiply<2>(v, v_tile, u, steps, start, m); break;
      case 3: multiply<3>(v, v_tile, u, steps, start, m); break;
      case 4: multiply<4>(v, v_tile, u, steps, start, m); break;
      case 5: multiply<5>(v, v_tile, u, steps, start, m); break;
      case 6: multiply<6>(v, v_tile, u, steps, start, m); break;
      case 7: multiply<7>(v, v_tile, u, steps, start, m); break;
      default: multiply<8>(v, v_tile, u, steps, start, m); break;
    }
    left -= count;
    v += count * v_tile;
    m += count * kNr;
  }
}

// One tile, 32 channels.
template <class Epilogue>
inline void finish(const WinogradS8Args& args, const WinogradS8Tile& tile, const int32_t* m,
                   ptrdiff_t channel, const float* scale, int n, const Epilogue& epilogue) {
  alignas(64) __m512i rows[4][2][6];
  for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m512i p[6], o[4];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) {
        p[i] = _mm512_load_si512(m + (6 * i + j) * args.m_plane + 16 * h);
      }
      output_1d(p, o);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) rows[i][h][j] = o[i];
    }
  }
  const __m512i inverse9 = _mm512_set1_epi32(0x38E38E39);
  const __m512 scales[2] = {_mm512_load_ps(scale), _mm512_load_ps(scale + 16)};
  const __mmask32 columns = ~uint32_t{0} >> (32 - n);
  for (int i = 0; i < tile.rows; ++i) {
    __m512i lo[4], hi[4];
    output_1d(rows[i][0], lo);
    output_1d(rows[i][1], hi);
    uint8_t* out = tile.out + i * args.out_row_stride + channel;
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j, out += args.out_pixel_stride) {
      const __m512i acc[2] = {_mm512_mullo_epi32(lo[j], inverse9),
                              _mm512_mullo_epi32(hi[j], inverse9)};
      const __m256i y_u8x32 = epilogue.to_u8(acc, scales);
      if (j < tile.cols) _mm256_mask_storeu_epi8(out, columns, y_u8x32);
    }
  }
}

template <class Epilogue>
void run_output(const WinogradS8Args& args) {
  alignas(64) static constexpr int32_t kZeros[kNr] = {};
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

void winograd_s8_8x32_avx512vnni_input(const WinogradS8Args& args) {
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

void winograd_s8_8x32_avx512vnni_output(const WinogradS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run_output<FloatRneAvx512>(args);
  }
}

}  // namespace octavo

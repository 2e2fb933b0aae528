// SPDX-License-Identifier: Apache-2.0
#include "kernels/simd/partial_neon.h"
#include "kernels/simd/requant_neon.h"
#include "kernels/winograd_s8/winograd_s8.h"

// 6 tiles x 8 channels: 12 accumulators, 6 vectors of V and 2 of weights; smlal takes lanes of the
// lower 16 registers only. A lane makes 4 products, half of what smull and smlal make of bytes, of
// a quarter of the products: for cores without sdot, which makes 16 of bytes. Loads of 64 bits
// issue beside arithmetic on A53.
namespace octavo {
namespace {

constexpr int kMr = 6;
constexpr int kNr = 8;
constexpr int kChannels = 8;  // of a vector of int16

// B^T d for every lane, int16. Bytes are stored as s8: |V| <= 100 * 128.
inline void input_1d(const int16x8_t (&d)[6], int16x8_t (&o)[6]) {
  const int16x8_t d42 = vsubq_s16(d[4], d[2]), d31 = vsubq_s16(d[3], d[1]);
  const int16x8_t even = vsubq_s16(d[4], vshlq_n_s16(d[2], 2));
  const int16x8_t odd = vsubq_s16(d[3], vshlq_n_s16(d[1], 2));
  const int16x8_t d31x2 = vaddq_s16(d31, d31);
  o[0] = vaddq_s16(vshlq_n_s16(vsubq_s16(d[0], d[2]), 2), d42);
  o[1] = vaddq_s16(even, odd);
  o[2] = vsubq_s16(even, odd);
  o[3] = vaddq_s16(d42, d31x2);
  o[4] = vsubq_s16(d42, d31x2);
  o[5] = vsubq_s16(vsubq_s16(d[5], d[3]), vshlq_n_s16(d31, 2));
}

// A^T m for every lane, int32 modulo 2^32.
inline void output_1d(const int32x4_t (&m)[6], int32x4_t (&o)[4]) {
  const int32x4_t a = vaddq_s32(m[1], m[2]), b = vsubq_s32(m[1], m[2]);
  const int32x4_t c = vaddq_s32(m[3], m[4]), d = vsubq_s32(m[3], m[4]);
  const int32x4_t d2 = vaddq_s32(d, d);
  o[0] = vaddq_s32(vaddq_s32(m[0], a), c);
  o[1] = vaddq_s32(b, d2);
  o[2] = vaddq_s32(a, vshlq_n_s32(c, 2));
  o[3] = vaddq_s32(b, vshlq_n_s32(vaddq_s32(d2, m[5]), 2));
}

// Pixels past the tile's outputs only reach outputs that nobody stores: any pixel will do.
inline int clip(int i, int outputs) { return i < outputs + 2 ? i : outputs + 1; }

// Columns first, then rows, in place: 36 vectors are more than there are registers.
inline void transform_channels(const uint8_t* const (&rows)[6], const ptrdiff_t (&cols)[6],
                               ptrdiff_t v_plane, int16_t* v) {
#pragma GCC unroll 1
  for (int j = 0; j < 6; ++j) {
    int16x8_t d[6], o[6];
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) {
      d[i] = vmovl_s8(vreinterpret_s8_u8(vld1_u8(rows[i] + cols[j])));
    }
    input_1d(d, o);
#pragma GCC unroll 6
    for (int i = 0; i < 6; ++i) vst1q_s16(v + (6 * i + j) * v_plane, o[i]);
  }
#pragma GCC unroll 1
  for (int i = 0; i < 6; ++i, v += 6 * v_plane) {
    int16x8_t d[6], o[6];
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) d[j] = vld1q_s16(v + j * v_plane);
    input_1d(d, o);
#pragma GCC unroll 6
    for (int j = 0; j < 6; ++j) vst1q_s16(v + j * v_plane, o[j]);
  }
}

template <int MR, int kLane>
inline void one_channel(const int16x4_t (&v)[MR], const int16_t* u, int32x4_t (&acc)[MR][2]) {
  const int16x4_t lo = vld1_s16(u + kLane * kNr), hi = vld1_s16(u + kLane * kNr + 4);
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    acc[i][0] = vmlal_lane_s16(acc[i][0], lo, v[i], kLane);
    acc[i][1] = vmlal_lane_s16(acc[i][1], hi, v[i], kLane);
  }
}

// MR tiles x 8 channels of one point, four input channels at a time.
template <int MR>
inline void multiply(const int16_t* v, ptrdiff_t v_tile, const int16_t* u, int steps,
                     const int32_t* start, int32_t* m) {
  int32x4_t acc[MR][2];
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    acc[i][0] = vld1q_s32(start);
    acc[i][1] = vld1q_s32(start + 4);
  }
  for (const int16_t* end = v + 2 * steps; v != end; v += 4, u += 4 * kNr) {
    int16x4_t v_s16x4[MR];
#pragma GCC unroll 6
    for (int i = 0; i < MR; ++i) v_s16x4[i] = vld1_s16(v + i * v_tile);
    one_channel<MR, 0>(v_s16x4, u, acc);
    one_channel<MR, 1>(v_s16x4, u, acc);
    one_channel<MR, 2>(v_s16x4, u, acc);
    one_channel<MR, 3>(v_s16x4, u, acc);
  }
#pragma GCC unroll 6
  for (int i = 0; i < MR; ++i) {
    vst1q_s32(m + i * kNr, acc[i][0]);
    vst1q_s32(m + i * kNr + 4, acc[i][1]);
  }
}

// All tiles of one point.
inline void multiply_point(const WinogradS8Args& args, const int16_t* v, const int16_t* u,
                           const int32_t* start, int32_t* m) {
  const ptrdiff_t v_tile = args.v_tile;
  const int steps = args.packed.steps;
  for (int left = args.tile_count; left > 0;) {
    // Few sums wait for each other: 7 to 11 tiles are two halves.
    const int count = left <= kMr ? left : left < 2 * kMr ? (left + 1) / 2 : kMr;
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

inline void store_pixel(uint8_t* out, int8x8_t y, int n) {
  if (n == kNr) {
    vst1_u8(out, vreinterpret_u8_s8(y));
  } else {
    store_few(out, vget_lane_u64(vreinterpret_u64_s8(y), 0), n);
  }
}

// One tile, 8 channels.
template <class Epilogue>
inline void finish(const WinogradS8Args& args, const WinogradS8Tile& tile, const int32_t* m,
                   ptrdiff_t channel, const float* scale, int n, const Epilogue& epilogue) {
  int32x4_t rows[4][2][6];
  for (int j = 0; j < 6; ++j) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      int32x4_t p[6], o[4];
#pragma GCC unroll 6
      for (int i = 0; i < 6; ++i) p[i] = vld1q_s32(m + (6 * i + j) * args.m_plane + 4 * h);
      output_1d(p, o);
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) rows[i][h][j] = o[i];
    }
  }
  constexpr int32_t kInverse9 = 0x38E38E39;
  const float32x4_t lo_scale = vld1q_f32(scale), hi_scale = vld1q_f32(scale + 4);
  const float32x4_t scales[8] = {lo_scale, hi_scale, lo_scale, hi_scale,
                                 lo_scale, hi_scale, lo_scale, hi_scale};
  for (int i = 0; i < tile.rows; ++i) {
    int32x4_t lo[4], hi[4], sums[8];
    output_1d(rows[i][0], lo);
    output_1d(rows[i][1], hi);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      sums[2 * j] = vmulq_n_s32(lo[j], kInverse9);
      sums[2 * j + 1] = vmulq_n_s32(hi[j], kInverse9);
    }
    int8x16_t y[2];
    epilogue.to_s8(sums, scales, y);
    uint8_t* out = tile.out + i * args.out_row_stride + channel;
    const int8x8_t pixels[4] = {vget_low_s8(y[0]), vget_high_s8(y[0]), vget_low_s8(y[1]),
                                vget_high_s8(y[1])};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j, out += args.out_pixel_stride) {
      if (j < tile.cols) store_pixel(out, pixels[j], n);
    }
  }
}

template <class Epilogue>
void run_output(const WinogradS8Args& args) {
  static constexpr int32_t kZeros[kNr] = {};
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

void winograd_s8_6x8_neon_input(const WinogradS8Args& args) {
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

void winograd_s8_6x8_neon_output(const WinogradS8Args& args) {
  switch (args.requant.mode) {
    case RoundingMode::kFloatRne: return run_output<FloatRneNeon>(args);
  }
}

}  // namespace octavo

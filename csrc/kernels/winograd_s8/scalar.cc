// SPDX-License-Identifier: Apache-2.0
// The norm of winograd_s8: the other rows equal this file bit by bit.
#include "kernels/round_scalar.h"
#include "kernels/stored.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace octavo {
namespace {

constexpr int kNr = 4;
constexpr uint32_t kInverse9 = 0x38E38E39u;  // modulo 2^32

// B^T of six values, `step` apart.
void input_1d(const int32_t* d, int step, int32_t* o) {
  const int32_t d0 = d[0], d1 = d[step], d2 = d[2 * step];
  const int32_t d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
  o[0] = 4 * d0 - 5 * d2 + d4;
  o[step] = -4 * d1 - 4 * d2 + d3 + d4;
  o[2 * step] = 4 * d1 - 4 * d2 - d3 + d4;
  o[3 * step] = -2 * d1 - d2 + 2 * d3 + d4;
  o[4 * step] = 2 * d1 - d2 - 2 * d3 + d4;
  o[5 * step] = 4 * d1 - 5 * d3 + d5;
}

// A^T of six values, `step` apart. uint32 wraps by definition where int32 would be undefined.
void output_1d(const uint32_t* m, int step, uint32_t* o) {
  const uint32_t m1 = m[step], m2 = m[2 * step], m3 = m[3 * step], m4 = m[4 * step];
  o[0] = m[0] + m1 + m2 + m3 + m4;
  o[step] = m1 - m2 + 2 * (m3 - m4);
  o[2 * step] = m1 + m2 + 4 * (m3 + m4);
  o[3 * step] = m1 - m2 + 8 * (m3 - m4) + 4 * m[5 * step];
}

// Pixels past the tile's outputs only reach outputs that nobody stores: any pixel will do.
int clip(int i, int outputs) { return i < outputs + 2 ? i : outputs + 1; }

void transform_channel(const WinogradS8Args& args, const WinogradS8Tile& tile, int c, int16_t* v) {
  int32_t d[kWinogradPoints];
  for (int i = 0; i < kWinogradWindow; ++i) {
    const uint8_t* row = tile.in + clip(i, tile.rows) * args.in_row_stride + c;
    for (int j = 0; j < kWinogradWindow; ++j) {
      d[i * kWinogradWindow + j] = number_of(row[clip(j, tile.cols) * args.in_pixel_stride]);
    }
  }
  for (int j = 0; j < kWinogradWindow; ++j) input_1d(d + j, kWinogradWindow, d + j);
  for (int i = 0; i < kWinogradWindow; ++i) {
    input_1d(d + i * kWinogradWindow, 1, d + i * kWinogradWindow);
  }
  for (int e = 0; e < kWinogradPoints; ++e) v[e * args.v_plane + c] = static_cast<int16_t>(d[e]);
}

void multiply(const WinogradS8Args& args, int block, int tile,
              uint32_t (&m)[kWinogradPoints][kNr]) {
  const WinogradS8Packed& packed = args.packed;
  const int16_t* u =
      packed.weights + static_cast<ptrdiff_t>(block) * kWinogradPoints * packed.steps * (kNr * 2);
  for (int e = 0; e < kWinogradPoints; ++e) {
    const int16_t* v = args.v + e * args.v_plane + tile * args.v_tile;
    for (int n = 0; n < kNr; ++n) {
      m[e][n] = e == kWinogradBiasPoint ? static_cast<uint32_t>(packed.bias[block * kNr + n]) : 0;
    }
    for (int s = 0; s < packed.steps; ++s, u += kNr * 2) {
      for (int n = 0; n < kNr; ++n) {
        // Channels past the last one of the layer have weight 0, but v holds nothing there.
        for (int i = 0; i < 2 && 2 * s + i < args.in_channels; ++i) {
          m[e][n] += static_cast<uint32_t>(v[2 * s + i] * u[n * 2 + i]);
        }
      }
    }
  }
}

void store_column(const WinogradS8Args& args, const WinogradS8Tile& tile, int c,
                  const uint32_t (&y)[kWinogradPoints]) {
  const Requant& rq = args.requant;
  for (int i = 0; i < tile.rows; ++i) {
    for (int j = 0; j < tile.cols; ++j) {
      const int32_t sum64 = static_cast<int32_t>(y[i * kWinogradWindow + j] * kInverse9);
      const float value = static_cast<float>(sum64) * args.packed.scale[c];
      tile.out[i * args.out_row_stride + j * args.out_pixel_stride + c] =
          stored_of(round_clamped(value, rq.lo, rq.hi) + rq.zero_point);
    }
  }
}

}  // namespace

void winograd_s8_1x4_scalar_input(const WinogradS8Args& args) {
  for (int t = 0; t < args.tile_count; ++t) {
    int16_t* v = args.v + t * args.v_tile;
    for (int c = 0; c < args.in_channels; ++c) transform_channel(args, args.tiles[t], c, v);
  }
}

void winograd_s8_1x4_scalar_output(const WinogradS8Args& args) {
  for (int block = args.block_begin; block < args.block_end; ++block) {
    for (int t = 0; t < args.tile_count; ++t) {
      uint32_t m[kWinogradPoints][kNr];
      multiply(args, block, t, m);
      for (int n = 0; n < kNr && block * kNr + n < args.out_channels; ++n) {
        uint32_t y[kWinogradPoints];
        for (int e = 0; e < kWinogradPoints; ++e) y[e] = m[e][n];
        for (int j = 0; j < kWinogradWindow; ++j) output_1d(y + j, kWinogradWindow, y + j);
        for (int i = 0; i < kWinogradTile; ++i) {
          output_1d(y + i * kWinogradWindow, 1, y + i * kWinogradWindow);
        }
        store_column(args, args.tiles[t], block * kNr + n, y);
      }
    }
  }
}

}  // namespace octavo

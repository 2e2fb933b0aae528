// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// winograd_s8: 3x3 convolution, stride 1, u8 -> u8, four times fewer products than gemm_s8 and the
// same bytes. F(4x4, 3x3) with everything kept an integer (docs/numerics.md, "Winograd"):
//
//   V = B^T x B        36 int16 per channel and tile: at most 68 * 255, whatever the bytes are
//   U = G w G^T        36 int16 per weight window; G is 24 times the rational one, less a factor of
//                      4 in its last row, which A^T puts back
//   M = sum_c U * V    int32 modulo 2^32
//   Y = A^T M A        modulo 2^32: 576 * y
//
// 576 = 64 * 9 and 9 has an inverse modulo 2^32, so Y / 9 = 64 * y modulo 2^32, which is 64 * y
// itself while |y| < 2^25: `prepare` proves that. Nothing is rounded before requantization.
//
// Zero points are not seen here: pack folds -z_a * sum(w) into the bias, padding holds z_a.
namespace octavo {

inline constexpr int kWinogradTile = 4;    // outputs of a tile, each way
inline constexpr int kWinogradWindow = 6;  // pixels that they see
inline constexpr int kWinogradPoints = kWinogradWindow * kWinogradWindow;
// The point whose product enters every output of the tile once: the bias starts there.
inline constexpr int kWinogradBiasPoint = kWinogradWindow + 1;

struct WinogradS8Tile {
  const uint8_t* in;  // pixel (0, 0) of the window
  uint8_t* out;       // output pixel (0, 0)
  int32_t rows;       // outputs that exist, 1..4: nothing else is written, and of the window only
  int32_t cols;       // rows + 2 by cols + 2 pixels are read
};

// Weights of blocks of nr output channels.
struct WinogradS8Packed {
  // U, 64-byte aligned, 0 past the channels: [blocks][36][steps][nr][2], or [steps][2][nr] for
  // kernels that take channels in groups of one.
  const int16_t* weights;
  const int32_t* bias;  // [blocks][nr] 576 * bias modulo 2^32, in the kernel's column order
  const float* scale;   // [blocks][nr] multiplier / 64, in the kernel's column order
  int32_t steps;        // pairs of input channels, even
};

// A panel of tiles. `input` makes v from the tiles' windows, `output` the tiles' outputs from v.
struct WinogradS8Args {
  const WinogradS8Tile* tiles;
  int32_t tile_count;
  int32_t in_channels;
  ptrdiff_t in_row_stride, in_pixel_stride;  // bytes; a pixel is read to a multiple of the
                                             // kernel's `channels`, what lies there is irrelevant
  ptrdiff_t out_row_stride, out_pixel_stride;
  int16_t* v;         // [36][tile_count][v_tile], 64-byte aligned
  ptrdiff_t v_tile;   // elements, see winograd_s8_panel
  ptrdiff_t v_plane;  // elements
  int32_t* m;         // [36][tile_count][nr], 64-byte aligned: scratch of `output`
  ptrdiff_t m_plane;  // elements
  WinogradS8Packed packed;
  int32_t out_channels;
  int32_t block_begin, block_end;  // block j writes channels [j * nr, min(j * nr + nr, channels))
  Requant requant;
};

using WinogradS8Fn = void (*)(const WinogradS8Args& args);

struct WinogradS8Kernel {
  const char* name;
  Isa isa;
  WinogradS8Fn input, output;
  int16_t nr;
  int16_t channels;  // input channels that `input` handles at once: v_tile is a multiple
  int16_t group;     // input channels that lie side by side in packed weights: 2 or 1
  // Column held at position p of a packed block: the order in which packs/packus emit bytes.
  int16_t (*column)(int p);
};

// All rows of kernels.inc that were built, best first, scalar last.
const WinogradS8Kernel* winograd_s8_kernels(int* count);
const WinogradS8Kernel* find_winograd_s8(const char* name);  // nullptr when absent
const WinogradS8Kernel& select_winograd_s8(Isa cap);

// Memory of a panel. Planes are an odd number of cache lines apart: the 36 that one tile touches
// would otherwise share a few sets of the cache.
struct WinogradS8Panel {
  int64_t v_tile, v_plane, m_plane;  // elements
  int64_t v_bytes, m_bytes;          // multiples of 64
};
WinogradS8Panel winograd_s8_panel(const WinogradS8Kernel& kernel, int32_t channels, int64_t tiles);

// Declarations of every row's entry points.
#define OCTAVO_WINOGRAD_S8(isa, name, nr, channels, group, column) \
  void name##_input(const WinogradS8Args& args);                   \
  void name##_output(const WinogradS8Args& args);
#include "kernels/winograd_s8/kernels.inc"
#undef OCTAVO_WINOGRAD_S8

}  // namespace octavo

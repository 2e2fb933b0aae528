// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/aligned_buffer.h"
#include "kernels/dwconv_s8/dwconv_s8.h"

// Weights are packed in groups of taps that one instruction multiplies and adds:
//   pairs   vpmaddwd: s16, any 9-bit weight. Blocks of 16 channels: [group][2][8 lanes][2 taps]
//   quads   vpdpbusd: s8. Blocks of 64 channels: [group][4][16 lanes][4 taps]; the last block, when
//           it has at most 32 channels, [group][4][8 lanes][4 taps]
//   quads_3x3_x32  256-bit rows: quads32.h
//   quads_*_x8     sdot: s8. Blocks of 8 channels: [group][8 channels][4 taps]
//   taps_x8        smull: s8, none of them -128. Blocks of 8 channels: [kh * kw][8 channels]
//   wide_taps_x8   smull: the same as s16, any 9-bit weight
//   taps    scalar: s16 [kh * kw][channels], bias and scale in natural order
// In pairs and quads of x86, lane l of vector v of a block with V vectors is channel
// (l / 4) * 4V + 4v + l % 4: unpack builds and packs undoes just that order, with no permute.
// The taps of a group, as (row, column), "-" where the weight is 0:
//   pairs_3x3  00 10, 01 11, 02 12, 20 21, - 22     quads_3x3  00 10 20 -, 01 11 21 -, 02 12 22 -
//   pairs_5x5  00 10 .. 04 14, 20 30 .. 24 34, 40 41, 42 43, - 44
//   quads_5x5  00 10 20 30 .. 04 14 24 34, 40 41 42 43, - - - 44
//   *_any      row by row, the last group filled with "-"
namespace octavo {

#define OCTAVO_DWCONV_S8_PACKING(packing)                    \
  DwconvS8Layout layout_##packing(const DwconvS8Weights& w); \
  void pack_##packing(const DwconvS8Weights& w, void* weights, int32_t* bias, float* scale);
OCTAVO_DWCONV_S8_PACKING(quads_3x3)
OCTAVO_DWCONV_S8_PACKING(quads_3x3_x32)
OCTAVO_DWCONV_S8_PACKING(quads_5x5)
OCTAVO_DWCONV_S8_PACKING(quads_any)
OCTAVO_DWCONV_S8_PACKING(quads_3x3_x8)
OCTAVO_DWCONV_S8_PACKING(quads_5x5_x8)
OCTAVO_DWCONV_S8_PACKING(quads_any_x8)
OCTAVO_DWCONV_S8_PACKING(taps_x8)
OCTAVO_DWCONV_S8_PACKING(wide_taps_x8)
OCTAVO_DWCONV_S8_PACKING(pairs_3x3)
OCTAVO_DWCONV_S8_PACKING(pairs_5x5)
OCTAVO_DWCONV_S8_PACKING(pairs_any)
OCTAVO_DWCONV_S8_PACKING(taps)
#undef OCTAVO_DWCONV_S8_PACKING

// -z_a * sum(w) moved into the bias. Modulo 2^32, like every accumulator.
uint32_t folded_dwconv_s8_bias(const DwconvS8Weights& w, int64_t channel);

// With 0, which padding adds.
WeightRange dwconv_s8_weight_range(const int16_t* weights, int64_t count);

struct PackedDwconvS8 {
  AlignedBuffer storage;
  DwconvS8Packed packed;  // points into storage, which moving keeps in place
};

// Throws kInvalidArgument for weights that the row cannot hold (weights, kh, kw).
PackedDwconvS8 pack_dwconv_s8(const DwconvS8Kernel& kernel, const DwconvS8Weights& w);

}  // namespace octavo

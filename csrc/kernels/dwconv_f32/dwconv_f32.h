// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// dwconv_f32: depthwise convolution, channel multiplier 1, one output row per call:
//   out[x][c] = clamp(chain of fma(in[i][x*stride_x + j*dilation_x][c], w[i][j][c], …) from
//   bias[c])
// over i, then j: the order of gemm_f32, so that the same layer has the same bits on either path.
// `in_rows[i]` points at the leftmost tap of output pixel 0 in the i-th tap row; rows already
// include dilation and padding.
namespace octavo {

struct DwconvF32Args {
  // Each tap row is read at [x * stride + j * dilation] pixels; up to 60 bytes past the last
  // channel of a pixel may be read (value irrelevant), so buffers carry 64 bytes of slack.
  const uint8_t* const* in_rows;  // kh pointers, 4-byte aligned
  ptrdiff_t in_pixel_stride;      // bytes between horizontally adjacent input pixels
  uint8_t* out;                   // exactly `channels` floats per output pixel are written
  ptrdiff_t out_pixel_stride;     // bytes
  int32_t out_w, channels;
  int32_t kh, kw, stride_x, dilation_x;
  const float*
      weights;        // [ceil(channels / lanes)][kh][kw][lanes], 0 past channels, 64-byte aligned
  const float* bias;  // [ceil(channels / lanes) * lanes], 64-byte aligned
  float lo, hi;       // lo <= hi; NaN results are 0x7fc00000
};

using DwconvF32Fn = void (*)(const DwconvF32Args& args);

struct DwconvF32Kernel {
  const char* name;
  Isa isa;
  DwconvF32Fn run;
  int16_t lanes;  // channels of a block
};

// All rows of kernels.inc that were built, best first, scalar last.
const DwconvF32Kernel* dwconv_f32_kernels(int* count);
const DwconvF32Kernel* find_dwconv_f32(const char* name);  // nullptr when absent
const DwconvF32Kernel& select_dwconv_f32(Isa cap);

// w [channels][taps] -> [ceil(channels / lanes)][taps][lanes].
void pack_dwconv_f32(const DwconvF32Kernel& kernel, const float* w, int32_t channels, int64_t taps,
                     float* out);

// Declarations of every row's entry point.
#define OCTAVO_DWCONV_F32(isa, name, lanes) void name(const DwconvF32Args& args);
#include "kernels/dwconv_f32/kernels.inc"
#undef OCTAVO_DWCONV_F32

}  // namespace octavo

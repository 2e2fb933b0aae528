// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// dwconv_s8: depthwise convolution, channel multiplier 1, one output row per call:
//   out[x][c] = requantize(bias[c] + sum_{i,j} in[i][x*stride_x + j*dilation_x][c] * w[i][j][c])
// `in_rows[i]` points at the leftmost tap of output pixel 0 in the i-th tap row (rows already
// include dilation and padding: rows and columns outside the image hold the input zero point).
// Zero points are folded into the bias by pack; the accumulator wraps, prepare proves it fits.
namespace octavo {

struct DwconvS8Packed {
  const void* weights;  // kernel-specific layout made by the row's pack function, 64-byte aligned
  const int32_t* bias;  // kernel's lane order, padded with 0 to the kernel's channel block
  const float* scale;   // likewise
};

struct DwconvS8Args {
  // Each tap row is read at [x * stride + j * dilation] pixels; up to 63 bytes past the last
  // channel of the last pixel may be read (value irrelevant), so buffers carry 64 bytes of slack.
  const uint8_t* const* in_rows;  // kh pointers
  ptrdiff_t in_pixel_stride;      // bytes between horizontally adjacent input pixels
  uint8_t* out;                   // exactly `channels` bytes per output pixel are written
  ptrdiff_t out_pixel_stride;
  int32_t out_w, channels;
  int32_t kh, kw, stride_x, dilation_x;
  DwconvS8Packed packed;
  Requant requant;
};

using DwconvS8Fn = void (*)(const DwconvS8Args& args);

// Weights of a layer as the graph knows them.
struct DwconvS8Weights {
  int32_t channels, kh, kw;
  const int16_t* weights;   // [kh][kw][channels], w - zero_point, in [-255, 255]
  const int32_t* bias;      // [channels]
  const float* multiplier;  // [channels]
  int32_t in_zero_point;
};

// Bounds, inclusive, of w - zero_point.
struct WeightRange {
  int16_t min, max;

  bool holds(WeightRange other) const { return min <= other.min && other.max <= max; }
};
inline constexpr WeightRange kWeightsS9{-255, 255};  // whatever the graph may say
inline constexpr WeightRange kWeightsS8{-128, 127};
inline constexpr WeightRange kWeightsS8Symmetric{-127, 127};

struct DwconvS8Layout {  // bytes that pack needs, each a multiple of 64
  int64_t weights, bias, scale;
};

struct DwconvS8Kernel {
  const char* name;
  Isa isa;
  DwconvS8Fn run;
  int16_t kh, kw;       // 0 = any
  int16_t stride_x;     // 0 = any
  bool dilated;         // takes dilation_x > 1
  WeightRange weights;  // that it can multiply
  DwconvS8Layout (*layout)(const DwconvS8Weights&);
  // Writes weights (any layout), bias and scale (kernel's lane order) into zeroed storage.
  void (*pack)(const DwconvS8Weights&, void* weights, int32_t* bias, float* scale);
};

const DwconvS8Kernel* dwconv_s8_kernels(int* count);
const DwconvS8Kernel* find_dwconv_s8(const char* name);

struct DwconvS8Shape {
  int32_t channels, kh, kw, stride_x, dilation_x;
  WeightRange weights;  // that occur
};
bool dwconv_s8_takes(const DwconvS8Kernel& kernel, const DwconvS8Shape& shape);
const DwconvS8Kernel& select_dwconv_s8(Isa cap, const DwconvS8Shape& shape);

#define OCTAVO_DWCONV_S8(isa, name, kh, kw, stride_x, dilated, weights, pack) \
  void name(const DwconvS8Args& args);
#include "kernels/dwconv_s8/kernels.inc"
#undef OCTAVO_DWCONV_S8

}  // namespace octavo

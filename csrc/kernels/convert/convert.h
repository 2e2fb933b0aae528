// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// convert: the crossing between float32 and 8 bits, and the layout change at a model's edge.
//   quantize:   q = clamp(rne(x / scale) + zp, 0, 255): a real division (ONNX QuantizeLinear);
//               NaN -> zp, +-inf saturate, on every ISA alike (clamped before the conversion)
//   dequantize: x = float(q - zp) * scale
// s8 tensors are the same with `flip` = 0x80: the byte is XORed after quantize / before dequantize,
// with zp already shifted by 128.
namespace octavo {

struct QuantizeArgs {
  const float* in;
  uint8_t* out;
  int64_t n;  // rows==1 form: n contiguous values
  float scale;
  int32_t zero_point;  // 0..255
  uint8_t flip;
};

// NCHW plane rows to NHWC pixels: out[x * out_pixel_stride + c] = q(in[c * in_channel_stride + x]).
struct QuantizeChwArgs {
  const float* in;
  ptrdiff_t in_channel_stride;  // floats between channel planes
  uint8_t* out;
  ptrdiff_t out_pixel_stride;  // bytes between pixels
  int32_t width, channels;
  float scale;
  int32_t zero_point;
  uint8_t flip;
};

struct DequantizeArgs {
  const uint8_t* in;
  float* out;
  int64_t n;
  float scale;
  int32_t zero_point;
  uint8_t flip;
};

struct FlipArgs {  // out[i] = in[i] ^ 0x80
  const uint8_t* in;
  uint8_t* out;
  int64_t n;
};

struct ConvertKernels {  // one set per ISA: these four always come together
  const char* name;      // convert_avx2, ...
  Isa isa;
  void (*quantize)(const QuantizeArgs&);
  void (*quantize_chw)(const QuantizeChwArgs&);
  void (*dequantize)(const DequantizeArgs&);
  void (*flip)(const FlipArgs&);
};

const ConvertKernels* convert_kernels(int* count);
const ConvertKernels* find_convert(const char* name);
const ConvertKernels& select_convert(Isa cap);

#define OCTAVO_CONVERT(isa, suffix)                        \
  void quantize_##suffix(const QuantizeArgs& args);        \
  void quantize_chw_##suffix(const QuantizeChwArgs& args); \
  void dequantize_##suffix(const DequantizeArgs& args);    \
  void flip_##suffix(const FlipArgs& args);
#include "kernels/convert/kernels.inc"
#undef OCTAVO_CONVERT

}  // namespace octavo

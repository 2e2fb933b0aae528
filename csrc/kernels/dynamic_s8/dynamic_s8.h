// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// dynamic_s8: what a layer that quantizes its activations on the fly does before and after the
// integer product (docs/numerics.md, "Dynamic quantization").
//   range:      lo = the least of lo and all x, hi = the largest; NaN is passed over
//   scale_sums: y = float(acc - zp * weight_sum[c]) * (x_scale * weight_scale[c]) + bias[c],
//               then y < lo ? lo : y and y > hi ? hi : y; every operation rounds once
namespace octavo {

struct RangeArgs {
  const float* in;
  int64_t n;
  float lo, hi;  // in and out; lo <= 0 <= hi, and neither is -0
};

// `rows` rows of n sums each; all rows with one scale and zero point.
struct ScaleSumsArgs {
  const int32_t* sums;
  ptrdiff_t sums_stride;  // elements between rows
  float* const* out_rows;
  ptrdiff_t out_offset;  // elements from out_rows[i] on; exactly n are written
  int32_t rows, n;
  int32_t zero_point;  // of A as the product saw it
  float x_scale;
  const int32_t* weight_sums;
  const float* weight_scales;
  const float* bias;
  float lo, hi;
};

struct DynamicS8Kernels {  // one pair per ISA
  const char* name;        // dynamic_s8_avx2, ...
  Isa isa;
  void (*range)(RangeArgs& args);
  void (*scale_sums)(const ScaleSumsArgs& args);
};

const DynamicS8Kernels* dynamic_s8_kernels(int* count);
const DynamicS8Kernels* find_dynamic_s8(const char* name);
const DynamicS8Kernels& select_dynamic_s8(Isa cap);

#define OCTAVO_DYNAMIC_S8(isa, suffix)  \
  void range_##suffix(RangeArgs& args); \
  void scale_sums_##suffix(const ScaleSumsArgs& args);
#include "kernels/dynamic_s8/kernels.inc"
#undef OCTAVO_DYNAMIC_S8

}  // namespace octavo

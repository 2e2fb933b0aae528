// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// layer_norm_s8: one row of n contiguous u8 values, d[i] = in[i] - in_zero_point.
//   S = sum d, Q = sum d^2, V = n Q - S^2                          exact integers
//   r = float32(1 / sqrt(float64(V) + float64(epsilon) n^2))       float64 operations
//   y = clamp(rne((float32(n d[i] - S) r) gain[i] + shift[i]), lo, hi) + z
// n <= 2^15, so that n d - S is exact in float32. epsilon is in units of s_x^2, gain and shift in
// steps of y.
namespace octavo {

inline constexpr int64_t kLayerNormMaxLength = 1 << 15;

struct LayerNormS8Args {
  const uint8_t* in;
  uint8_t* out;  // may equal in
  int64_t n;
  const float* gain;  // [round_up(n, 64)], 64-byte aligned; what lies past n does not matter
  const float* shift;
  float epsilon;  // > 0
  uint8_t in_zero_point;
  Requant requant;
};

using LayerNormS8Fn = void (*)(const LayerNormS8Args& args);

struct LayerNormS8Kernel {
  const char* name;
  Isa isa;
  LayerNormS8Fn run;
};

const LayerNormS8Kernel* layer_norm_s8_kernels(int* count);
const LayerNormS8Kernel* find_layer_norm_s8(const char* name);
const LayerNormS8Kernel& select_layer_norm_s8(Isa cap);

#define OCTAVO_LAYER_NORM_S8(isa, name) void name(const LayerNormS8Args& args);
#include "kernels/layer_norm_s8/kernels.inc"
#undef OCTAVO_LAYER_NORM_S8

namespace {

// What a row has in common: `sum` and `squares` of its d.
struct LayerNormRow {
  float n, sum, factor;

  LayerNormRow(const LayerNormS8Args& args, int64_t row_sum, int64_t row_squares)
      : n(static_cast<float>(args.n)), sum(static_cast<float>(row_sum)) {
    const double spread = static_cast<double>(args.n * row_squares - row_sum * row_sum);
    const double floor = static_cast<double>(args.epsilon) * static_cast<double>(args.n * args.n);
    factor = static_cast<float>(1.0 / std::sqrt(spread + floor));
  }
};

}  // namespace
}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
// The norm of pool_f32: the other rows equal this file bit by bit.
#include "kernels/fma_scalar.h"
#include "kernels/pool_f32/pool_f32.h"

namespace octavo {
namespace {

inline float larger(float value, float best) {
  return value > best || value != value ? value : best;
}
inline float sum(float value, float best) { return best + value; }

template <float (*kJoin)(float, float)>
float pool(const PoolF32Args& g, int c) {
  float result = reinterpret_cast<const float*>(g.in)[c];
  for (int i = 0; i < g.rows; ++i) {
    for (int j = i == 0 ? 1 : 0; j < g.cols; ++j) {
      const uint8_t* pixel = g.in + i * g.row_stride + j * g.pixel_stride;
      result = kJoin(reinterpret_cast<const float*>(pixel)[c], result);
    }
  }
  return result;
}

}  // namespace

void maxpool_f32_scalar(const PoolF32Args& g) {
  for (int c = 0; c < g.channels; ++c) g.out[c] = clamp_f32(pool<larger>(g, c), g.lo, g.hi);
}

void avgpool_f32_scalar(const PoolF32Args& g) {
  for (int c = 0; c < g.channels; ++c) {
    g.out[c] = clamp_f32(pool<sum>(g, c) / g.divisor, g.lo, g.hi);
  }
}

}  // namespace octavo

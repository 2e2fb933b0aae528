// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_f32/pool_f32.h"
#include "kernels/simd/clamp_f32_neon.h"

namespace octavo {
namespace {

struct Max {
  explicit Max(const PoolF32Args&) {}
  // fmax alone would take +0 for larger than -0. It gives a NaN for a NaN on either side; which one
  // does not matter, the clamp makes them equal.
  static float32x4_t join(float32x4_t value, float32x4_t best) {
    return vbslq_f32(vcgeq_f32(best, value), best, vmaxq_f32(value, best));
  }
  static float32x4_t finish(float32x4_t best) { return best; }
};

struct Average {
  float32x4_t divisor;
  explicit Average(const PoolF32Args& g) : divisor(vdupq_n_f32(g.divisor)) {}
  static float32x4_t join(float32x4_t value, float32x4_t sum) { return vaddq_f32(sum, value); }
  float32x4_t finish(float32x4_t sum) const { return vdivq_f32(sum, divisor); }
};

// V vectors of channels from c on.
template <int V, class Pool>
inline void block(const PoolF32Args& g, const Pool& pool, const ClampF32x4& clamp, int c) {
  const uint8_t* row = g.in + c * ptrdiff_t{sizeof(float)};
  float32x4_t result[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    result[v] = vld1q_f32(reinterpret_cast<const float*>(row) + 4 * v);
  }
  int j = 1;
  for (int i = 0; i < g.rows; ++i, row += g.row_stride, j = 0) {
    const uint8_t* pixel = row + j * g.pixel_stride;
    for (; j < g.cols; ++j, pixel += g.pixel_stride) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const float32x4_t value = vld1q_f32(reinterpret_cast<const float*>(pixel) + 4 * v);
        result[v] = Pool::join(value, result[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const int at = c + 4 * v;
    store_f32x4(g.out + at, clamp(pool.finish(result[v])), g.channels - at);
  }
}

template <class Pool>
inline void run(const PoolF32Args& g) {
  const Pool pool(g);
  const ClampF32x4 clamp(g.lo, g.hi);
  int c = 0;
  for (; c + 12 < g.channels; c += 16) block<4>(g, pool, clamp, c);
  for (; c < g.channels; c += 4) block<1>(g, pool, clamp, c);
}

}  // namespace

void maxpool_f32_x4_neon(const PoolF32Args& g) { run<Max>(g); }
void avgpool_f32_x4_neon(const PoolF32Args& g) { run<Average>(g); }

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_f32/pool_f32.h"
#include "kernels/simd/clamp_f32_avx2.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

struct Max {
  explicit Max(const PoolF32Args&) {}
  // vmaxps gives its second operand when the operands are equal or one is NaN.
  static __m256 join(__m256 value, __m256 best) {
    const __m256 nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
    return _mm256_blendv_ps(_mm256_max_ps(value, best), value, nan);
  }
  static __m256 finish(__m256 best) { return best; }
};

struct Average {
  __m256 divisor;
  explicit Average(const PoolF32Args& g) : divisor(_mm256_set1_ps(g.divisor)) {}
  static __m256 join(__m256 value, __m256 sum) { return _mm256_add_ps(sum, value); }
  __m256 finish(__m256 sum) const { return _mm256_div_ps(sum, divisor); }
};

// V vectors of channels from c on.
template <int V, class Pool>
inline void block(const PoolF32Args& g, const Pool& pool, const ClampF32x8& clamp, int c) {
  const uint8_t* row = g.in + c * ptrdiff_t{sizeof(float)};
  __m256 result[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    result[v] = _mm256_loadu_ps(reinterpret_cast<const float*>(row) + 8 * v);
  }
  int j = 1;
  for (int i = 0; i < g.rows; ++i, row += g.row_stride, j = 0) {
    const uint8_t* pixel = row + j * g.pixel_stride;
    for (; j < g.cols; ++j, pixel += g.pixel_stride) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const __m256 value = _mm256_loadu_ps(reinterpret_cast<const float*>(pixel) + 8 * v);
        result[v] = Pool::join(value, result[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const int at = c + 8 * v;
    store_f32x8(g.out + at, clamp(pool.finish(result[v])), g.channels - at);
  }
}

template <class Pool>
inline void run(const PoolF32Args& g) {
  const Pool pool(g);
  const ClampF32x8 clamp(g.lo, g.hi);
  int c = 0;
  for (; c + 24 < g.channels; c += 32) block<4>(g, pool, clamp, c);
  for (; c < g.channels; c += 8) block<1>(g, pool, clamp, c);
}

}  // namespace

void maxpool_f32_x8_avx2(const PoolF32Args& g) { run<Max>(g); }
void avgpool_f32_x8_avx2(const PoolF32Args& g) { run<Average>(g); }

}  // namespace octavo

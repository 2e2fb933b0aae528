// SPDX-License-Identifier: Apache-2.0
#include "kernels/pool_f32/pool_f32.h"
#include "kernels/simd/clamp_f32_avx512.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

struct Max {
  explicit Max(const PoolF32Args&) {}
  // vmaxps gives its second operand when the operands are equal or one is NaN.
  static __m512 join(__m512 value, __m512 best) {
    const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    return _mm512_mask_mov_ps(_mm512_max_ps(value, best), nan, value);
  }
  static __m512 finish(__m512 best) { return best; }
};

struct Average {
  __m512 divisor;
  explicit Average(const PoolF32Args& g) : divisor(_mm512_set1_ps(g.divisor)) {}
  static __m512 join(__m512 value, __m512 sum) { return _mm512_add_ps(sum, value); }
  __m512 finish(__m512 sum) const { return _mm512_div_ps(sum, divisor); }
};

// V vectors of channels from c on.
template <int V, class Pool>
inline void block(const PoolF32Args& g, const Pool& pool, const ClampF32x16& clamp, int c) {
  const uint8_t* row = g.in + c * ptrdiff_t{sizeof(float)};
  __m512 result[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    result[v] = _mm512_loadu_ps(reinterpret_cast<const float*>(row) + 16 * v);
  }
  int j = 1;
  for (int i = 0; i < g.rows; ++i, row += g.row_stride, j = 0) {
    const uint8_t* pixel = row + j * g.pixel_stride;
    for (; j < g.cols; ++j, pixel += g.pixel_stride) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        const __m512 value = _mm512_loadu_ps(reinterpret_cast<const float*>(pixel) + 16 * v);
        result[v] = Pool::join(value, result[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const int at = c + 16 * v;
    store_f32x16(g.out + at, clamp(pool.finish(result[v])), g.channels - at);
  }
}

template <class Pool>
inline void run(const PoolF32Args& g) {
  const Pool pool(g);
  const ClampF32x16 clamp(g.lo, g.hi);
  int c = 0;
  for (; c + 48 < g.channels; c += 64) block<4>(g, pool, clamp, c);
  for (; c < g.channels; c += 16) block<1>(g, pool, clamp, c);
}

}  // namespace

void maxpool_f32_x16_avx512vnni(const PoolF32Args& g) { run<Max>(g); }
void avgpool_f32_x16_avx512vnni(const PoolF32Args& g) { run<Average>(g); }

}  // namespace octavo

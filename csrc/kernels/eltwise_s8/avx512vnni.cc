// SPDX-License-Identifier: Apache-2.0
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/widen_narrow_avx512.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 64;

// Two multiplications and one addition, each rounded: an FMA would round once less.
struct Add {
  __m512 ka, kb;
  explicit Add(const EltwiseS8Args& args)
      : ka(_mm512_set1_ps(args.ka)), kb(_mm512_set1_ps(args.kb)) {}
  __m512 operator()(__m512 a, __m512 b) const {
    return _mm512_add_ps(_mm512_mul_ps(a, ka), _mm512_mul_ps(b, kb));
  }
};

// The product of the two differences is below 2^16 and so exact in float32, as in int32.
struct Mul {
  __m512 k;
  explicit Mul(const EltwiseS8Args& args) : k(_mm512_set1_ps(args.ka)) {}
  __m512 operator()(__m512 a, __m512 b) const { return _mm512_mul_ps(_mm512_mul_ps(a, b), k); }
};

template <class Op>
struct Block {
  Op op;
  WidenU8x64 widen_a, widen_b;
  NarrowU8x64 narrow;

  explicit Block(const EltwiseS8Args& args)
      : op(args), widen_a(args.a_zero_point), widen_b(args.b_zero_point), narrow(args.requant) {}

  __m512i operator()(__m512i a_bytes, __m512i b_bytes) const {
    const F32x64 a = widen_a(a_bytes);
    const F32x64 b = widen_b(b_bytes);
    return narrow({op(a.v0, b.v0), op(a.v1, b.v1), op(a.v2, b.v2), op(a.v3, b.v3)});
  }
};

template <class Op>
void run(const EltwiseS8Args& args) {
  const Block<Op> block(args);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) {
    _mm512_storeu_si512(args.c + i,
                        block(_mm512_loadu_si512(args.a + i), _mm512_loadu_si512(args.b + i)));
  }
  if (i == args.n) return;
  const __mmask64 tail = low_lanes64(args.n - i);
  const __m512i a = _mm512_maskz_loadu_epi8(tail, args.a + i);
  const __m512i b = _mm512_maskz_loadu_epi8(tail, args.b + i);
  _mm512_mask_storeu_epi8(args.c + i, tail, block(a, b));
}

}  // namespace

void add_s8_x64_avx512vnni(const EltwiseS8Args& args) { run<Add>(args); }
void mul_s8_x64_avx512vnni(const EltwiseS8Args& args) { run<Mul>(args); }

}  // namespace octavo

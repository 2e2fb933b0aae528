// SPDX-License-Identifier: Apache-2.0
#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/widen_narrow_avx2.h"
#include "kernels/simd/x86.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 32;

// Two multiplications and one addition, each rounded: an FMA would round once less.
struct Add {
  __m256 ka, kb;
  explicit Add(const EltwiseS8Args& args)
      : ka(_mm256_set1_ps(args.ka)), kb(_mm256_set1_ps(args.kb)) {}
  __m256 operator()(__m256 a, __m256 b) const {
    return _mm256_add_ps(_mm256_mul_ps(a, ka), _mm256_mul_ps(b, kb));
  }
};

// The product of the two differences is below 2^16 and so exact in float32, as in int32.
struct Mul {
  __m256 k;
  explicit Mul(const EltwiseS8Args& args) : k(_mm256_set1_ps(args.ka)) {}
  __m256 operator()(__m256 a, __m256 b) const { return _mm256_mul_ps(_mm256_mul_ps(a, b), k); }
};

template <class Op>
struct Block {
  Op op;
  WidenU8x32 widen_a, widen_b;
  NarrowU8x32 narrow;

  explicit Block(const EltwiseS8Args& args)
      : op(args), widen_a(args.a_zero_point), widen_b(args.b_zero_point), narrow(args.requant) {}

  void operator()(const uint8_t* a_bytes, const uint8_t* b_bytes, uint8_t* c) const {
    const F32x32 a = widen_a(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a_bytes)));
    const F32x32 b = widen_b(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b_bytes)));
    const __m256i q = narrow({op(a.v0, b.v0), op(a.v1, b.v1), op(a.v2, b.v2), op(a.v3, b.v3)});
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), q);
  }
};

template <class Op>
void run(const EltwiseS8Args& args) {
  const Block<Op> block(args);
  int64_t i = 0;
  for (; i + kBlock <= args.n; i += kBlock) block(args.a + i, args.b + i, args.c + i);
  if (i == args.n) return;
  uint8_t a[kBlock] = {}, b[kBlock] = {}, c[kBlock];
  for (int64_t j = i; j < args.n; ++j) {
    a[j - i] = args.a[j];
    b[j - i] = args.b[j];
  }
  block(a, b, c);
  for (int64_t j = i; j < args.n; ++j) args.c[j] = c[j - i];
}

}  // namespace

void add_s8_x32_avx2(const EltwiseS8Args& args) { run<Add>(args); }
void mul_s8_x32_avx2(const EltwiseS8Args& args) { run<Mul>(args); }

}  // namespace octavo

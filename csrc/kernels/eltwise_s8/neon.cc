// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/eltwise_s8/eltwise_s8.h"
#include "kernels/simd/requant_neon.h"
#include "kernels/simd/widen_narrow_neon.h"

namespace octavo {
namespace {

constexpr int64_t kBlock = 16;

inline int8x16_t load(const uint8_t* p) { return vreinterpretq_s8_u8(vld1q_u8(p)); }

// Two multiplications and one addition, each rounded: an FMA would round once less.
struct Add {
  WidenS8x16 widen_a, widen_b;
  NarrowS8x16 narrow;
  float32x4_t ka, kb;

  explicit Add(const EltwiseS8Args& args)
      : widen_a(args.a_zero_point),
        widen_b(args.b_zero_point),
        narrow(args.requant),
        ka(vdupq_n_f32(args.ka)),
        kb(vdupq_n_f32(args.kb)) {}

  template <int kBlocks>
  void operator()(const int8x16_t (&a)[kBlocks], const int8x16_t (&b)[kBlocks],
                  int8x16_t (&c)[kBlocks]) const {
    float32x4_t t[4 * kBlocks], u[4 * kBlocks];
    widen_a(a, t);
    widen_b(b, u);
    for (float32x4_t& v : t) v = vmulq_f32(v, ka);
    for (float32x4_t& v : u) v = vmulq_f32(v, kb);
    for (int i = 0; i < 4 * kBlocks; ++i) t[i] = vaddq_f32(t[i], u[i]);
    narrow(t, c);
  }
};

struct Mul {
  int8x16_t za, zb;
  FloatRneNeon epilogue;
  float32x4_t k;

  explicit Mul(const EltwiseS8Args& args)
      : za(vdupq_n_s8(static_cast<int8_t>(args.a_zero_point - kStoredOffset))),
        zb(vdupq_n_s8(static_cast<int8_t>(args.b_zero_point - kStoredOffset))),
        epilogue(args.requant),
        k(vdupq_n_f32(args.ka)) {}

  template <int kBlocks>
  void operator()(const int8x16_t (&a)[kBlocks], const int8x16_t (&b)[kBlocks],
                  int8x16_t (&c)[kBlocks]) const {
    int16x8_t da[2 * kBlocks], db[2 * kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      da[2 * i] = vsubl_s8(vget_low_s8(a[i]), vget_low_s8(za));
      da[2 * i + 1] = vsubl_high_s8(a[i], za);
      db[2 * i] = vsubl_s8(vget_low_s8(b[i]), vget_low_s8(zb));
      db[2 * i + 1] = vsubl_high_s8(b[i], zb);
    }
    int32x4_t product[4 * kBlocks];
    float32x4_t scale[4 * kBlocks];
    for (int i = 0; i < 2 * kBlocks; ++i) {
      product[2 * i] = vmull_s16(vget_low_s16(da[i]), vget_low_s16(db[i]));
      product[2 * i + 1] = vmull_high_s16(da[i], db[i]);
    }
    for (float32x4_t& s : scale) s = k;
    epilogue.to_s8(product, scale, c);
  }
};

template <int kBlocks, class Op>
inline void step(const Op& op, const uint8_t* a_bytes, const uint8_t* b_bytes, uint8_t* c_bytes) {
  int8x16_t a[kBlocks], b[kBlocks], c[kBlocks];
  for (int i = 0; i < kBlocks; ++i) a[i] = load(a_bytes + i * kBlock);
  for (int i = 0; i < kBlocks; ++i) b[i] = load(b_bytes + i * kBlock);
  op(a, b, c);
  for (int i = 0; i < kBlocks; ++i) vst1q_u8(c_bytes + i * kBlock, vreinterpretq_u8_s8(c[i]));
}

template <class Op>
void run(const EltwiseS8Args& args) {
  const Op op(args);
  // Copies: a store of bytes might change args.
  const uint8_t *a = args.a, *b = args.b;
  uint8_t* c = args.c;
  const int64_t n = args.n;
  int64_t i = 0;
  for (; i + 2 * kBlock <= n; i += 2 * kBlock) step<2>(op, a + i, b + i, c + i);
  for (; i + kBlock <= n; i += kBlock) step<1>(op, a + i, b + i, c + i);
  if (i == n) return;
  const size_t rest = static_cast<size_t>(n - i);
  uint8_t last_a[kBlock] = {}, last_b[kBlock] = {}, last_c[kBlock];
  std::memcpy(last_a, a + i, rest);
  std::memcpy(last_b, b + i, rest);
  step<1>(op, last_a, last_b, last_c);
  std::memcpy(c + i, last_c, rest);
}

}  // namespace

void add_s8_x32_neon(const EltwiseS8Args& args) { run<Add>(args); }
void mul_s8_x32_neon(const EltwiseS8Args& args) { run<Mul>(args); }

}  // namespace octavo

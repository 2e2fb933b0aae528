// SPDX-License-Identifier: Apache-2.0
#include <arm_neon.h>

#include <cstring>

#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace {

constexpr int kSums = 8;

// Eight elements of a row, one for each sum.
struct Step {
  float32x4_t low, high;
};

inline Step load(const float* in) { return {vld1q_f32(in), vld1q_f32(in + 4)}; }

inline void store(float* out, Step v) {
  vst1q_f32(out, v.low);
  vst1q_f32(out + 4, v.high);
}

// The last n < 8 elements, and -inf, whose exponential is 0.
inline Step load_rest(const float* in, int64_t n) {
  float lanes[kSums];
  for (int i = 0; i < kSums; ++i) lanes[i] = -__builtin_inff();
  std::memcpy(lanes, in, n * sizeof(float));
  return load(lanes);
}

inline void store_rest(float* out, Step v, int64_t n) {
  float lanes[kSums];
  store(lanes, v);
  std::memcpy(out, lanes, n * sizeof(float));
}

// NaN where a value is: fmax keeps it, unlike a comparison.
inline Step larger(Step a, Step b) { return {vmaxq_f32(a.low, b.low), vmaxq_f32(a.high, b.high)}; }

inline float32x4_t exp_f32(float32x4_t d) {
  const float32x4_t shift = vdupq_n_f32(ExpF32::kShift);
  const float32x4_t t = vfmaq_f32(shift, d, vdupq_n_f32(ExpF32::kLog2e));
  const float32x4_t n = vsubq_f32(t, shift);
  float32x4_t r = vfmaq_f32(d, n, vdupq_n_f32(-ExpF32::kLn2High));
  r = vfmaq_f32(r, n, vdupq_n_f32(-ExpF32::kLn2Low));
  float32x4_t p = vdupq_n_f32(ExpF32::kInverseFactorials[0]);
#pragma GCC unroll 8
  for (int i = 1; i < ExpF32::kTerms; ++i) {
    p = vfmaq_f32(vdupq_n_f32(ExpF32::kInverseFactorials[i]), p, r);
  }
  const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
  const uint32x4_t e = vaddq_u32(vreinterpretq_u32_f32(p), exponent);
  return vreinterpretq_f32_u32(vandq_u32(e, vcgeq_f32(d, vdupq_n_f32(ExpF32::kLowest))));
}

// The exponentials of a step, added to the sums.
struct Exponentials {
  float32x4_t max;
  float64x2_t sum01 = vdupq_n_f64(0), sum23 = sum01, sum45 = sum01, sum67 = sum01;

  explicit Exponentials(float largest) : max(vdupq_n_f32(largest)) {}

  Step operator()(Step x) {
    const Step e = {exp_f32(vsubq_f32(x.low, max)), exp_f32(vsubq_f32(x.high, max))};
    sum01 = vaddq_f64(sum01, vcvt_f64_f32(vget_low_f32(e.low)));
    sum23 = vaddq_f64(sum23, vcvt_high_f64_f32(e.low));
    sum45 = vaddq_f64(sum45, vcvt_f64_f32(vget_low_f32(e.high)));
    sum67 = vaddq_f64(sum67, vcvt_high_f64_f32(e.high));
    return e;
  }

  float sum() const {
    return static_cast<float>(
        vaddvq_f64(vaddq_f64(vaddq_f64(sum01, sum45), vaddq_f64(sum23, sum67))));
  }
};

}  // namespace

void softmax_f32_x8_neon(const SoftmaxF32Args& g) {
  const int64_t rest = g.count % kSums, whole = g.count - rest;
  Step best = {vdupq_n_f32(-__builtin_inff()), vdupq_n_f32(-__builtin_inff())};
  for (int64_t i = 0; i < whole; i += kSums) best = larger(best, load(g.in + i));
  if (rest != 0) best = larger(best, load_rest(g.in + whole, rest));
  const float max = vmaxvq_f32(vmaxq_f32(best.low, best.high));
  // A NaN of the row is the maximum here; an infinite one makes its own difference a NaN.
  if (!(__builtin_fabsf(max) < __builtin_inff())) {
    constexpr uint32_t kNan = 0x7fc00000u;
    for (int64_t i = 0; i < g.count; ++i) std::memcpy(g.out + i, &kNan, sizeof kNan);
    return;
  }
  Exponentials exp(max);
  for (int64_t i = 0; i < whole; i += kSums) store(g.out + i, exp(load(g.in + i)));
  if (rest != 0) store_rest(g.out + whole, exp(load_rest(g.in + whole, rest)), rest);
  const float32x4_t sum = vdupq_n_f32(exp.sum());
  const auto divide = [sum](Step e) -> Step {
    return {vdivq_f32(e.low, sum), vdivq_f32(e.high, sum)};
  };
  for (int64_t i = 0; i < whole; i += kSums) store(g.out + i, divide(load(g.out + i)));
  if (rest != 0) store_rest(g.out + whole, divide(load_rest(g.out + whole, rest)), rest);
}

}  // namespace octavo

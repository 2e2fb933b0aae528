// SPDX-License-Identifier: Apache-2.0
// The norm of softmax_f32: the other rows equal this file bit by bit.
#include <cstring>

#include "kernels/fma_scalar.h"
#include "kernels/softmax_f32/softmax_f32.h"

namespace octavo {
namespace {

constexpr int kSums = 8;

float exp_f32(float d) {
  if (!(d >= ExpF32::kLowest)) return 0.0f;
  const float t = fma_f32(d, ExpF32::kLog2e, ExpF32::kShift);
  const float n = t - ExpF32::kShift;
  const float r = fma_f32(n, -ExpF32::kLn2Low, fma_f32(n, -ExpF32::kLn2High, d));
  float p = ExpF32::kInverseFactorials[0];
  for (int i = 1; i < ExpF32::kTerms; ++i) p = fma_f32(p, r, ExpF32::kInverseFactorials[i]);
  uint32_t exponent, bits;
  std::memcpy(&exponent, &t, sizeof exponent);
  std::memcpy(&bits, &p, sizeof bits);
  bits += exponent << 23;
  std::memcpy(&p, &bits, sizeof p);
  return p;
}

}  // namespace

void softmax_f32_scalar(const SoftmaxF32Args& g) {
  float largest = -__builtin_inff();
  for (int64_t i = 0; i < g.count; ++i) largest = g.in[i] > largest ? g.in[i] : largest;
  double s[kSums] = {};
  bool nan = false;
  for (int64_t i = 0; i < g.count; ++i) {
    const float d = g.in[i] - largest;
    nan |= d != d;
    g.out[i] = exp_f32(d);
    s[i % kSums] += static_cast<double>(g.out[i]);
  }
  const float sum =
      static_cast<float>(((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])));
  constexpr uint32_t kNan = 0x7fc00000u;
  for (int64_t i = 0; i < g.count; ++i) {
    if (nan) {
      std::memcpy(g.out + i, &kNan, sizeof kNan);
    } else {
      g.out[i] /= sum;
    }
  }
}

}  // namespace octavo

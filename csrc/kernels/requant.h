// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace octavo {

// How an int32 accumulator becomes 8 bits again. The kernels switch on `mode` once per call,
// outside every loop, and instantiate their epilogue for it; a second mode (TFLite's fixed point)
// adds an epilogue and one case, and touches no accumulation loop.
enum class RoundingMode : uint8_t {
  // y = clamp(rne(float32(acc) * m[c]), lo, hi) + zero_point  (docs/numerics.md, "requantize")
  kFloatRne = 0,
};

// Shared by every output of a step. Per-channel multipliers travel beside the packed weights.
struct Requant {
  RoundingMode mode = RoundingMode::kFloatRne;
  uint8_t zero_point = 0;  // output zero point of u8; for stored bytes see kernels/stored.h
  uint8_t qmin = 0;        // fused activation: inclusive clamp bounds after the zero point is added
  uint8_t qmax = 255;
  // The same bounds before the zero point, as float32, applied before the conversion to int,
  // because x86 and Arm disagree about overflow there: lo = qmin - zero_point, hi = qmax -
  // zero_point.
  float lo = 0.0f;
  float hi = 255.0f;
};

inline Requant make_requant(RoundingMode mode, int zero_point, int qmin, int qmax) {
  Requant r;
  r.mode = mode;
  r.zero_point = static_cast<uint8_t>(zero_point);
  r.qmin = static_cast<uint8_t>(qmin);
  r.qmax = static_cast<uint8_t>(qmax);
  r.lo = static_cast<float>(qmin - zero_point);
  r.hi = static_cast<float>(qmax - zero_point);
  return r;
}

}  // namespace octavo

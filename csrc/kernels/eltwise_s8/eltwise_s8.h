// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// eltwise_s8: c[i] = op(a[i], b[i]) on n contiguous u8 values. No FMA contraction: each float32
// operation rounds once, in this order (docs/numerics.md):
//   add: t = float(a - za) * ka;  u = float(b - zb) * kb;  y = clamp(rne(t + u), lo, hi) + z
//   mul: y = clamp(rne(float((a - za) * (b - zb)) * ka), lo, hi) + z       (kb unused)
namespace octavo {

struct EltwiseS8Args {
  const uint8_t* a;
  const uint8_t* b;  // may equal a
  uint8_t* c;        // may equal a or b (in place)
  int64_t n;         // exactly n bytes are read from a, b and written to c
  int32_t a_zero_point, b_zero_point;
  float ka, kb;  // add: s_a / s_y, s_b / s_y; mul: ka = (s_a * s_b) / s_y (float32 each)
  Requant requant;
};

using EltwiseS8Fn = void (*)(const EltwiseS8Args& args);
enum class EltwiseOp : uint8_t { kAdd = 0, kMul = 1 };

struct EltwiseS8Kernel {
  const char* name;  // add_s8_x64_avx512vnni, mul_s8_x32_avx2, ...
  Isa isa;
  EltwiseOp op;
  EltwiseS8Fn run;
};

const EltwiseS8Kernel* eltwise_s8_kernels(int* count);
const EltwiseS8Kernel* find_eltwise_s8(const char* name);
const EltwiseS8Kernel& select_eltwise_s8(Isa cap, EltwiseOp op);

#define OCTAVO_ELTWISE_S8(isa, name, op) void name(const EltwiseS8Args& args);
#include "kernels/eltwise_s8/kernels.inc"
#undef OCTAVO_ELTWISE_S8

}  // namespace octavo

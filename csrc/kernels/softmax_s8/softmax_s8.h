// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// softmax_s8: one row of n contiguous u8 values.
//   e[i] = table[max - in[i]]   table[d] = rne(2^23 * exp(-s_a * d)) as u32, made in Python
//   sum  = integer sum of e (64 bits; n <= 2^24 proven by the caller)
//   y    = clamp(rne((float(e[i]) / float(sum)) / s_y), lo, hi) + z     two IEEE divisions
namespace octavo {

struct SoftmaxS8Args {
  const uint8_t* in;
  uint8_t* out;  // may equal in
  int64_t n;
  const uint32_t* table;  // [256]
  float out_scale;
  Requant requant;
};

using SoftmaxS8Fn = void (*)(const SoftmaxS8Args& args);

struct SoftmaxS8Kernel {
  const char* name;
  Isa isa;
  SoftmaxS8Fn run;
};

const SoftmaxS8Kernel* softmax_s8_kernels(int* count);
const SoftmaxS8Kernel* find_softmax_s8(const char* name);
const SoftmaxS8Kernel& select_softmax_s8(Isa cap);

#define OCTAVO_SOFTMAX_S8(isa, name) void name(const SoftmaxS8Args& args);
#include "kernels/softmax_s8/kernels.inc"
#undef OCTAVO_SOFTMAX_S8

}  // namespace octavo

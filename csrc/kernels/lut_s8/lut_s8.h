// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/isa.h"

// lut_s8: out[i] = table[in[i]] for n bytes; in place allowed. Every unary 8-bit function, every
// requantization between two 8-bit scales and the s8 <-> u8 flip is such a table (made in Python).
namespace octavo {

struct LutS8Args {
  const uint8_t* in;
  uint8_t* out;
  int64_t n;
  const uint8_t* table;  // [256]
};

using LutS8Fn = void (*)(const LutS8Args& args);

struct LutS8Kernel {
  const char* name;
  Isa isa;
  LutS8Fn run;
};

const LutS8Kernel* lut_s8_kernels(int* count);
const LutS8Kernel* find_lut_s8(const char* name);
const LutS8Kernel& select_lut_s8(Isa cap);

#define OCTAVO_LUT_S8(isa, name) void name(const LutS8Args& args);
#include "kernels/lut_s8/kernels.inc"
#undef OCTAVO_LUT_S8

}  // namespace octavo

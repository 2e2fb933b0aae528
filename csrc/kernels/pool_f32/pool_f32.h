// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// pool_f32: one window of an NHWC image to one output pixel, its pixels one after the other, row by
// row. Average: sum / divisor. Max: a pixel replaces the largest so far when it is larger or NaN,
// so that zeros of both signs and NaN have one outcome. Then the clamp of gemm_f32.
namespace octavo {

enum class PoolF32Op : uint8_t { kMax, kAverage };

struct PoolF32Args {
  // The first pixel that lies inside the image; up to 60 bytes past the last channel of a pixel may
  // be read (value irrelevant).
  const uint8_t* in;                   // 4-byte aligned
  ptrdiff_t row_stride, pixel_stride;  // bytes, dilation included
  int32_t rows, cols;                  // of the window inside the image, each >= 1
  int32_t channels;
  float* out;     // exactly `channels` values are written
  float divisor;  // average only
  float lo, hi;   // lo <= hi; NaN results are 0x7fc00000
};

using PoolF32Fn = void (*)(const PoolF32Args& args);

struct PoolF32Kernel {
  const char* name;
  Isa isa;
  PoolF32Op op;
  PoolF32Fn run;
};

// All rows of kernels.inc that were built, best first, scalar last.
const PoolF32Kernel* pool_f32_kernels(int* count);
const PoolF32Kernel* find_pool_f32(const char* name);  // nullptr when absent
const PoolF32Kernel& select_pool_f32(Isa cap, PoolF32Op op);

// Declarations of every row's entry point.
#define OCTAVO_POOL_F32(isa, name, op) void name(const PoolF32Args& args);
#include "kernels/pool_f32/kernels.inc"
#undef OCTAVO_POOL_F32

}  // namespace octavo

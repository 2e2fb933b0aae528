// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// pool_s8: one output pixel from a window of rows x cols input pixels (the caller clips the window
// to the image). Global pooling is one call with the whole image as window.
//   max: out[c] = min(max(max over window, qmin), qmax)                  (same scale in and out)
//   avg: out[c] = clamp(rne(float(sum over window - count * za) * m), lo, hi) + z
//        m = float32(s_a / float32(s_y * count)); count = rows * cols, or the full window when the
//        graph counts padding. sum is int32: rows * cols <= 2^23 is proven by the caller.
namespace octavo {

struct PoolS8Args {
  const uint8_t* in;  // first pixel of the window
  ptrdiff_t row_stride, pixel_stride;
  int32_t rows, cols, channels;
  uint8_t* out;      // exactly `channels` bytes written; exactly `channels` bytes read per pixel
  int32_t zero_sum;  // avg: rows * cols * za
  float multiplier;  // avg: m
  Requant requant;
};

using PoolS8Fn = void (*)(const PoolS8Args& args);
enum class PoolOp : uint8_t { kMax = 0, kAverage = 1 };

struct PoolS8Kernel {
  const char* name;  // maxpool_s8_x64_avx512vnni, avgpool_s8_x32_avx2, ...
  Isa isa;
  PoolOp op;
  PoolS8Fn run;
};

const PoolS8Kernel* pool_s8_kernels(int* count);
const PoolS8Kernel* find_pool_s8(const char* name);
const PoolS8Kernel& select_pool_s8(Isa cap, PoolOp op);

#define OCTAVO_POOL_S8(isa, name, op) void name(const PoolS8Args& args);
#include "kernels/pool_s8/kernels.inc"
#undef OCTAVO_POOL_S8

}  // namespace octavo

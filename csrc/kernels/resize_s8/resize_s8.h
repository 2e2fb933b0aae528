// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// resize_s8: one output row of a linear interpolation, weights in units of 1/2048:
//   v(p)      = top[p][c] * (2048 - bottom_weight) + bottom[p][c] * bottom_weight
//   acc       = v(left) * (2048 - right_weight) + v(right) * right_weight - zero_sum
//   out[x][c] = clamp(rne(float(acc) * multiplier), lo, hi) + z;  acc is exact: 255 * 2^22 < 2^31
namespace octavo {

constexpr int32_t kResizeOne = 2048;  // the weight 1

struct ResizeS8Column {
  int64_t left, right;   // bytes from the row's first pixel
  int32_t right_weight;  // 0..kResizeOne
};

struct ResizeS8Args {
  const uint8_t *top, *bottom;  // exactly `channels` bytes read per pixel
  int32_t bottom_weight;        // 0..kResizeOne
  const ResizeS8Column* columns;
  uint8_t* out;  // exactly `channels` bytes written per pixel
  ptrdiff_t out_pixel_stride;
  int32_t out_w, channels;
  int32_t zero_sum;  // input zero point * 2^22
  float multiplier;
  Requant requant;
};

using ResizeS8Fn = void (*)(const ResizeS8Args& args);

struct ResizeS8Kernel {
  const char* name;
  Isa isa;
  ResizeS8Fn run;
};

const ResizeS8Kernel* resize_s8_kernels(int* count);
const ResizeS8Kernel* find_resize_s8(const char* name);
const ResizeS8Kernel& select_resize_s8(Isa cap);

#define OCTAVO_RESIZE_S8(isa, name) void name(const ResizeS8Args& args);
#include "kernels/resize_s8/kernels.inc"
#undef OCTAVO_RESIZE_S8

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/aligned_buffer.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace octavo {

// Weights of a 3x3 layer as the graph knows them.
struct WinogradS8Weights {
  int32_t n;                // output channels
  int32_t channels;         // input channels
  const int16_t* weights;   // [n][3][3][channels], w - zero_point, in [-255, 255]
  const int32_t* bias;      // [n]
  const float* multiplier;  // [n]
  int32_t a_zero_point;     // 0..255, folded into the bias
};

// Is Winograd exact for these weights, whatever the input? Every U must fit int16 (any int8 weights
// do), and every accumulator, bias included, must stay within +-(2^25 - 1).
bool winograd_s8_exact(const WinogradS8Weights& weights);

struct PackedWinogradS8 {
  AlignedBuffer storage;
  WinogradS8Packed packed;  // points into storage, which moving keeps in place
  int32_t blocks;
};

// For weights that are exact.
PackedWinogradS8 pack_winograd_s8(const WinogradS8Kernel& kernel, const WinogradS8Weights& weights);

}  // namespace octavo

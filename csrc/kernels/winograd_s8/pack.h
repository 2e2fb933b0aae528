// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "base/bytes.h"
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

// For weights that are exact. Position-independent.
AlignedBuffer pack_winograd_s8_bytes(const WinogradS8Kernel& kernel,
                                     const WinogradS8Weights& weights);

// What lies in bytes that were packed for this kernel and layer; false when they cannot have been.
bool view_winograd_s8(const WinogradS8Kernel& kernel, const WinogradS8Weights& weights,
                      ByteSpan bytes, WinogradS8Packed* packed);

struct PackedWinogradS8 {
  FixedBytes bytes;
  WinogradS8Packed packed;  // points into bytes, which moving keeps in place
};

PackedWinogradS8 pack_winograd_s8(const WinogradS8Kernel& kernel, const WinogradS8Weights& weights);

inline int32_t winograd_s8_blocks(const WinogradS8Kernel& kernel, int32_t n) {
  return (n + kernel.nr - 1) / kernel.nr;
}

}  // namespace octavo

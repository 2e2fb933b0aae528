// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "base/checked.h"
#include "kernels/winograd_s8/winograd_s8.h"

namespace octavo {
namespace {

// Position p lies in vector j = p / lanes at lane l; packs and packus join the vectors within
// 128-bit lanes, 4 columns of each vector at a time.
[[maybe_unused]] int16_t column_identity(int p) { return static_cast<int16_t>(p); }

[[maybe_unused]] constexpr int16_t interleaved(int p, int lanes, int vectors) {
  const int vector = p / lanes, quad = p % lanes / 4, element = p % 4;
  return static_cast<int16_t>((quad * vectors + vector) * 4 + element);
}
[[maybe_unused]] int16_t column_avx2_x2(int p) { return interleaved(p, 8, 2); }
[[maybe_unused]] int16_t column_avx512_x2(int p) { return interleaved(p, 16, 2); }

constexpr WinogradS8Kernel kKernels[] = {
#define OCTAVO_WINOGRAD_S8(isa, name, nr, channels, group, column) \
  {#name, Isa::isa, name##_input, name##_output, nr, channels, group, column},
#include "kernels/winograd_s8/kernels.inc"
#undef OCTAVO_WINOGRAD_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

// At least `bytes`, an odd number of cache lines.
int64_t odd_lines(int64_t bytes) { return (checked_add(bytes, 63) / 64 | 1) * 64; }

}  // namespace

const WinogradS8Kernel* winograd_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const WinogradS8Kernel* find_winograd_s8(const char* name) {
  for (const WinogradS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const WinogradS8Kernel& select_winograd_s8(Isa cap) {
  const WinogradS8Kernel* kernel = kKernels;
  while (!isa_usable(cap, kernel->isa)) ++kernel;  // the scalar row is always usable
  return *kernel;
}

WinogradS8Panel winograd_s8_panel(const WinogradS8Kernel& kernel, int32_t channels, int64_t tiles) {
  // Steps of the products come in twos, and read whole pairs of channels: a multiple of 4.
  const int64_t unit = kernel.channels > 4 ? kernel.channels : 4;
  const int64_t v_tile = checked_round_up(channels, unit);
  const int64_t v_plane = odd_lines(checked_mul(tiles, v_tile * 2));
  const int64_t m_plane = odd_lines(checked_mul(tiles, kernel.nr * 4));
  return {v_tile, v_plane / 2, m_plane / 4, checked_mul(v_plane, kWinogradPoints),
          checked_mul(m_plane, kWinogradPoints)};
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "kernels/gemm_s8/gemm_s8.h"

namespace octavo {
namespace {

// Column orders: position p lies in vector j = p / lanes of the row at lane l; packs and packus
// join the vectors within 128-bit lanes, 4 columns of each vector at a time.
[[maybe_unused]] int16_t column_identity(int p) { return static_cast<int16_t>(p); }

[[maybe_unused]] constexpr int16_t interleaved(int p, int lanes, int vectors) {
  const int vector = p / lanes, quad = p % lanes / 4, element = p % 4;
  return static_cast<int16_t>((quad * vectors + vector) * 4 + element);
}
[[maybe_unused]] int16_t column_avx2_x2(int p) { return interleaved(p, 8, 2); }
[[maybe_unused]] int16_t column_avx512_x2(int p) { return interleaved(p, 16, 2); }
[[maybe_unused]] int16_t column_avx512_x4(int p) { return interleaved(p, 16, 4); }
// Vectors of two sums per column, joined in pairs by hadd, which leaves columns 0 1 4 5 2 3 6 7;
// then as above.
[[maybe_unused]] int16_t column_avx2_hadd(int p) {
  const int quad = p % 16 / 4, element = p % 4;
  return static_cast<int16_t>(p / 16 * 16 + element / 2 * 8 + quad * 2 + element % 2);
}

constexpr GemmS8Kernel kKernels[] = {
#define OCTAVO_GEMM_S8(isa, name, mr, nr, path, column) \
  {#name, Isa::isa, name, mr, nr, GemmS8Path::path, column},
#include "kernels/gemm_s8/kernels.inc"
#undef OCTAVO_GEMM_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

// int32 lanes of the row's vectors.
int lanes_of(Isa isa) {
  switch (isa) {
    case Isa::kAvx512Vnni: return 16;
    case Isa::kAvx2:
    case Isa::kAvxVnni: return 8;
    default: return 4;
  }
}

bool on_arm(Isa isa) { return isa == Isa::kNeon || isa == Isa::kNeonDot || isa == Isa::kNeonI8mm; }

// Slots of the vector pipes in one step of a NEON tile (one to four a cycle, whatever the core).
// Loads run beside them: as many a cycle as products where there is sdot, three to four products
// where there is smmla, for which two rows of A meet in a register at the price of a slot.
double neon_step(const GemmS8Kernel& kernel, int rows) {
  if (kernel.path == GemmS8Path::kMmla) {
    const int pairs = (rows + 1) / 2, products = pairs * kernel.nr / 2;
    const double loads = (kernel.nr / 2 + rows + 1) * (4 / 3.0);
    return std::max<double>(products + (rows > 1 ? pairs : 0), loads);
  }
  return std::max(rows * kernel.nr / 4, kernel.nr / 4 + rows + 1);
}

// Cycles of a tile; only compared between rows of one ISA.
//
// x86: one vector product per cycle, but no step faster than the latency of a dependent vpdpbusd
// (4); 9.2 cycles of epilogue per 64 outputs; about 15 to start the k-loop and mispredict its end
// (docs/performance.md).
//
// Arm, in slots: 22 instructions of epilogue per 16 outputs; 15 cycles of two slots to start.
double tile_cycles(const GemmS8Kernel& kernel, int rows, int64_t steps) {
  if (on_arm(kernel.isa)) {
    return static_cast<double>(steps) * neon_step(kernel, rows) + rows * kernel.nr * (22 / 16.0) +
           30;
  }
  const int products = rows * kernel.nr / lanes_of(kernel.isa);
  return static_cast<double>(steps) * (products > 4 ? products : 4) +
         rows * kernel.nr * (9.2 / 64) + 15;
}

// Rows of the tile that takes what a whole one leaves; even where smmla takes rows in pairs.
int half_tile(const GemmS8Kernel& kernel) {
  return on_arm(kernel.isa) ? (kernel.mr + 2) / 4 * 2 : (kernel.mr + 1) / 2;
}

// The AVX2 row for one row of A widens both operands, at 1/2 to 2/3 of the rate that 4x16 reaches
// with paired steps in L1; but it reads one byte per weight, where flipped steps are two. Measured
// in whole models it wins at K = 128 and with 0.5 MB of weights, and loses at 128 x 640.
bool fits_gemv_avx2(const GemmS8Shape& shape) {
  constexpr int32_t kShortK = 512;
  constexpr int64_t kL2Bytes = 256 * 1024;
  return shape.m == 1 && (shape.k < kShortK || int64_t{shape.n} * shape.k > kL2Bytes);
}

// Rows are tiled by mr; what remains runs as a half tile, or as one row.
double layer_cycles(const GemmS8Kernel& kernel, const GemmS8Shape& shape) {
  const int bytes = step_bytes(kernel.path);
  const int64_t steps = (shape.k + bytes - 1) / bytes;
  const int half = half_tile(kernel);
  int64_t full = shape.m / kernel.mr;
  const int64_t rest = shape.m % kernel.mr;
  double tail = 0;
  if (rest > half) {
    ++full;
  } else if (rest > 0) {
    tail = tile_cycles(kernel, rest == 1 ? 1 : half, steps);
  }
  const int blocks = (shape.n + kernel.nr - 1) / kernel.nr;
  return blocks * (static_cast<double>(full) * tile_cycles(kernel, kernel.mr, steps) + tail);
}

}  // namespace

const GemmS8Kernel* gemm_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const GemmS8Kernel* find_gemm_s8(const char* name) {
  for (const GemmS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

// The cheapest row of the best usable ISA; the first one in kernels.inc when equal.
const GemmS8Kernel& select_gemm_s8(Isa cap, const GemmS8Shape& shape) {
  const GemmS8Kernel* best = kKernels;
  while (!isa_usable(cap, best->isa)) ++best;  // the scalar row is always usable
  double best_cycles = layer_cycles(*best, shape);
  for (const GemmS8Kernel* kernel = best + 1; kernel != kKernels + kCount; ++kernel) {
    if (kernel->isa != best->isa) continue;
    if (kernel->isa == Isa::kAvx2 && kernel->path == GemmS8Path::kDot && !fits_gemv_avx2(shape)) {
      continue;
    }
    const double cycles = layer_cycles(*kernel, shape);
    if (cycles < best_cycles) {
      best = kernel;
      best_cycles = cycles;
    }
  }
  return *best;
}

}  // namespace octavo

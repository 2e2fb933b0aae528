// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "kernels/requant.h"

// matmul_s8: C[i][j] = requantize(sum_k (A[i][k] - za) * (B[k][j] - zb)), all of them u8
// activations.
//
// gemm_s8 packs its weights once, when a model is loaded, and chooses its path by what they are. B
// is new in every run here, so packing it is part of the work and no path may depend on its values.
// The accumulator wraps modulo 2^32; `prepare` proves that the true sum fits int32.
namespace octavo {

// One B as [k][n] in memory: b + k * k_stride + n * n_stride. One of the strides is 1: rows of a
// stored matrix, or of its transpose (keys of an attention).
struct MatmulS8Pack {
  const uint8_t* b;
  ptrdiff_t k_stride, n_stride;
  int32_t k, n;
  uint8_t a_zero_point, b_zero_point;
  uint8_t* packed;  // matmul_s8_packed_bytes(), 64-byte aligned
};

struct MatmulS8Args {
  const uint8_t* a;  // rows of k adjacent bytes; up to 15 bytes past a row's end may be read
  ptrdiff_t a_stride;
  uint8_t* c;  // exactly n bytes of a row are written
  ptrdiff_t c_stride;
  int64_t m;
  int32_t k, n;
  const uint8_t* packed;  // B packed by the same kernel
  uint8_t* wide;          // matmul_s8_wide_bytes(), 64-byte aligned, content undefined
  uint8_t a_zero_point, b_zero_point;
  float scale;  // requantize multiplier: float32(float32(s_a * s_b) / s_y)
  Requant requant;
};

using MatmulS8PackFn = void (*)(const MatmulS8Pack& args);
using MatmulS8Fn = void (*)(const MatmulS8Args& args);

struct MatmulS8Kernel {
  const char* name;
  Isa isa;
  MatmulS8Fn run;
  MatmulS8PackFn pack;
  int16_t mr, nr;  // rows and columns of a tile
  int16_t item;    // bytes of a packed element
};

inline constexpr int64_t kMatmulS8KUnit = 16;  // k is padded to it in packed B and in `wide`

inline int64_t matmul_s8_padded_k(int64_t k) {
  return (k + kMatmulS8KUnit - 1) / kMatmulS8KUnit * kMatmulS8KUnit;
}
// One block of nr columns: int32 corrections [nr], then the elements. A multiple of 4 * nr.
inline int64_t matmul_s8_block_bytes(int64_t nr, int64_t item, int64_t k) {
  return nr * (4 + matmul_s8_padded_k(k) * item);
}
inline int64_t matmul_s8_packed_bytes(const MatmulS8Kernel& kernel, int64_t k, int64_t n) {
  const int64_t blocks = (n + kernel.nr - 1) / kernel.nr;
  return (blocks * matmul_s8_block_bytes(kernel.nr, kernel.item, k) + 63) / 64 * 64;
}
// A tile's rows of A as int16, for kernels that multiply int16.
inline int64_t matmul_s8_wide_bytes(const MatmulS8Kernel& kernel, int64_t k) {
  return (kernel.mr * matmul_s8_padded_k(k) * 2 + 63) / 64 * 64;
}

const MatmulS8Kernel* matmul_s8_kernels(int* count);
const MatmulS8Kernel* find_matmul_s8(const char* name);
const MatmulS8Kernel& select_matmul_s8(Isa cap);

#define OCTAVO_MATMUL_S8(isa, name, pack, mr, nr, item) \
  void name(const MatmulS8Args& args);                  \
  void pack(const MatmulS8Pack& args);
#include "kernels/matmul_s8/kernels.inc"
#undef OCTAVO_MATMUL_S8

}  // namespace octavo

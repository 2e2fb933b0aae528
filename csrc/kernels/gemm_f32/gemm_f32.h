// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// gemm_f32: C[i][c] = clamp(fma(A[i][K-1], W[c][K-1], … fma(A[i][0], W[c][0], bias[c]))).
//
// One kernel for 1x1, kxk, strided, dilated, grouped convolution, linear layers and matrix
// products, on the scheme of gemm_s8: K is a list of runs, each at a byte offset from the row
// pointer. Every output is one chain of fused multiply-adds in order of k, so results depend
// neither on the row nor on tiles or threads.
namespace octavo {

struct GemmF32Args {
  // Addresses of float32 rows, 4-byte aligned; exactly the bytes of the runs are read.
  const uint8_t* const* a_rows = nullptr;  // m entries
  uint8_t* const* c_rows = nullptr;  // m entries; exactly the columns of the blocks are written
  ptrdiff_t a_offset = 0;            // bytes added to each a_rows entry (group offset)
  ptrdiff_t c_offset = 0;            // bytes added to each c_rows entry (group offset)
  int32_t m = 0;
  const int32_t* segments = nullptr;  // byte offsets of the runs that make up K
  int32_t segment_count = 0;
  int32_t segment_len = 0;                 // floats, >= 1
  const float* weights = nullptr;          // [ceil(n / nr)][K][nr], 0 past n, 64-byte aligned
  const float* bias = nullptr;             // [ceil(n / nr) * nr], 64-byte aligned
  int32_t n = 0;                           // columns of all blocks
  int32_t block_begin = 0, block_end = 0;  // block j writes columns j*nr.. of C, below n
  float lo = 0, hi = 0;                    // lo <= hi; NaN results are 0x7fc00000
};

using GemmF32Fn = void (*)(const GemmF32Args& args);

struct GemmF32Kernel {
  const char* name;
  Isa isa;
  GemmF32Fn run;
  int16_t mr, nr;
};

// All rows of kernels.inc that were built, best first, scalar last.
const GemmF32Kernel* gemm_f32_kernels(int* count);
const GemmF32Kernel* find_gemm_f32(const char* name);  // nullptr when absent
const GemmF32Kernel& select_gemm_f32(Isa cap);

// Floats of the packed weights of n columns, and the packing: column c has its weight k at
// w[c * column_stride + k * k_stride].
int64_t packed_gemm_f32_size(const GemmF32Kernel& kernel, int64_t n, int64_t k);
void pack_gemm_f32(const GemmF32Kernel& kernel, const float* w, int64_t column_stride,
                   int64_t k_stride, int64_t n, int64_t k, float* out);

// Declarations of every row's entry point.
#define OCTAVO_GEMM_F32(isa, name, mr, nr) void name(const GemmF32Args& args);
#include "kernels/gemm_f32/kernels.inc"
#undef OCTAVO_GEMM_F32

}  // namespace octavo

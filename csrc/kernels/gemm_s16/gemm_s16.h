// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"

// gemm_s16: sums[i][c] = sum_k A[i][k] * W[c][k] exactly in int64, A s16, W 9-bit, for one block of
// nr columns. K is a list of pairs of neighbours, each at its own offset from the row pointer, as
// in gemm_s8; a pair of which only the first element belongs to K has a weight of 0.
namespace octavo {

struct GemmS16Args {
  const int16_t* const* a_rows = nullptr;  // m entries; every pair of a row is read
  ptrdiff_t a_offset = 0;                  // elements added to each entry (group offset)
  const int32_t* pair_offset = nullptr;    // [pairs] elements from the row pointer
  const int16_t* weights = nullptr;        // [pairs][nr][2], 64-byte aligned
  int32_t pairs = 0;
  int32_t pairs_per_sum = 1;  // so many pairs of products always fit int32; at least 1
  int32_t m = 0;
  int64_t* sums = nullptr;  // [m][nr], every element written
};

using GemmS16Fn = void (*)(const GemmS16Args& args);

struct GemmS16Kernel {
  const char* name;
  Isa isa;
  GemmS16Fn run;
  int16_t nr;
};

static constexpr int kGemmS16MaxNr = 16;

const GemmS16Kernel* gemm_s16_kernels(int* count);
const GemmS16Kernel* find_gemm_s16(const char* name);  // nullptr when absent
const GemmS16Kernel& select_gemm_s16(Isa cap);

#define OCTAVO_GEMM_S16(isa, name, nr) void name(const GemmS16Args& args);
#include "kernels/gemm_s16/kernels.inc"
#undef OCTAVO_GEMM_S16

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "base/checked.h"
#include "kernels/gemm_f32/gemm_f32.h"

namespace octavo {
namespace {

constexpr GemmF32Kernel kKernels[] = {
#define OCTAVO_GEMM_F32(isa, name, mr, nr) {#name, Isa::isa, name, mr, nr},
#include "kernels/gemm_f32/kernels.inc"
#undef OCTAVO_GEMM_F32
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

// The rows of a full block of columns that lie side by side; a copy of constant size is a few
// moves.
template <int64_t kNr>
void pack_block(const float* from, int64_t k_stride, int64_t k, float* out) {
  for (int64_t i = 0; i < k; ++i) std::memcpy(out + i * kNr, from + i * k_stride, kNr * 4);
}

bool pack_dense(int64_t nr, const float* from, int64_t k_stride, int64_t k, float* out) {
  switch (nr) {
    case 8: pack_block<8>(from, k_stride, k, out); return true;
    case 16: pack_block<16>(from, k_stride, k, out); return true;
    case 32: pack_block<32>(from, k_stride, k, out); return true;
    default: return false;
  }
}

}  // namespace

const GemmF32Kernel* gemm_f32_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const GemmF32Kernel* find_gemm_f32(const char* name) {
  for (const GemmF32Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const GemmF32Kernel& select_gemm_f32(Isa cap) {
  const GemmF32Kernel* kernel = kKernels;
  while (!isa_usable(cap, kernel->isa)) ++kernel;  // the scalar row is always usable
  return *kernel;
}

int64_t packed_gemm_f32_size(const GemmF32Kernel& kernel, int64_t n, int64_t k) {
  return checked_mul(checked_round_up(n, kernel.nr), k, "packed weights");
}

void pack_gemm_f32(const GemmF32Kernel& kernel, const float* w, int64_t column_stride,
                   int64_t k_stride, int64_t n, int64_t k, float* out) {
  const int64_t nr = kernel.nr;
  for (int64_t first = 0; first < n; first += nr) {
    const int64_t columns = n - first < nr ? n - first : nr;
    const float* block = w + first * column_stride;
    if (column_stride == 1 && columns == nr && pack_dense(nr, block, k_stride, k, out)) {
      out += k * nr;
      continue;
    }
    for (int64_t i = 0; i < k; ++i, out += nr) {
      const float* from = block + i * k_stride;
      for (int64_t c = 0; c < columns; ++c) out[c] = from[c * column_stride];
      for (int64_t c = columns; c < nr; ++c) out[c] = 0.0f;
    }
  }
}

}  // namespace octavo

// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/gemm_s16/gemm_s16.h"

namespace octavo {
namespace {

constexpr GemmS16Kernel kKernels[] = {
#define OCTAVO_GEMM_S16(isa, name, nr) {#name, Isa::isa, name, nr},
#include "kernels/gemm_s16/kernels.inc"
#undef OCTAVO_GEMM_S16
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const GemmS16Kernel* gemm_s16_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const GemmS16Kernel* find_gemm_s16(const char* name) {
  for (const GemmS16Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const GemmS16Kernel& select_gemm_s16(Isa cap) {
  for (const GemmS16Kernel& kernel : kKernels) {
    if (isa_usable(cap, kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo

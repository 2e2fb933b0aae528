// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "kernels/matmul_s8/matmul_s8.h"

namespace octavo {
namespace {

constexpr MatmulS8Kernel kKernels[] = {
#define OCTAVO_MATMUL_S8(isa, name, pack, mr, nr, item) {#name, Isa::isa, name, pack, mr, nr, item},
#include "kernels/matmul_s8/kernels.inc"
#undef OCTAVO_MATMUL_S8
};
constexpr int kCount = static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]));

}  // namespace

const MatmulS8Kernel* matmul_s8_kernels(int* count) {
  *count = kCount;
  return kKernels;
}

const MatmulS8Kernel* find_matmul_s8(const char* name) {
  for (const MatmulS8Kernel& kernel : kKernels) {
    if (std::strcmp(kernel.name, name) == 0) return &kernel;
  }
  return nullptr;
}

const MatmulS8Kernel& select_matmul_s8(Isa cap) {
  for (const MatmulS8Kernel& kernel : kKernels) {
    if (isa_usable(cap, kernel.isa)) return kernel;
  }
  return kKernels[kCount - 1];  // scalar
}

}  // namespace octavo
